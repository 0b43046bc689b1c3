#include "decoder_server/serve/assembler.h"

#include <stdlib.h>
#include <string.h>

enum { NONE = -1 };

typedef struct place {
    uint64_t id, have, expected, opened_ns;
    int32_t chain;          /* next place of the same hash */
    int32_t earlier, later; /* in its list */
    uint8_t model;
    bool answered;
    uint64_t codes[]; /* [portions] */
} place;

/* A list in order of time, through the places themselves. */
typedef struct list {
    int32_t first, last;
} list;

struct assembler {
    assembler_config config;
    uint8_t *places; /* [capacity], each `stride` bytes */
    size_t stride;
    int32_t *heads; /* [buckets]: first place of a hash */
    uint32_t bucket_mask;
    int32_t free; /* through `chain` */
    list waiting, answered;
    int32_t forgoing; /* where assembler_forgo goes on in `waiting`; NONE: from the beginning */
    uint8_t model;    /* of what comes */
    uint32_t waiting_of[ASSEMBLER_MODELS];
    assembler_counters counters;
};

static place *place_at(const assembler *a, int32_t at) {
    return (place *)(void *)(a->places + (size_t)at * a->stride);
}

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
    a->stride = sizeof(place) + config->portions * sizeof(uint64_t);
    a->places = calloc(config->capacity, a->stride);
    a->heads = malloc(buckets * sizeof *a->heads);
    if (!a->places || !a->heads) {
        assembler_free(a);
        return err_fail(ERR_MEMORY, "no memory for %u samples", config->capacity);
    }
    memset(a->heads, 0xff, buckets * sizeof *a->heads);
    for (uint32_t i = 0; i < config->capacity; i++) {
        place_at(a, (int32_t)i)->chain = i + 1 < config->capacity ? (int32_t)i + 1 : NONE;
    }
    a->waiting = a->answered = (list){NONE, NONE};
    a->forgoing = NONE;
    *out = a;
    return ERR_OK;
}

void assembler_free(assembler *a) {
    if (a) {
        free(a->places);
        free(a->heads);
        free(a);
    }
}

/* Neighbouring ids have neighbouring buckets, so a run of them walks through memory. */
static int32_t *bucket_of(assembler *a, uint64_t id) {
    uint64_t mixed = (id >> 16) * 0x9E3779B97F4A7C15u;
    return &a->heads[(uint32_t)(id + (mixed >> 40)) & a->bucket_mask];
}

static int32_t find(assembler *a, uint64_t id) {
    int32_t at = *bucket_of(a, id);
    while (at != NONE && place_at(a, at)->id != id) {
        at = place_at(a, at)->chain;
    }
    return at;
}

static void append(assembler *a, list *l, int32_t at) {
    place *p = place_at(a, at);
    p->earlier = l->last;
    p->later = NONE;
    if (l->last == NONE) {
        l->first = at;
    } else {
        place_at(a, l->last)->later = at;
    }
    l->last = at;
}

static void unlink_place(assembler *a, list *l, int32_t at) {
    place *p = place_at(a, at);
    if (p->earlier == NONE) {
        l->first = p->later;
    } else {
        place_at(a, p->earlier)->later = p->later;
    }
    if (p->later == NONE) {
        l->last = p->earlier;
    } else {
        place_at(a, p->later)->earlier = p->earlier;
    }
}

/* Gives up the place that was answered longest ago. */
static void forget_oldest(assembler *a) {
    int32_t at = a->answered.first;
    if (at == NONE) {
        return;
    }
    unlink_place(a, &a->answered, at);
    place *p = place_at(a, at);
    int32_t *link = bucket_of(a, p->id);
    while (*link != at) {
        link = &place_at(a, *link)->chain;
    }
    *link = p->chain;
    p->chain = a->free;
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
    place *p = place_at(a, at);
    a->free = p->chain;
    int32_t *bucket = bucket_of(a, id);
    *p = (place){.id = id, .expected = expected, .opened_ns = now_ns, .chain = *bucket, .model = a->model};
    *bucket = at;
    memset(p->codes, 0, a->config.portions * sizeof *p->codes);
    append(a, &a->waiting, at);
    a->counters.waiting++;
    a->waiting_of[a->model]++;
    return at;
}

static void answer(assembler *a, int32_t at, assembled *out) {
    place *p = place_at(a, at);
    *out = (assembled){.id = p->id, .have = p->have, .opened_ns = p->opened_ns, .model = p->model, .codes = p->codes};
    p->answered = true;
    unlink_place(a, &a->waiting, at);
    append(a, &a->answered, at);
    a->counters.waiting--;
    a->waiting_of[p->model]--;
}

void assembler_use(assembler *a, uint8_t model) {
    a->model = model;
}

void assembler_close(assembler *a) {
    a->config.opens = false;
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
        a->counters.unknown++;
        return ASSEMBLER_IGNORED;
    }
    if (at == NONE) {
        at = open_place(a, id, all_portions(a), now_ns);
    }
    if (at == NONE) {
        a->counters.refused++;
        return ASSEMBLER_FULL;
    }
    place *p = place_at(a, at);
    uint64_t bit = (uint64_t)1 << portion;
    if (p->have & bit) {
        a->counters.duplicate++;
        return ASSEMBLER_IGNORED;
    }
    if (p->answered) {
        a->counters.late++;
        return ASSEMBLER_IGNORED;
    }
    if (p->model != a->model) {
        a->counters.mixed++;
        return ASSEMBLER_IGNORED;
    }
    p->have |= bit;
    p->codes[portion] = code;
    if ((p->have & p->expected) != p->expected) {
        return ASSEMBLER_WAITS;
    }
    answer(a, at, out);
    a->counters.complete++;
    return ASSEMBLER_COMPLETE;
}

bool assembler_forgo(assembler *a, uint32_t portion, assembled *out) {
    uint64_t bit = (uint64_t)1 << portion;
    int32_t at = a->forgoing == NONE ? a->waiting.first : a->forgoing;
    while (at != NONE) {
        place *p = place_at(a, at);
        int32_t next = p->later;
        bool waited = (p->expected & ~p->have & bit) != 0;
        p->expected &= waited ? ~bit : UINT64_MAX;
        if (waited && (p->expected & ~p->have) == 0) {
            answer(a, at, out);
            a->counters.forgone++;
            a->forgoing = next;
            return true;
        }
        at = next;
    }
    a->forgoing = NONE;
    return false;
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
    return a->waiting.first == NONE ? UINT64_MAX : place_at(a, a->waiting.first)->opened_ns + a->config.deadline_ns;
}

uint32_t assembler_waiting(const assembler *a, uint8_t model) {
    return a->waiting_of[model];
}

uint64_t assembler_end(const assembler *a) {
    uint64_t end = 0;
    for (int32_t at = a->waiting.first; at != NONE; at = place_at(a, at)->later) {
        uint64_t id = place_at(a, at)->id;
        end = id >= end && id < UINT64_MAX ? id + 1 : end;
    }
    return end;
}

const assembler_counters *assembler_count(const assembler *a) {
    return &a->counters;
}
