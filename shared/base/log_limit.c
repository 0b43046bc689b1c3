#include "base/log_limit.h"

#include "base/clock.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { KINDS_MAX = 256, PROBES = 8, SHOWN_MAX = 160, LINE_BYTES = 1000 };

/* One kind of line from one of the others. The last kinds share a place where there is no other. */
typedef struct kind {
    const char *format; /* NULL: a free place */
    uint64_t subject;
    uint64_t full_ms; /* when the whole burst is there again */
    uint64_t left_out;
    log_level level;
    char shown[SHOWN_MAX]; /* the last one left out */
} kind;

static kind kinds[KINDS_MAX];
static uint64_t left_out_of_all;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static kind *find(const char *format, uint64_t subject, uint64_t now_ms) {
    uint64_t hash = ((uint64_t)(uintptr_t)format ^ subject * 0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd;
    kind *unused = NULL;
    for (size_t i = 0; i < PROBES; i++) {
        kind *k = &kinds[((hash >> 32) + i) % KINDS_MAX];
        if (k->format == format && k->subject == subject) {
            return k;
        }
        if (!unused && k->left_out == 0 && k->full_ms <= now_ms) {
            unused = k;
        }
    }
    unused = unused ? unused : &kinds[(hash >> 32) % KINDS_MAX];
    unused->format = format;
    unused->subject = subject;
    return unused;
}

/* Whether a line goes out now. */
static bool spend(kind *k, uint64_t now_ms) {
    uint64_t full_ms = k->full_ms > now_ms ? k->full_ms : now_ms;
    if (full_ms - now_ms > (LOG_LIMIT_BURST - 1) * LOG_LIMIT_PAUSE_MS) {
        return false;
    }
    k->full_ms = full_ms + LOG_LIMIT_PAUSE_MS;
    return true;
}

static void tell_left_out(kind *k) {
    log_event(k->level, "log_lines_left_out", "%" PRIu64 " more lines like this: %s", k->left_out, k->shown);
    left_out_of_all -= k->left_out;
    k->left_out = 0;
}

static void tell_all(void) {
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < KINDS_MAX; i++) {
        if (kinds[i].left_out > 0) {
            tell_left_out(&kinds[i]);
        }
    }
    pthread_mutex_unlock(&mutex);
}

/* How many were left out is told once a line of that kind would go out again. */
static void tell_due(uint64_t now_ms) {
    for (size_t i = 0; i < KINDS_MAX && left_out_of_all > 0; i++) {
        if (kinds[i].left_out > 0 && spend(&kinds[i], now_ms)) {
            tell_left_out(&kinds[i]);
        }
    }
}

static void put(log_level level, const char *event, uint64_t subject, const char *line) {
    char portion[40] = "";
    if (subject > 0) {
        snprintf(portion, sizeof portion, "\"portion\":%" PRIu64, subject - 1);
    }
    log_event_with(level, event, portion, "%s", line);
}

void log_limited(log_level level, const char *event, uint64_t subject, const char *format, ...) {
    static bool is_told_at_exit;
    if (!log_wants(level)) {
        return;
    }
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&mutex);
    uint64_t now_ms = clock_now_ms();
    tell_due(now_ms);
    kind *k = find(format, subject, now_ms);
    if (spend(k, now_ms)) {
        put(level, event, subject, line);
    } else {
        k->left_out++;
        left_out_of_all++;
        k->level = level;
        snprintf(k->shown, sizeof k->shown, "%.*s", SHOWN_MAX - 1, line);
        if (!is_told_at_exit) {
            is_told_at_exit = atexit(tell_all) == 0;
        }
    }
    pthread_mutex_unlock(&mutex);
}

bool log_limit_allows(uint64_t subject, const char *format) {
    pthread_mutex_lock(&mutex);
    uint64_t now_ms = clock_now_ms();
    bool allowed = spend(find(format, subject, now_ms), now_ms);
    pthread_mutex_unlock(&mutex);
    return allowed;
}
