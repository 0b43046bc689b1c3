/* JSON written straight into a buffer: for answers, results and events, which are many. (jansson, base/json.h, serves
 * wherever speed does not matter.)
 *
 * Every function writes one value: with `key`, as a member of the object that is open; with NULL, as an element of the
 * array that is open, or as the whole text. Commas come by themselves. Keys are plain ASCII and are not escaped. The
 * buffer says in the end whether all of it found room (dynbuf's has_failed). */
#ifndef FEWBIT_BASE_JSON_WRITER_H
#define FEWBIT_BASE_JSON_WRITER_H

#include "base/dynbuf.h"

typedef struct json_writer {
    dynbuf *to;
    bool wants_comma; /* before the next value */
} json_writer;

static inline json_writer json_writer_make(dynbuf *to) {
    return (json_writer){.to = to};
}

/* Comma and key of a value of at most `room` bytes; where it goes, for dynbuf_commit, or NULL: there is no room. In
 * the header, so that the keys' lengths are known where they stand. */
static inline char *json_writer_begin(json_writer *w, const char *key, size_t room) {
    size_t length = key ? strlen(key) : 0;
    char *to = dynbuf_room(w->to, length + room + 4);
    if (!to) {
        return NULL;
    }
    if (w->wants_comma) {
        *to++ = ',';
    }
    if (key) {
        *to++ = '"';
        memcpy(to, key, length);
        to += length;
        *to++ = '"';
        *to++ = ':';
    }
    w->wants_comma = true;
    return to;
}

/* A value that is JSON already. */
static inline void json_writer_raw(json_writer *w, const char *key, const char *bytes, size_t length) {
    char *to = json_writer_begin(w, key, length);
    if (to) {
        memcpy(to, bytes, length);
        dynbuf_commit(w->to, to + length);
    }
}

static inline void json_writer_object(json_writer *w, const char *key) {
    json_writer_raw(w, key, "{", 1);
    w->wants_comma = false;
}

static inline void json_writer_end_object(json_writer *w) {
    dynbuf_add(w->to, "}", 1);
    w->wants_comma = true;
}

static inline void json_writer_array(json_writer *w, const char *key) {
    json_writer_raw(w, key, "[", 1);
    w->wants_comma = false;
}

static inline void json_writer_end_array(json_writer *w) {
    dynbuf_add(w->to, "]", 1);
    w->wants_comma = true;
}

static inline void json_writer_bool(json_writer *w, const char *key, bool value) {
    json_writer_raw(w, key, value ? "true" : "false", value ? 4 : 5);
}

static inline void json_writer_null(json_writer *w, const char *key) {
    json_writer_raw(w, key, "null", 4);
}

/* Numbers at `to`, which has room for JSON_WRITER_NUMBER_MAX bytes; where they end. */
enum { JSON_WRITER_NUMBER_MAX = 32 };
char *json_writer_put_uint(char *to, uint64_t value);
char *json_writer_put_fixed(char *to, double value, unsigned places);

static inline void json_writer_uint(json_writer *w, const char *key, uint64_t value) {
    char *to = json_writer_begin(w, key, JSON_WRITER_NUMBER_MAX);
    if (to) {
        dynbuf_commit(w->to, json_writer_put_uint(to, value));
    }
}

/* With `places` digits after the point, 1 to 9; what is no number, negative, or not below 2^53 once scaled, is 0. */
static inline void json_writer_fixed(json_writer *w, const char *key, double value, unsigned places) {
    char *to = json_writer_begin(w, key, JSON_WRITER_NUMBER_MAX);
    if (to) {
        dynbuf_commit(w->to, json_writer_put_fixed(to, value, places));
    }
}

/* As %.6g has it; null where it is not finite. */
void json_writer_real(json_writer *w, const char *key, double value);

/* Escaped; bytes that are no UTF-8 of their own become '?'. NULL: null. */
void json_writer_string(json_writer *w, const char *key, const char *text);

/* A text of the program's own, which needs no escapes: a name, a word. */
void json_writer_word(json_writer *w, const char *key, const char *text);

/* The `count` low bits of a code as a string of 0 and 1, lowest first; 64 at most. */
void json_writer_bits(json_writer *w, const char *key, uint64_t code, uint32_t count);

/* Milliseconds since 1970 as "2026-01-31T12:00:00.123Z"; null for 0 and less. */
void json_writer_time(json_writer *w, const char *key, int64_t unix_ms);

#endif
