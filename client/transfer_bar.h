/* The progress of one transfer, on standard error: a bar on a terminal, a plain line now and then otherwise.
 */
#ifndef FEWBIT_CLIENT_TRANSFER_BAR_H
#define FEWBIT_CLIENT_TRANSFER_BAR_H

#include <stdbool.h>
#include <stdint.h>

typedef struct transfer_bar {
    const char *name; /* borrowed */
    bool terminal;
    uint64_t before; /* bytes that were there at the start */
    uint64_t have;
    uint64_t start_ns, shown_ns;
} transfer_bar;

void transfer_bar_begin(transfer_bar *p, const char *name, uint64_t have);

/* `total` is 0 as long as it is not known. */
void transfer_bar_show(transfer_bar *p, uint64_t have, uint64_t total);

/* Says how it ended: a line with size and time after success; the bar is taken away otherwise. */
void transfer_bar_end(transfer_bar *p, bool done);

#endif
