/* The progress of one transfer, on standard error: a bar on a terminal, a plain line now and then otherwise.
 */
#ifndef FEWBIT_CLI_DATASETS_PROGRESS_BAR_H
#define FEWBIT_CLI_DATASETS_PROGRESS_BAR_H

#include <stdbool.h>
#include <stdint.h>

typedef struct progress_bar {
    const char *name; /* borrowed */
    bool terminal;
    uint64_t before; /* bytes that were there at the start */
    uint64_t have;
    uint64_t start_ns, shown_ns;
} progress_bar;

void progress_bar_begin(progress_bar *p, const char *name, uint64_t have);

/* `total` is 0 as long as it is not known. */
void progress_bar_show(progress_bar *p, uint64_t have, uint64_t total);

/* Says how it ended: a line with size and time after success; the bar is taken away otherwise. */
void progress_bar_end(progress_bar *p, bool done);

#endif
