/* First fit, the largest piece first. */
#include "nn/memory_plan.h"

#include "base/arena.h"

#include <stdlib.h>

static bool meet(const memory_plan_piece *a, const memory_plan_piece *b) {
    return a->from <= b->to && b->from <= a->to;
}

/* Larger first; of equals the one that stands first. */
static int compare(const void *one, const void *other) {
    const memory_plan_piece *a = *(memory_plan_piece *const *)one, *b = *(memory_plan_piece *const *)other;
    if (a->bytes != b->bytes) {
        return a->bytes > b->bytes ? -1 : 1;
    }
    return a < b ? -1 : a > b;
}

/* The lowest place at or above `at` that `piece` does not share with one of `placed`: moves up after what is in
 * the way until nothing is. */
static size_t first_fit(const memory_plan_piece *piece, memory_plan_piece *const *placed, size_t count) {
    size_t at = 0, size = arena_rounded(piece->bytes);
    for (size_t i = 0; i < count; i++) {
        size_t end = placed[i]->offset + arena_rounded(placed[i]->bytes);
        if (meet(piece, placed[i]) && placed[i]->offset < at + size && at < end) {
            at = end;
            i = (size_t)-1;
        }
    }
    return at;
}

size_t memory_plan(memory_plan_piece *pieces, size_t count) {
    memory_plan_piece *order[MEMORY_PLAN_PIECES_MAX];
    size_t all = 0;
    for (size_t i = 0; i < count; i++) {
        order[i] = &pieces[i];
    }
    qsort(order, count, sizeof order[0], compare);
    for (size_t i = 0; i < count; i++) {
        order[i]->offset = order[i]->bytes ? first_fit(order[i], order, i) : 0;
        size_t end = order[i]->offset + arena_rounded(order[i]->bytes);
        all = end > all ? end : all;
    }
    return all;
}
