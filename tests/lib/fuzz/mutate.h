/* Mutations of an input: small, random, and the same for the same generator.
 *
 * Some know bytes only, some know numbers in text (JSON, YAML), some know records: a control byte and a
 * frame. */
#ifndef FEWBIT_TESTS_LIB_FUZZ_MUTATE_H
#define FEWBIT_TESTS_LIB_FUZZ_MUTATE_H

#include "base/rng.h"
#include "wire/frame.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* An input that grows and shrinks within its capacity. */
typedef struct fuzz_input {
    uint8_t *bytes;
    size_t length, capacity;
} fuzz_input;

static inline size_t fuzz_below(rng *r, size_t bound) {
    return bound ? rng_below(r, (uint32_t)bound) : 0;
}

/* Replaces `old` bytes at `at` by `count` others; does nothing where they do not fit. */
static inline void fuzz_replace(fuzz_input *in, size_t at, size_t old, const void *bytes, size_t count) {
    if (count > old && in->length + (count - old) > in->capacity) {
        return;
    }
    memmove(in->bytes + at + count, in->bytes + at + old, in->length - at - old);
    if (count > 0) {
        memmove(in->bytes + at, bytes, count);
    }
    in->length = in->length - old + count;
}

static inline void fuzz_change_byte(fuzz_input *in, rng *r) {
    static const uint8_t telling[] = {0, 1, 2, 7, 8, 10, 32, 47, 58, 63, 64, 100, 126, 127, 128, 192, 254, 255};
    uint8_t *at = &in->bytes[fuzz_below(r, in->length)];
    switch (fuzz_below(r, 4)) {
    case 0:
        *at ^= (uint8_t)(1u << fuzz_below(r, 8));
        break;
    case 1:
        *at = telling[fuzz_below(r, sizeof telling)];
        break;
    case 2:
        *at = (uint8_t)(*at + 1 + fuzz_below(r, 4));
        break;
    default:
        *at = (uint8_t)rng_u32(r);
        break;
    }
}

/* A number of 2, 4 or 8 bytes, of either order, becomes one near a border. */
static inline void fuzz_change_number(fuzz_input *in, rng *r) {
    static const uint64_t telling[] = {0,          1,          0x7f,       0xff,       0x7fff,    0xffff,    0x7fffffff,
                                       0xffffffff, 1ull << 20, 1ull << 22, 1ull << 32, INT64_MAX, UINT64_MAX};
    size_t width = (size_t)2 << fuzz_below(r, 3);
    if (in->length < width) {
        return;
    }
    size_t at = fuzz_below(r, in->length - width + 1);
    uint64_t value = telling[fuzz_below(r, sizeof telling / sizeof telling[0])] + fuzz_below(r, 3) - 1;
    bool big_endian = fuzz_below(r, 2);
    for (size_t i = 0; i < width; i++) {
        in->bytes[at + (big_endian ? width - 1 - i : i)] = (uint8_t)(value >> (8 * i));
    }
}

static inline bool fuzz_is_numeric(uint8_t byte) {
    return (byte >= '0' && byte <= '9') || byte == '-' || byte == '.';
}

/* A number written in text becomes another one. */
static inline void fuzz_change_text_number(fuzz_input *in, rng *r) {
    static const char *const telling[] = {"0",
                                          "-1",
                                          "1",
                                          "2",
                                          "3",
                                          "64",
                                          "65",
                                          "255",
                                          "256",
                                          "1000000",
                                          "2147483648",
                                          "4294967295",
                                          "4294967296",
                                          "9223372036854775807",
                                          "18446744073709551615",
                                          "1e400",
                                          "-0.0",
                                          "0.1",
                                          "nan",
                                          "inf",
                                          "null",
                                          "true",
                                          "\"\"",
                                          "[]",
                                          "{}",
                                          "1e-30",
                                          "0.123456789",
                                          "0x10",
                                          "007",
                                          ""};
    size_t at = fuzz_below(r, in->length), end;
    while (at < in->length && !fuzz_is_numeric(in->bytes[at])) {
        at++;
    }
    for (end = at; end < in->length && fuzz_is_numeric(in->bytes[end]);) {
        end++;
    }
    const char *text = telling[fuzz_below(r, sizeof telling / sizeof telling[0])];
    if (at < in->length) {
        fuzz_replace(in, at, end - at, text, strlen(text));
    }
}

static inline void fuzz_delete_range(fuzz_input *in, rng *r) {
    size_t at = fuzz_below(r, in->length), most = in->length - at;
    size_t count = 1 + fuzz_below(r, fuzz_below(r, 2) ? most : (most < 8 ? most : 8));
    fuzz_replace(in, at, count < most ? count : most, NULL, 0);
}

static inline void fuzz_repeat_range(fuzz_input *in, rng *r) {
    uint8_t piece[256];
    size_t at = fuzz_below(r, in->length), most = in->length - at;
    size_t count = 1 + fuzz_below(r, most < sizeof piece ? most : sizeof piece);
    count = count < most ? count : most;
    memcpy(piece, in->bytes + at, count);
    fuzz_replace(in, fuzz_below(r, in->length + 1), 0, piece, count);
}

