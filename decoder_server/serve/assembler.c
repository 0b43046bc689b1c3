#include "decoder_server/serve/assembler.h"

#include <stdlib.h>
#include <string.h>

enum { NONE = -1, DONE = -2 };

typedef struct place {
    uint64_t id, have, owed, opened_ns;
    uint64_t got, expected; /* of the round that is waited for */
    int32_t chain;          /* next place of the same hash */
    int32_t earlier, later; /* in its list */
    uint8_t model, round;
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
    int32_t free;             /* through `chain` */
    list waiting[ROUNDS_MAX]; /* by the round they wait for: in each, one comes in about as early as it was opened */
    list answered;
    /* Where forgoing goes on in `waiting`; NONE: from the beginning, DONE: it has come to the end. */
    int32_t forgoing[ROUNDS_MAX];
    uint8_t model; /* of what comes */
    bool owes;     /* for it */
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
    a->owes = true;
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
    a->answered = (list){NONE, NONE};
    for (size_t round = 0; round < ROUNDS_MAX; round++) {
        a->waiting[round] = (list){NONE, NONE};
        a->forgoing[round] = NONE;
    }
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
    append(a, &a->waiting[0], at);
    a->counters.waiting++;
    a->waiting_of[a->model]++;
    return at;
}

static void answer(assembler *a, int32_t at, assembled *out) {
    place *p = place_at(a, at);
    *out = (assembled){p->id, p->have, p->got, p->owed, p->round, p->opened_ns, p->model, p->codes};
    p->answered = true;
    unlink_place(a, &a->waiting[p->round], at);
    a->counters.curtailed += p->round > 0 && p->got != p->have;
    append(a, &a->answered, at);
    a->counters.waiting--;
    a->waiting_of[p->model]--;
}

void assembler_use(assembler *a, uint8_t model) {
    a->model = model;
}

void assembler_owe(assembler *a, bool owes) {
    a->owes = owes;
}

void assembler_disown(assembler *a, uint32_t portion) {
    for (uint32_t at = 0; at < a->config.capacity; at++) {
        place_at(a, (int32_t)at)->owed &= ~((uint64_t)1 << portion);
    }
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

/* A node that has come back says again what it, or the one before it, has said already. */
static assembler_outcome take_again(const assembler *a, place *p, uint64_t bit) {
    if (p->answered || !a->owes || p->owed & bit) {
        return ASSEMBLER_IGNORED;
    }
    p->owed |= bit;
    return ASSEMBLER_WAITS;
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
        return take_again(a, p, bit);
    }
    if (p->answered || p->round > 0) {
        a->counters.late++;
        return ASSEMBLER_IGNORED;
    }
    if (p->model != a->model) {
        a->counters.mixed++;
        return ASSEMBLER_IGNORED;
    }
    p->have |= bit;
    p->owed |= a->owes ? bit : 0;
    p->got = p->have;
    p->codes[portion] = code;
    if ((p->got & p->expected) != p->expected) {
        return ASSEMBLER_WAITS;
    }
    answer(a, at, out);
    a->counters.complete++;
    return ASSEMBLER_COMPLETE;
}

/* Behind the others that were opened as early: expiry looks at the first alone. */
static void insert_by_time(assembler *a, list *l, int32_t at) {
    place *p = place_at(a, at);
    int32_t before = l->last;
    while (before != NONE && place_at(a, before)->opened_ns > p->opened_ns) {
        before = place_at(a, before)->earlier;
    }
    p->earlier = before;
    p->later = before == NONE ? l->first : place_at(a, before)->later;
    *(p->later == NONE ? &l->last : &place_at(a, p->later)->earlier) = at;
    *(before == NONE ? &l->first : &place_at(a, before)->later) = at;
}

bool assembler_ask(assembler *a, uint64_t id, uint64_t expected) {
    int32_t at = find(a, id);
    if (at == NONE || !place_at(a, at)->answered || place_at(a, at)->round + 1 == ROUNDS_MAX) {
        return false;
    }
    place *p = place_at(a, at);
    unlink_place(a, &a->answered, at);
    p->answered = false;
    p->round++;
    p->got = 0;
    p->expected = expected;
    insert_by_time(a, &a->waiting[p->round], at);
    a->counters.asked++;
    a->counters.waiting++;
    a->waiting_of[p->model]++;
    return true;
}

