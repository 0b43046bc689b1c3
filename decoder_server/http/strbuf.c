#include "decoder_server/http/strbuf.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIRST_CAPACITY = 2048 };

void strbuf_free(strbuf *t) {
    free(t->bytes);
    *t = (strbuf){0};
}

void strbuf_reset(strbuf *t) {
    t->length = 0;
    t->has_failed = false;
}

/* Room for `more` bytes and the zero behind them. */
static bool make_room(strbuf *t, size_t more) {
    if (t->has_failed || more > STRBUF_MAX || t->length + more + 1 > STRBUF_MAX) {
        t->has_failed = true;
        return false;
    }
    if (t->length + more < t->capacity) {
        return true;
    }
    size_t capacity = t->capacity ? t->capacity : FIRST_CAPACITY;
    while (capacity <= t->length + more) {
        capacity *= 2;
    }
    char *grown = realloc(t->bytes, capacity);
    if (!grown) {
        t->has_failed = true;
        return false;
    }
    t->bytes = grown;
    t->capacity = capacity;
    return true;
}

void strbuf_printf(strbuf *t, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    size_t room = t->capacity - t->length;
    int length = vsnprintf(room ? t->bytes + t->length : NULL, room, format, arguments);
    if (length >= 0 && make_room(t, (size_t)length)) {
        if ((size_t)length >= room) {
            vsnprintf(t->bytes + t->length, t->capacity - t->length, format, again);
        }
        t->length += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

static void add_bytes(strbuf *t, const char *bytes, size_t length) {
    if (make_room(t, length)) {
        memcpy(t->bytes + t->length, bytes, length);
        t->length += length;
        t->bytes[t->length] = '\0';
    }
}

void strbuf_add_number(strbuf *t, unsigned long long value) {
    char digits[24], *at = digits + sizeof digits;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    add_bytes(t, at, (size_t)(digits + sizeof digits - at));
}

void strbuf_add_fraction(strbuf *t, double value, int places) {
    static const unsigned powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};
    unsigned power = powers[places];
    double scaled = value * power + 0.5;
    unsigned long long whole = scaled >= 0 && scaled < 9007199254740992.0 ? (unsigned long long)scaled : 0;
    char digits[12];
    strbuf_add_number(t, whole / power);
    digits[0] = '.';
    for (int i = places; i > 0; i--) {
        digits[i] = (char)('0' + whole / (power / powers[i]) % 10);
    }
    add_bytes(t, digits, (size_t)places + 1);
}

void strbuf_add(strbuf *t, const char *piece) {
    add_bytes(t, piece, strlen(piece));
}

void strbuf_add_json(strbuf *t, const char *piece) {
    strbuf_add(t, "\"");
    size_t plain = strcspn(piece, "\"\\");
    for (size_t i = 0; i < plain; i++) {
        plain = piece[i] < ' ' || piece[i] == 0x7f ? i : plain;
    }
    add_bytes(t, piece, plain);
    piece += plain;
    while (*piece) {
        uint32_t point;
        size_t length = utf8_take(piece, &point);
        if (length == 1 && (*piece == '"' || *piece == '\\')) {
            strbuf_printf(t, "\\%c", *piece);
        } else if (length > 0 && utf8_is_control(point)) {
            strbuf_printf(t, "\\u%04x", point);
        } else if (length == 0) {
            strbuf_add(t, "?");
        } else {
            add_bytes(t, piece, length);
        }
        piece += length ? length : 1;
    }
    strbuf_add(t, "\"");
}

void strbuf_add_time(strbuf *t, long long unix_ms) {
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm utc;
    char date[32];
    if (unix_ms <= 0 || !gmtime_r(&seconds, &utc) || strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc) == 0) {
        strbuf_add(t, "null");
        return;
    }
    strbuf_printf(t, "\"%s.%03dZ\"", date, (int)(unix_ms % 1000));
}