static inline void fuzz_insert_random(fuzz_input *in, rng *r) {
    uint8_t piece[16];
    size_t count = 1 + fuzz_below(r, sizeof piece);
    for (size_t i = 0; i < count; i++) {
        piece[i] = (uint8_t)rng_u32(r);
    }
    fuzz_replace(in, fuzz_below(r, in->length + 1), 0, piece, count);
}

/* The head of this input and the tail of another. */
static inline void fuzz_splice(fuzz_input *in, rng *r, const uint8_t *other, size_t length) {
    size_t at = fuzz_below(r, in->length + 1), from = fuzz_below(r, length + 1);
    fuzz_replace(in, at, in->length - at, other + from, length - from);
}

static inline void fuzz_mutate_bytes(fuzz_input *in, rng *r, const uint8_t *other, size_t other_length) {
    if (in->length == 0) {
        fuzz_insert_random(in, r);
        return;
    }
    switch (fuzz_below(r, 12)) {
    case 0:
        in->length = fuzz_below(r, in->length + 1);
        break;
    case 1:
        fuzz_change_number(in, r);
        break;
    case 2:
    case 3:
        fuzz_change_text_number(in, r);
        break;
    case 4:
        fuzz_delete_range(in, r);
        break;
    case 5:
        fuzz_repeat_range(in, r);
        break;
    case 6:
        fuzz_insert_random(in, r);
        break;
    case 7:
        fuzz_splice(in, r, other, other_length);
        break;
    default:
        fuzz_change_byte(in, r);
        break;
    }
}

/* Records: one control byte, one frame. */
enum { FUZZ_RECORD_HEAD = 1 + FRAME_HEADER, FUZZ_RECORDS_MAX = 512 };

typedef struct fuzz_record {
    size_t at, length; /* of all of it */
    uint8_t control, type;
    const uint8_t *payload;
    size_t payload_length;
} fuzz_record;

/* The record at *at, which moves behind it; false at the end, or where the bytes left are no whole record. */
static inline bool fuzz_next_record(const uint8_t *bytes, size_t length, size_t *at, fuzz_record *out) {
    if (length - *at < FUZZ_RECORD_HEAD) {
        return false;
    }
    const uint8_t *head = bytes + *at;
    size_t payload = (size_t)head[1] | (size_t)head[2] << 8 | (size_t)head[3] << 16;
    if (length - *at - FUZZ_RECORD_HEAD < payload) {
        return false;
    }
    *out = (fuzz_record){*at, FUZZ_RECORD_HEAD + payload, head[0], head[4], head + FUZZ_RECORD_HEAD, payload};
    *at += out->length;
    return true;
}

static inline size_t fuzz_list_records(const uint8_t *bytes, size_t length, fuzz_record *records) {
    size_t count = 0, at = 0;
    while (count < FUZZ_RECORDS_MAX && fuzz_next_record(bytes, length, &at, &records[count])) {
        count++;
    }
    return count;
}

typedef void (*fuzz_payload_mutator)(fuzz_input *payload, rng *r);

static inline void fuzz_change_payload(fuzz_input *in, const fuzz_record *record, rng *r, fuzz_payload_mutator mutate) {
    static uint8_t copy[1 << 16];
    if (record->payload_length > sizeof copy) {
        return;
    }
    fuzz_input payload = {copy, record->payload_length, sizeof copy};
    memcpy(copy, record->payload, record->payload_length);
    mutate(&payload, r);
    fuzz_replace(in, record->at + FUZZ_RECORD_HEAD, record->payload_length, copy, payload.length);
    frame_put_header(in->bytes + record->at + 1, record->type, payload.length);
}

static inline void fuzz_copy_record(fuzz_input *in, size_t to, const uint8_t *bytes, const fuzz_record *record) {
    static uint8_t copy[1 << 16];
    if (record->length <= sizeof copy) {
        memcpy(copy, bytes + record->at, record->length);
        fuzz_replace(in, to, 0, copy, record->length);
    }
}

/* Leaves the input a sequence of records. */
static inline void fuzz_mutate_records(fuzz_input *in, rng *r, const uint8_t *other, size_t other_length,
                                       fuzz_payload_mutator mutate) {
    static fuzz_record records[FUZZ_RECORDS_MAX], others[FUZZ_RECORDS_MAX];
    size_t count = fuzz_list_records(in->bytes, in->length, records);
    size_t other_count = fuzz_list_records(other, other_length, others);
    if (count == 0) {
        fuzz_mutate_bytes(in, r, other, other_length);
        return;
    }
    const fuzz_record *one = &records[fuzz_below(r, count)], *two = &records[fuzz_below(r, count)];
    switch (fuzz_below(r, 9)) {
    case 0:
        fuzz_replace(in, one->at, one->length, NULL, 0);
        break;
    case 1:
        fuzz_copy_record(in, two->at, in->bytes, one);
        break;
    case 2:
        in->bytes[one->at] = (uint8_t)(rng_u32(r) & 31);
        break;
    case 3:
        in->bytes[one->at + FRAME_HEADER] = (uint8_t)(rng_u32(r) % 18);
        break;
    case 4:
        if (other_count > 0) {
            fuzz_copy_record(in, one->at, other, &others[fuzz_below(r, other_count)]);
        }
        break;
    default:
        fuzz_change_payload(in, one, r, mutate);
        break;
    }
}

#endif
