/* Log lines on standard error, thread-safe, one write a line:
 *
 *   12:34:56.789 info  message                                                        for people
 *   {"time":"2026-01-31T12:34:56.789Z","level":"info","program":"encoder_node","event":"connected",
 *    "message":"message"}
 *
 * `event` is for programs: a stable name of what has happened, which docs/operations.md lists; not every line has one.
 * The message may hold what others said: it is made printable (utf8_make_plain), in both forms. */
#ifndef FEWBIT_BASE_LOG_H
#define FEWBIT_BASE_LOG_H

#include "base/err.h"

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_NONE } log_level;

/* Lines below this level are not written: "debug", "info" (at start), "warn", "error" or "none". ERR_USAGE: another. */
err log_choose_level(const char *name);

/* "text", "json", or "auto", as at the start: text where standard error is a terminal. ERR_USAGE: another. */
err log_choose_format(const char *name);
bool log_is_json(void);

/* Whether such lines are written: what goes into one need not be made else. */
bool log_wants(log_level level);

/* `event` is "" or the line's name in JSON. `members` are more of its fields, for programs that filter by them, "" or
 * good JSON of at most LOG_MEMBERS_MAX bytes: "status":503,"request":"a". */
enum { LOG_MEMBERS_MAX = 255 };
void log_event_with(log_level level, const char *event, const char *members, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define log_event(level, event, ...) log_event_with(level, event, "", __VA_ARGS__)
#define log_debug(...) log_event(LOG_DEBUG, "", __VA_ARGS__)
#define log_info(...) log_event(LOG_INFO, "", __VA_ARGS__)
#define log_warn(...) log_event(LOG_WARN, "", __VA_ARGS__)
#define log_error(...) log_event(LOG_ERROR, "", __VA_ARGS__)

/* The last line of a program that fails with err_text(): "encoder_node: text". It is a line of JSON, the event
 * "failed", where such lines went before it. */
void log_failure(void);

#endif
