/* What `fewbit status --watch` shows: model, nodes, rates and bits of a decoder server, again and again. */
#ifndef FEWBIT_CLI_COMMANDS_STATUS_WATCH_H
#define FEWBIT_CLI_COMMANDS_STATUS_WATCH_H

#include "cli/http_client.h"

/* Shows the server's state every `seconds` until a stop is asked for (ERR_OK). On a terminal each picture takes the
 * place of the one before. A server that does not answer is shown as such, and asked again. */
err status_watch_run(http_client *h, const char *server, int64_t seconds);

/* Names the node that has owed the server an answer for longest, of what /v1/nodes says; "" where nobody lets it wait.
 */
enum { STATUS_WATCH_SLOWEST_MAX = 160 };
void status_watch_slowest(const json_t *nodes, char to[STATUS_WATCH_SLOWEST_MAX]);

#endif
