#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static atomic_int threshold = LOG_INFO;
static const char *const names[] = {"debug", "info", "warn", "error", "none"};

void log_set_level(log_level level) {
    atomic_store(&threshold, level);
}

err log_level_parse(const char *name, log_level *level) {
    for (int i = LOG_DEBUG; i <= LOG_NONE; i++) {
        if (strcmp(name, names[i]) == 0) {
            *level = (log_level)i;
            return ERR_OK;
        }
    }
    return err_fail(ERR_USAGE, "log level '%s' is none of debug, info, warn, error, none", name);
}

void log_write(log_level level, const char *format, ...) {
    if ((int)level < atomic_load(&threshold)) {
        return;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm local;
    localtime_r(&now.tv_sec, &local);
    char text[1024];
    int head = snprintf(text, sizeof text, "%02d:%02d:%02d.%03ld %-5s ", local.tm_hour, local.tm_min, local.tm_sec,
                        now.tv_nsec / 1000000, names[level]);
    va_list arguments;
    va_start(arguments, format);
    int body = vsnprintf(text + head, sizeof text - (size_t)head - 1, format, arguments);
    va_end(arguments);
    size_t length = (size_t)(head + body);
    if (body < 0 || length > sizeof text - 2) {
        length = sizeof text - 2;
    }
    for (size_t i = (size_t)head; i < length; i++) {
        text[i] =
            (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i]; /* what a peer said stays one line */
    }
    text[length] = '\n';
    ssize_t written = write(STDERR_FILENO, text, length + 1);
    (void)written; /* nowhere left to report a failing standard error */
}
