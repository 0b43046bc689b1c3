/* The log of a run, log.jsonl: what happened to its training, a line an event, for good. */
#ifndef FEWBIT_DECODER_SERVER_CORE_RUN_LOG_H
#define FEWBIT_DECODER_SERVER_CORE_RUN_LOG_H

#include <jansson.h>

/* Appends {"time": seconds since 1970, "event": EVENT, fields…} to the log in `folder`; takes over `fields` (may be
 * NULL). Where it cannot, the process's own log says so. */
void run_log_write(const char *folder, const char *event, json_t *fields);

#endif
