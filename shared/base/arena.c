#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

err arena_init(arena *a, size_t capacity) {
    *a = (arena){0};
    size_t rounded = arena_rounded(capacity ? capacity : 1);
    a->block = rounded < capacity ? NULL : aligned_alloc(ARENA_ALIGNMENT, rounded);
    if (!a->block) {
        return err_fail(ERR_MEMORY, "no memory for a block of %zu bytes", rounded);
    }
    memset(a->block, 0, rounded);
    a->capacity = rounded;
    return ERR_OK;
}

void arena_free(arena *a) {
    free(a->block);
    *a = (arena){0};
}

void *arena_take(arena *a, size_t bytes) {
    size_t size = arena_rounded(bytes);
    if (size < bytes || size > a->capacity - a->used) {
        return NULL;
    }
    void *piece = a->block + a->used;
    a->used += size;
    return piece;
}

void arena_reset(arena *a) {
    a->used = 0;
}
