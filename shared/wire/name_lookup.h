/* Name lookup: asks the resolver for a host's addresses beside the loop. */
#ifndef FEWBIT_WIRE_NAME_LOOKUP_H
#define FEWBIT_WIRE_NAME_LOOKUP_H

#include "base/err.h"

#include <uv.h>

typedef struct name_lookup name_lookup;

/* One of the host's addresses, borrowed for the call, or NULL and what the problem is. */
typedef void name_lookup_done(void *context, const struct sockaddr *address, const char *problem);

/* `done` follows from the loop, unless name_lookup_cancel comes first; *n is gone with either. Of a name with several
 * addresses each lookup gives the next one: who tries again reaches one that answers. */
err name_lookup_start(name_lookup **n, uv_loop_t *loop, const char *host, uint16_t port, name_lookup_done *done,
                      void *context);
void name_lookup_cancel(name_lookup *n);

#endif
