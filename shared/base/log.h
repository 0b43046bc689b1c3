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

#include <stdbool.h>

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_NONE } log_level;
typedef enum log_format { LOG_AUTO, LOG_TEXT, LOG_JSON } log_format;

/* Lines below `level` are not written. LOG_INFO at start. */
void log_set_level(log_level level);

/* LOG_AUTO, as at the start: text where standard error is a terminal, else JSON. */
void log_set_format(log_format format);
bool log_is_json(void);

/* The same by name: "debug", "info", "warn", "error" or "none"; "auto", "text" or "json". ERR_USAGE: another one. */
err log_choose_level(const char *name);
err log_choose_format(const char *name);

/* Whether such lines are written: what goes into one need not be made else. */
bool log_wants(log_level level);

void log_write(log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same of an event; a line of JSON has its name. */
void log_event(log_level level, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* And with `members` too, for programs that filter by field: `"status":503,"request":"a"`, good JSON of at most
 * LOG_MEMBERS_MAX bytes. */
enum { LOG_MEMBERS_MAX = 255 };
void log_event_with(log_level level, const char *event, const char *members, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The last line of a program that fails with err_text(): "encoder_node: text". It is a line of JSON, the event
 * "failed", where such lines went before it. */
void log_failure(void);

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

#endif
