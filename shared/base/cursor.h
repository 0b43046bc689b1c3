/* Bounded cursor over bytes that are not trusted.
 *
 * A read past the end gives zeroes and sets `failed`, which stays set: parse everything first, check once
 * at the end. */
#ifndef FEWBIT_BASE_CURSOR_H
#define FEWBIT_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
} cursor;

static inline cursor cursor_over(const void *bytes, size_t length) {
    const uint8_t *at = bytes ? bytes : (const uint8_t *)""; /* no bytes may be NULL, which C lets nobody add 0 to */
    return (cursor){.at = at, .end = at + length};
}

static inline size_t cursor_left(const cursor *c) {
    return (size_t)(c->end - c->at);
}

/* The next `length` bytes, or NULL (and `failed`) when there are fewer. Borrowed from the underlying bytes. */
const uint8_t *cursor_bytes(cursor *c, size_t length);

uint8_t cursor_u8(cursor *c);
uint32_t cursor_u32_be(cursor *c);
uint32_t cursor_u32_le(cursor *c);
uint64_t cursor_u64_le(cursor *c);

/* Stores in the little-endian order of every format of ours. */
void put_u32_le(uint8_t *to, uint32_t value);
void put_u64_le(uint8_t *to, uint64_t value);

#endif
