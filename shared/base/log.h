/* Log lines on standard error: "12:34:56.789 info  message". Thread-safe; one write a line. Control
 * characters in the message become spaces. */
#ifndef FEWBIT_BASE_LOG_H
#define FEWBIT_BASE_LOG_H

#include "base/err.h"

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_NONE } log_level;

/* Lines below `level` are not written. LOG_INFO at start. */
void log_set_level(log_level level);

/* "debug", "info", "warn", "error" or "none". */
err log_level_parse(const char *name, log_level *level);

void log_write(log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

#endif
