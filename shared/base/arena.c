#include "base/arena.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* From here on a block comes from the kernel, in huge pages where it has some: passes over large nets spend less on
 * finding their pages, and what is never touched takes no memory. */
enum { LARGE = 4 << 20 };

static void *large_block(size_t bytes) {
    void *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) {
        return NULL;
    }
    madvise(block, bytes, MADV_HUGEPAGE); /* a wish: no harm where it is not granted */
    return block;
}

static void *small_block(size_t bytes) {
    void *block = aligned_alloc(ARENA_ALIGNMENT, bytes);
    return block ? memset(block, 0, bytes) : NULL;
}

err arena_init(arena *a, size_t capacity) {
    *a = (arena){0};
    size_t rounded = arena_rounded(capacity ? capacity : 1);
    if (rounded >= capacity) {
        a->block = rounded < LARGE ? small_block(rounded) : large_block(rounded);
    }
    if (!a->block) {
        return err_fail(ERR_MEMORY, "no memory for a block of %zu bytes", rounded);
    }
    a->capacity = rounded;
    return ERR_OK;
}

void arena_free(arena *a) {
    if (a->block && a->capacity >= LARGE) {
        munmap(a->block, a->capacity);
    } else {
        free(a->block);
    }
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
