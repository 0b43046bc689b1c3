#include "base/log.h"

#include "base/json_writer.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_MAX = 1000, LINE_MAX_BYTES = 8192 };

enum { AUTO, TEXT, JSON }; /* formats */

static atomic_int threshold = LOG_INFO, chosen = AUTO;
static atomic_bool has_written_json;
static const char *const names[] = {"debug", "info", "warn", "error", "none"};
static const char *const formats[] = {"auto", "text", "json"};

bool log_is_json(void) {
    int format = atomic_load(&chosen);
    return format == JSON || (format == AUTO && !isatty(STDERR_FILENO));
}

static bool choose(const char *name, const char *const *known, int count, atomic_int *to) {
    for (int i = 0; i < count; i++) {
        if (strcmp(name, known[i]) == 0) {
            atomic_store(to, i);
            return true;
        }
    }
    return false;
}

err log_choose_level(const char *name) {
    return choose(name, names, LOG_NONE + 1, &threshold)
               ? ERR_OK
               : err_fail(ERR_USAGE, "log level '%s' is none of debug, info, warn, error, none", name);
}

err log_choose_format(const char *name) {
    return choose(name, formats, JSON + 1, &chosen)
               ? ERR_OK
               : err_fail(ERR_USAGE, "log format '%s' is none of auto, text, json", name);
}

static size_t compose_json(char to[LINE_MAX_BYTES], log_level level, const struct timespec *now, const char *event,
                           const char *message, const char *members) {
    dynbuf line = dynbuf_over(to, LINE_MAX_BYTES);
    json_writer w = json_writer_make(&line);
    json_writer_object(&w, NULL);
    json_writer_time(&w, "time", now->tv_sec * 1000 + now->tv_nsec / 1000000);
    json_writer_word(&w, "level", names[level]);
    json_writer_string(&w, "program", program_invocation_short_name);
    if (event[0]) {
        json_writer_word(&w, "event", event);
    }
    json_writer_string(&w, "message", message);
    dynbuf_printf(&line, "%s%.*s", members[0] ? "," : "", LOG_MEMBERS_MAX, members);
    json_writer_end_object(&w);
    return line.length;
}

static size_t compose_text(char line[LINE_MAX_BYTES], log_level level, const struct timespec *now,
                           const char *message) {
    struct tm local;
    localtime_r(&now->tv_sec, &local);
    int length = snprintf(line, LINE_MAX_BYTES, "%02d:%02d:%02d.%03ld %-5s %s", local.tm_hour, local.tm_min,
                          local.tm_sec, now->tv_nsec / 1000000, names[level], message);
    return (size_t)length;
}

static size_t compose(char *line, log_level level, const char *event, const char *message, const char *members) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    bool is_json = log_is_json();
    size_t length =
        is_json ? compose_json(line, level, &now, event, message, members) : compose_text(line, level, &now, message);
    if (is_json) {
        atomic_store(&has_written_json, true);
    }
    line[length] = '\n';
    return length + 1;
}

/* A standard error that is full loses lines: the first one that gets through again is followed by how many. */
static void put_line(log_level level, const char *event, const char *message, const char *members) {
    static atomic_bool is_torn; /* half a line stands there, which the next one must not go on */
    static atomic_uint lost;
    char line[LINE_MAX_BYTES + 1], told[64];
    bool was_torn = atomic_exchange(&is_torn, false);
    line[0] = '\n';
    size_t length = was_torn + compose(line + was_torn, level, event, message, members);
    ssize_t written = write(STDERR_FILENO, line, length);
    if (written != (ssize_t)length) {
        atomic_fetch_add(&lost, 1);
        atomic_store(&is_torn, written > 0 ? line[written - 1] != '\n' : was_torn);
        return;
    }
    unsigned before = atomic_exchange(&lost, 0);
    if (before > 0) {
        snprintf(told, sizeof told, "%u lines of the log were lost before this", before);
        put_line(LOG_WARN, "log_lines_lost", told, "");
    }
}

bool log_wants(log_level level) {
    return (int)level >= atomic_load(&threshold);
}

void log_event_with(log_level level, const char *event, const char *members, const char *format, ...) {
    char message[MESSAGE_MAX];
    if (!log_wants(level)) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    utf8_make_plain(message); /* what a peer said stays one line, and does a terminal no harm */
    put_line(level, event, message, members);
}

void log_failure(void) {
    if (atomic_load(&has_written_json)) {
        put_line(LOG_ERROR, "failed", err_text(), "");
    } else {
        fprintf(stderr, "%s: %s\n", program_invocation_short_name, err_text());
    }
}
