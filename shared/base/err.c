#include "base/err.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINE_MAX_BYTES = 512 };

static _Thread_local char line[LINE_MAX_BYTES];

const char err_exit_help[] = "Exit codes: 0 done, 1 failed, 2 usage, 3 bad input (file, config, data), 4 not found, "
                             "5 disk or system, 6 network, 7 refused by the other side, 130 stopped.";

err err_fail(err code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char text[LINE_MAX_BYTES]; /* an argument may be err_text() itself */
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(line, text, sizeof line);
    utf8_make_plain(line);
    return code;
}

err err_system(err code, const char *format, ...) {
    int number = errno;
    va_list arguments;
    va_start(arguments, format);
    char text[LINE_MAX_BYTES];
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    char reason[128];
    return err_fail(code, "%.380s: %s", text, strerror_r(number, reason, sizeof reason));
}

err err_prefix(err code, const char *format, ...) {
    if (code == ERR_OK) {
        return code;
    }
    va_list arguments;
    va_start(arguments, format);
    char place[LINE_MAX_BYTES / 2];
    vsnprintf(place, sizeof place, format, arguments);
    va_end(arguments);
    return err_fail(code, "%s: %s", place, line);
}

const char *err_text(void) {
    return line;
}

int err_exit_code(err code) {
    switch (code) {
    case ERR_OK:
        return 0;
    case ERR_USAGE:
        return 2;
    case ERR_INPUT:
        return 3;
    case ERR_NOT_FOUND:
        return 4;
    case ERR_IO:
        return 5;
    case ERR_NETWORK:
        return 6;
    case ERR_REFUSED:
        return 7;
    case ERR_STOPPED:
        return 130;
    case ERR_FULL:
    case ERR_MEMORY:
    case ERR_INTERNAL:
        break;
    }
    return 1;
}
