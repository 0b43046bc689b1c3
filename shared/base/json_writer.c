#include "base/json_writer.h"

#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

enum { BITS_MAX = 64, ESCAPE_MAX = 6 };

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

char *json_writer_put_uint(char *to, uint64_t value) {
    unsigned count = 1;
    for (uint64_t rest = value; rest >= 10; rest /= 10) {
        count++;
    }
    put_digits(to, value, count);
    return to + count;
}

char *json_writer_put_fixed(char *to, double value, unsigned places) {
    static const uint32_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};
    double scaled = value * powers[places] + 0.5;
    uint64_t whole = scaled >= 0 && scaled < 9007199254740992.0 ? (uint64_t)scaled : 0;
    uint64_t units = whole < powers[places] ? 0 : whole / powers[places]; /* no slow division for a probability */
    to = json_writer_put_uint(to, units);
    *to++ = '.';
    put_digits(to, whole - units * powers[places], places);
    return to + places;
}

void json_writer_real(json_writer *w, const char *key, double value) {
    char text[JSON_WRITER_NUMBER_MAX];
    int length = snprintf(text, sizeof text, isfinite(value) ? "%.6g" : "null", value);
    json_writer_raw(w, key, text, (size_t)length);
}

/* Texts. */

void json_writer_word(json_writer *w, const char *key, const char *text) {
    size_t length = strlen(text);
    char *to = json_writer_begin(w, key, length + 2);
    if (to) {
        *to = '"';
        memcpy(to + 1, text, length);
        to[length + 1] = '"';
        dynbuf_commit(w->to, to + length + 2);
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
    char *to = json_writer_begin(w, key, ESCAPE_MAX * strlen(text) + 3); /* sprintf's zero, too */
    if (to) {
        *to++ = '"';
        while (*text) {
            to = put_point(to, &text);
        }
        *to++ = '"';
        dynbuf_commit(w->to, to);
    }
}

void json_writer_bits(json_writer *w, const char *key, uint64_t code, uint32_t count) {
    char *to = json_writer_begin(w, key, BITS_MAX + 2);
    if (to) {
        *to++ = '"';
        for (uint32_t b = 0; b < count; b++) {
            *to++ = (char)('0' + (code >> b & 1));
        }
        *to++ = '"';
        dynbuf_commit(w->to, to);
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