/* The place of a sample that waits for that round of that portion; NONE: it does not. */
static int32_t find_asked(assembler *a, uint64_t id, uint32_t portion, uint8_t round) {
    int32_t at = find(a, id);
    const place *p = at == NONE ? NULL : place_at(a, at);
    if (p && !p->answered && p->round == round && (p->expected & ~p->got) >> portion & 1 && p->model == a->model) {
        return at;
    }
    a->counters.late++;
    return NONE;
}

static assembler_outcome answer_if_whole(assembler *a, int32_t at, assembled *out) {
    const place *p = place_at(a, at);
    if ((p->expected & ~p->got) != 0) {
        return ASSEMBLER_WAITS;
    }
    answer(a, at, out);
    return ASSEMBLER_COMPLETE;
}

assembler_outcome assembler_add_round(assembler *a, uint64_t id, uint32_t portion, uint8_t round, uint64_t bits,
                                      assembled *out) {
    int32_t at = find_asked(a, id, portion, round);
    if (at == NONE) {
        return ASSEMBLER_IGNORED;
    }
    place_at(a, at)->got |= (uint64_t)1 << portion;
    place_at(a, at)->codes[portion] |= bits;
    return answer_if_whole(a, at, out);
}

assembler_outcome assembler_skip_round(assembler *a, uint64_t id, uint32_t portion, uint8_t round, assembled *out) {
    int32_t at = find_asked(a, id, portion, round);
    if (at == NONE) {
        return ASSEMBLER_IGNORED;
    }
    place_at(a, at)->expected &= ~((uint64_t)1 << portion);
    return answer_if_whole(a, at, out);
}

/* Goes on at *from in a list; *from is DONE at its end. */
static bool forgo_in(assembler *a, const list *l, int32_t *from, uint32_t portion, assembled *out) {
    uint64_t bit = (uint64_t)1 << portion;
    int32_t at = *from == NONE ? l->first : *from;
    while (at >= 0) {
        place *p = place_at(a, at);
        int32_t next = p->later;
        bool waited = (p->expected & ~p->got & bit) != 0;
        p->expected &= waited ? ~bit : UINT64_MAX;
        if (waited && (p->expected & ~p->got) == 0) {
            a->counters.forgone += p->round == 0;
            answer(a, at, out);
            *from = next == NONE ? DONE : next;
            return true;
        }
        at = next;
    }
    *from = DONE;
    return false;
}

/* Those that wait for round `first` or a later one. */
static bool forgo_from(assembler *a, size_t first, uint32_t portion, assembled *out) {
    for (size_t round = first; round < ROUNDS_MAX; round++) {
        if (forgo_in(a, &a->waiting[round], &a->forgoing[round], portion, out)) {
            return true;
        }
    }
    for (size_t round = first; round < ROUNDS_MAX; round++) {
        a->forgoing[round] = NONE;
    }
    return false;
}

bool assembler_forgo_rounds(assembler *a, uint32_t portion, assembled *out) {
    return forgo_from(a, 1, portion, out);
}

bool assembler_forgo(assembler *a, uint32_t portion, assembled *out) {
    return forgo_from(a, 0, portion, out);
}

static uint64_t first_deadline(const assembler *a, const list *l) {
    return l->first == NONE ? UINT64_MAX : place_at(a, l->first)->opened_ns + a->config.deadline_ns;
}

/* The round whose first in line waits since longest. */
static size_t first_round(const assembler *a) {
    size_t first = 0;
    for (size_t round = 1; round < ROUNDS_MAX; round++) {
        first = first_deadline(a, &a->waiting[round]) < first_deadline(a, &a->waiting[first]) ? round : first;
    }
    return first;
}

bool assembler_expire(assembler *a, uint64_t now_ns, assembled *out) {
    size_t round = first_round(a);
    if (now_ns < first_deadline(a, &a->waiting[round])) {
        return false;
    }
    answer(a, a->waiting[round].first, out);
    a->counters.expired += round == 0;
    return true;
}

uint64_t assembler_next_deadline(const assembler *a) {
    return first_deadline(a, &a->waiting[first_round(a)]);
}

uint32_t assembler_waiting(const assembler *a, uint8_t model) {
    return a->waiting_of[model];
}

uint64_t assembler_end(const assembler *a) {
    uint64_t end = 0;
    for (int32_t at = a->waiting[0].first; at != NONE; at = place_at(a, at)->later) {
        uint64_t id = place_at(a, at)->id;
        end = id >= end && id < UINT64_MAX ? id + 1 : end;
    }
    return end;
}

const assembler_counters *assembler_count(const assembler *a) {
    return &a->counters;
}
