#include "base/json_writer.h"

#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

enum { DIGITS_MAX = 20, REAL_MAX = 32, BITS_MAX = 64, ESCAPE_MAX = 6 };

/* Comma and key, and room for `value` bytes more behind them; NULL: there is none. */
static char *begin(json_writer *w, const char *key, size_t value) {
    size_t key_length = key ? strlen(key) : 0;
    char *to = dynbuf_room(w->to, key_length + value + 4);
    if (!to) {
        return NULL;
    }
    if (w->wants_comma) {
        *to++ = ',';
    }
    if (key) {
        *to++ = '"';
        memcpy(to, key, key_length);
        to += key_length;
        *to++ = '"';
        *to++ = ':';
    }
    w->wants_comma = true;
    return to;
}

static void finish(json_writer *w, const char *end) {
    dynbuf_commit(w->to, end);
}

static void put(json_writer *w, const char *key, const char *bytes, size_t length) {
    char *to = begin(w, key, length);
    if (to) {
        memcpy(to, bytes, length);
        finish(w, to + length);
    }
}

static void open_bracket(json_writer *w, const char *key, const char *bracket) {
    put(w, key, bracket, 1);
    w->wants_comma = false;
}

static void close_bracket(json_writer *w, const char *bracket) {
    dynbuf_add(w->to, bracket, 1);
    w->wants_comma = true;
}

void json_writer_object(json_writer *w, const char *key) {
    open_bracket(w, key, "{");
}

void json_writer_end_object(json_writer *w) {
    close_bracket(w, "}");
}

void json_writer_array(json_writer *w, const char *key) {
    open_bracket(w, key, "[");
}

void json_writer_end_array(json_writer *w) {
    close_bracket(w, "]");
}

void json_writer_bool(json_writer *w, const char *key, bool value) {
    put(w, key, value ? "true" : "false", value ? 4 : 5);
}

void json_writer_null(json_writer *w, const char *key) {
    put(w, key, "null", 4);
}

/* Numbers. */

static const char pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
    "4950515253545556575859606162636465666768697071727374757677787980818283848586878889909192939495"
    "96979899";

/* The last `count` digits. */
static void put_digits(char *to, uint64_t value, unsigned count) {
    for (; count >= 2; count -= 2) {
        memcpy(to + count - 2, pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (count > 0) {
        to[0] = (char)('0' + value % 10);
    }
}

char *json_writer_digits(char *to, uint64_t value) {
    unsigned count = 1;
    for (uint64_t rest = value; rest >= 10; rest /= 10) {
        count++;
    }
    put_digits(to, value, count);
    return to + count;
}

void json_writer_uint(json_writer *w, const char *key, uint64_t value) {
    char *to = begin(w, key, DIGITS_MAX);
    if (to) {
        finish(w, json_writer_digits(to, value));
    }
}

void json_writer_fixed(json_writer *w, const char *key, double value, unsigned places) {
    static const uint32_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};
    double scaled = value * powers[places] + 0.5;
    uint64_t whole = scaled >= 0 && scaled < 9007199254740992.0 ? (uint64_t)scaled : 0;
    char *to = begin(w, key, DIGITS_MAX + 1);
    if (to) {
        to = json_writer_digits(to, whole / powers[places]);
        *to++ = '.';
        put_digits(to, whole % powers[places], places);
        finish(w, to + places);
    }
}

void json_writer_real(json_writer *w, const char *key, double value) {
    char text[REAL_MAX];
    int length = snprintf(text, sizeof text, isfinite(value) ? "%.6g" : "null", value);
    put(w, key, text, (size_t)length);
}

/* Texts. */

void json_writer_word(json_writer *w, const char *key, const char *text) {
    size_t length = strlen(text);
    char *to = begin(w, key, length + 2);
    if (to) {
        *to = '"';
        memcpy(to + 1, text, length);
        to[length + 1] = '"';
        finish(w, to + length + 2);
    }
}

/* The sequence at *text, which is taken, as it stands in a string. */
static char *put_point(char *to, const char **text) {
    uint32_t point;
    size_t length = utf8_take(*text, &point);
    if (length == 1 && (**text == '"' || **text == '\\')) {
        *to++ = '\\';
        *to++ = **text;
    } else if (length > 0 && utf8_is_control(point)) {
        to += sprintf(to, "\\u%04x", point);
    } else if (length == 0) {
        *to++ = '?';
    } else {
        memcpy(to, *text, length);
        to += length;
    }
    *text += length ? length : 1;
    return to;
}

void json_writer_string(json_writer *w, const char *key, const char *text) {
    if (!text) {
        json_writer_null(w, key);
        return;
    }
    char *to = begin(w, key, ESCAPE_MAX * strlen(text) + 3); /* sprintf's zero, too */
    if (to) {
        *to++ = '"';
        while (*text) {
            to = put_point(to, &text);
        }
        *to++ = '"';
        finish(w, to);
    }
}

void json_writer_bits(json_writer *w, const char *key, uint64_t code, uint32_t count) {
    char *to = begin(w, key, BITS_MAX + 2);
    if (to) {
        *to++ = '"';
        for (uint32_t b = 0; b < count; b++) {
            *to++ = (char)('0' + (code >> b & 1));
        }
        *to++ = '"';
        finish(w, to);
    }
}

void json_writer_time(json_writer *w, const char *key, int64_t unix_ms) {
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm utc;
    char date[32], text[40];
    if (unix_ms <= 0 || !gmtime_r(&seconds, &utc) || strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc) == 0) {
        json_writer_null(w, key);
        return;
    }
    snprintf(text, sizeof text, "%s.%03dZ", date, (int)(unix_ms % 1000));
    json_writer_word(w, key, text);
}
