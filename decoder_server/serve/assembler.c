#include "decoder_server/serve/assembler.h"

#include <stdlib.h>
#include <string.h>

enum { NONE = -1 };

typedef struct place {
    uint64_t id, have, expected, opened_ns;
    int32_t chain;          /* next place of the same hash */
    int32_t earlier, later; /* in its list */
    bool answered;
} place;

/* A list in order of time, through the places themselves. */
typedef struct list {
    int32_t first, last;
} list;

struct assembler {
    assembler_config config;
    place *places;   /* [capacity] */
    uint64_t *codes; /* [capacity, portions] */
    int32_t *heads;  /* [buckets]: first place of a hash */
    uint32_t bucket_mask;
    int32_t free; /* through `chain` */
    list waiting, answered;
    assembler_counters counters;
};

static uint32_t buckets_for(uint32_t capacity) {
    uint32_t buckets = 16;
    while (buckets < 2 * capacity) {
        buckets *= 2;
    }
    return buckets;
}

err assembler_new(assembler **out, const assembler_config *config) {
    assembler *a = calloc(1, sizeof *a);
    if (!a) {
        return err_fail(ERR_MEMORY, "no memory for an assembler");
    }
    a->config = *config;
    uint32_t buckets = buckets_for(config->capacity);
    a->bucket_mask = buckets - 1;
    a->places = calloc(config->capacity, sizeof *a->places);
    a->codes = calloc((size_t)config->capacity * config->portions, sizeof *a->codes);
    a->heads = malloc(buckets * sizeof *a->heads);
    if (!a->places || !a->codes || !a->heads) {
        assembler_free(a);
        return err_fail(ERR_MEMORY, "no memory for %u samples", config->capacity);
    }
    memset(a->heads, 0xff, buckets * sizeof *a->heads);
    for (uint32_t i = 0; i < config->capacity; i++) {
        a->places[i].chain = i + 1 < config->capacity ? (int32_t)i + 1 : NONE;
    }
    a->waiting = a->answered = (list){NONE, NONE};
    *out = a;
    return ERR_OK;
}

void assembler_free(assembler *a) {
    if (a) {
        free(a->places);
        free(a->codes);
        free(a->heads);
        free(a);
    }
}

static int32_t *bucket_of(assembler *a, uint64_t id) {
    uint64_t mixed = id * 0x9E3779B97F4A7C15u;
    return &a->heads[(uint32_t)(mixed >> 40) & a->bucket_mask];
}

static int32_t find(assembler *a, uint64_t id) {
    int32_t at = *bucket_of(a, id);
    while (at != NONE && a->places[at].id != id) {
        at = a->places[at].chain;
    }
    return at;
}

static void append(assembler *a, list *l, int32_t at) {
    a->places[at].earlier = l->last;
    a->places[at].later = NONE;
    if (l->last == NONE) {
        l->first = at;
    } else {
        a->places[l->last].later = at;
    }
    l->last = at;
}

static void unlink_place(assembler *a, list *l, int32_t at) {
    place *p = &a->places[at];
    if (p->earlier == NONE) {
        l->first = p->later;
    } else {
        a->places[p->earlier].later = p->later;
    }
    if (p->later == NONE) {
        l->last = p->earlier;
    } else {
        a->places[p->later].earlier = p->earlier;
    }
}

/* Gives up the place that was answered longest ago. */
static void forget_oldest(assembler *a) {
    int32_t at = a->answered.first;
    if (at == NONE) {
        return;
    }
    unlink_place(a, &a->answered, at);
    int32_t *link = bucket_of(a, a->places[at].id);
    while (*link != at) {
        link = &a->places[*link].chain;
    }
    *link = a->places[at].chain;
    a->places[at].chain = a->free;
    a->free = at;
}

static int32_t open_place(assembler *a, uint64_t id, uint64_t expected, uint64_t now_ns) {
    if (a->free == NONE) {
        forget_oldest(a);
    }
    int32_t at = a->free;
    if (at == NONE) {
        return NONE;
    }
    a->free = a->places[at].chain;
    int32_t *bucket = bucket_of(a, id);
    a->places[at] = (place){.id = id, .expected = expected, .opened_ns = now_ns, .chain = *bucket};
    *bucket = at;
    memset(&a->codes[(size_t)at * a->config.portions], 0, a->config.portions * sizeof *a->codes);
    append(a, &a->waiting, at);
    a->counters.waiting++;
    return at;
}

static void answer(assembler *a, int32_t at, assembled *out) {
    place *p = &a->places[at];
    *out = (assembled){.id = p->id, .have = p->have, .opened_ns = p->opened_ns};
    memcpy(out->codes, &a->codes[(size_t)at * a->config.portions], a->config.portions * sizeof *a->codes);
    p->answered = true;
    unlink_place(a, &a->waiting, at);
    append(a, &a->answered, at);
    a->counters.waiting--;
}

bool assembler_open(assembler *a, uint64_t id, uint64_t expected, uint64_t now_ns) {
    if (find(a, id) != NONE || open_place(a, id, expected, now_ns) == NONE) {
        a->counters.refused++;
        return false;
    }
    return true;
}

static uint64_t all_portions(const assembler *a) {
    return a->config.portions == 64 ? UINT64_MAX : ((uint64_t)1 << a->config.portions) - 1;
}

assembler_outcome assembler_add(assembler *a, uint64_t id, uint32_t portion, uint64_t code, uint64_t now_ns,
                                assembled *out) {
    int32_t at = find(a, id);
    if (at == NONE && !a->config.opens) {
        a->counters.late++;
        return ASSEMBLER_IGNORED;
    }
    if (at == NONE) {
        at = open_place(a, id, all_portions(a), now_ns);
    }
    if (at == NONE) {
        a->counters.refused++;
        return ASSEMBLER_FULL;
    }
    place *p = &a->places[at];
    uint64_t bit = (uint64_t)1 << portion;
    if (p->have & bit) {
        a->counters.duplicate++;
        return ASSEMBLER_IGNORED;
    }
    if (p->answered) {
        a->counters.late++;
        return ASSEMBLER_IGNORED;
    }
    p->have |= bit;
    a->codes[(size_t)at * a->config.portions + portion] = code;
    if ((p->have & p->expected) != p->expected) {
        return ASSEMBLER_WAITS;
    }
    answer(a, at, out);
    a->counters.complete++;
    return ASSEMBLER_COMPLETE;
}

bool assembler_expire(assembler *a, uint64_t now_ns, assembled *out) {
    if (now_ns < assembler_next_deadline(a)) {
        return false;
    }
    answer(a, a->waiting.first, out);
    a->counters.expired++;
    return true;
}

uint64_t assembler_next_deadline(const assembler *a) {
    return a->waiting.first == NONE ? UINT64_MAX : a->places[a->waiting.first].opened_ns + a->config.deadline_ns;
}

const assembler_counters *assembler_count(const assembler *a) {
    return &a->counters;
}
