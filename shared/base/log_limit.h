/* Log lines that a peer can cause, as often as it likes: of each kind and from each of
 * the others some are written at once and then one a second, with how many were left out. */
#ifndef FEWBIT_BASE_LOG_LIMIT_H
#define FEWBIT_BASE_LOG_LIMIT_H

#include "base/log.h"

enum { LOG_LIMIT_BURST = 20, LOG_LIMIT_PAUSE_MS = 1000 };

/* As log_event. A line's kind is its `format`, which, as the event, must be a literal; `subject` is who brings it
 * about: a portion + 1, which a line of JSON has as "portion", or 0 for whoever it may be. Thread-safe. */
void log_limited(log_level level, const char *event, uint64_t subject, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Whether one more line of this kind may be written now, wherever it goes; one that may not is not counted. */
bool log_limit_allows(uint64_t subject, const char *kind);

#endif
