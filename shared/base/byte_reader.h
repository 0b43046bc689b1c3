/* A bounded reader over bytes that are not trusted.
 *
 * A read past the end gives zeroes and sets `failed`, which stays set: parse everything first, check once
 * at the end. */
#ifndef FEWBIT_BASE_BYTE_READER_H
#define FEWBIT_BASE_BYTE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct byte_reader {
    const uint8_t *next;
    const uint8_t *end;
    bool failed;
} byte_reader;

static inline byte_reader byte_reader_over(const void *bytes, size_t length) {
    const uint8_t *from = bytes ? bytes : (const uint8_t *)""; /* no bytes may be NULL, which C lets nobody add 0 to */
    return (byte_reader){.next = from, .end = from + length};
}

static inline size_t byte_reader_left(const byte_reader *c) {
    return (size_t)(c->end - c->next);
}

/* The next `length` bytes, or NULL (and `failed`) when there are fewer. Borrowed from the underlying bytes. */
const uint8_t *byte_reader_bytes(byte_reader *c, size_t length);

uint8_t byte_reader_u8(byte_reader *c);
uint32_t byte_reader_u32_be(byte_reader *c);
uint32_t byte_reader_u32_le(byte_reader *c);
uint64_t byte_reader_u64_le(byte_reader *c);

/* Stores in the little-endian order of every format of ours. */
void byte_put_u32_le(uint8_t *to, uint32_t value);
void byte_put_u64_le(uint8_t *to, uint64_t value);

#endif
