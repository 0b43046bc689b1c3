/* Arena: one block of memory carved from front to back, freed as a whole.
 *
 * Used where the memory a thing needs is known before it starts: a net's activations, a connection's
 * scratch for unpacking. Every piece is aligned to 64 bytes (a cache line, an AVX-512 vector). */
#ifndef FEWBIT_BASE_ARENA_H
#define FEWBIT_BASE_ARENA_H

#include "base/err.h"

typedef struct arena {
    unsigned char *block;
    size_t capacity; /* bytes */
    size_t used;
} arena;

enum { ARENA_ALIGNMENT = 64 };

/* The size a piece takes from an arena. */
static inline size_t arena_rounded(size_t bytes) {
    return (bytes + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
}

/* Allocates the block, filled with zeroes. The caller ends it with arena_free. */
err arena_init(arena *a, size_t capacity);
void arena_free(arena *a);

/* The next `bytes` of the block, or NULL when they do not fit. Not zeroed again after a reset. */
void *arena_take(arena *a, size_t bytes);

/* Forgets every piece; the block stays. */
void arena_reset(arena *a);

#endif
