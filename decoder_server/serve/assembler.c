#include "decoder_server/serve/assembler.h"

#include <stdlib.h>
#include <string.h>

enum { NONE = -1, DONE = -2 };

typedef enum place_state {
    PLACE_IS_FREE,
    PLACE_WAITS,
    PLACE_IS_OUT,     /* with the caller, who may ask for more */
    PLACE_IS_RETIRED, /* of a streamed sample: answered for good */
} place_state;

typedef struct place {
    uint64_t id, have, to_ack, opened_ns;
    uint64_t got, expected; /* of the stage that is waited for */
    int32_t earlier, later; /* in its list */
    uint8_t model, stage;
    uint8_t state;
    uint64_t codes[]; /* [portions] */
} place;

/* A list in order of time, through the places themselves. */
typedef struct list {
    int32_t first, last;
} list;

struct assembler {
    assembler_config config;
    uint8_t *places; /* [capacity], each `stride` bytes; by id, modulo */
    size_t stride;
    uint64_t low, passed;                /* streamed: where the window begins; below which nothing new comes */
    uint32_t not_retired;                /* streamed: samples that wait or are out */
    list waiting[REFINEMENT_STAGES_MAX]; /* by the stage they wait for: in each, one comes in about as early as it was
                                            opened */
    /* Where giving_up goes on in `waiting`; NONE: from the beginning, DONE: it has come to the end. */
    int32_t giving_up[REFINEMENT_STAGES_MAX];
    uint8_t model;  /* of what comes */
    bool wants_ack; /* for it */
    bool is_closed;
    uint32_t waiting_of[ASSEMBLER_MODELS];
    assembler_counters counters;
};

static place *place_at(const assembler *a, int32_t at) {
    return (place *)(void *)(a->places + (size_t)at * a->stride);
}

err assembler_new(assembler **out, const assembler_config *config) {
    assembler *a = calloc(1, sizeof *a);
    if (!a) {
        return err_fail(ERR_MEMORY, "no memory for an assembler");
    }
    a->config = *config;
    a->wants_ack = true;
    a->stride = sizeof(place) + config->portions * sizeof(uint64_t);
    a->places = calloc(config->capacity, a->stride);
    if (!a->places) {
        assembler_free(a);
        return err_fail(ERR_MEMORY, "no memory for %u samples", config->capacity);
    }
    for (size_t stage = 0; stage < REFINEMENT_STAGES_MAX; stage++) {
        a->waiting[stage] = (list){NONE, NONE};
        a->giving_up[stage] = NONE;
    }
    *out = a;
    return ERR_OK;
}

void assembler_free(assembler *a) {
    if (a) {
        free(a->places);
        free(a);
    }
}

static int32_t place_of(const assembler *a, uint64_t id) {
    return (int32_t)(id & (a->config.capacity - 1));
}

/* Where a sample is, or was; NONE: nowhere. */
static int32_t find(const assembler *a, uint64_t id) {
    const place *p = place_at(a, place_of(a, id));
    return p->id == id && p->state != PLACE_IS_FREE ? place_of(a, id) : NONE;
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

/* In its place, which must not wait. */
static void open_place(assembler *a, uint64_t id, uint64_t expected, uint64_t now_ns) {
    int32_t at = place_of(a, id);
    place *p = place_at(a, at);
    *p = (place){.id = id, .expected = expected, .opened_ns = now_ns, .model = a->model, .state = PLACE_WAITS};
    memset(p->codes, 0, a->config.portions * sizeof *p->codes);
    append(a, &a->waiting[0], at);
    a->not_retired++;
    a->counters.waiting++;
    a->waiting_of[a->model]++;
}

static void answer(assembler *a, int32_t at, assembler_sample *out) {
    place *p = place_at(a, at);
    *out = (assembler_sample){p->id, p->have, p->got, p->to_ack, p->stage, p->opened_ns, p->model, p->codes};
    p->state = PLACE_IS_OUT;
    unlink_place(a, &a->waiting[p->stage], at);
    a->counters.curtailed += p->stage > 0 && p->got != p->have;
    a->counters.waiting--;
    a->waiting_of[p->model]--;
}

/* The window goes over what is settled, and over what nobody will bring. */
static void advance(assembler *a) {
    if (a->not_retired == 0 && a->passed > a->low && a->passed - a->low > a->config.capacity) {
        a->low = a->passed;
    }
    for (;;) {
        const place *p = place_at(a, place_of(a, a->low));
        bool is_known = p->id == a->low && p->state != PLACE_IS_FREE;
        if (is_known ? p->state != PLACE_IS_RETIRED : a->low >= a->passed) {
            return;
        }
        a->low++;
    }
}

void assembler_count_late(assembler *a, uint64_t portions) {
    a->counters.late += portions;
}

void assembler_retire(assembler *a, uint64_t id) {
    place *p = place_at(a, place_of(a, id));
    if (p->id == id && p->state == PLACE_IS_OUT) {
        p->state = PLACE_IS_RETIRED;
        a->not_retired--;
        advance(a);
    }
}

void assembler_pass(assembler *a, uint64_t id) {
    if (id > a->passed) {
        a->passed = id;
        advance(a);
    }
}

void assembler_set_model(assembler *a, uint8_t model) {
    a->model = model;
}

void assembler_set_wants_ack(assembler *a, bool wants_ack) {
    a->wants_ack = wants_ack;
}

void assembler_drop_acks(assembler *a, uint32_t portion) {
    for (uint32_t at = 0; at < a->config.capacity; at++) {
        place_at(a, (int32_t)at)->to_ack &= ~((uint64_t)1 << portion);
    }
}

void assembler_close(assembler *a) {
    a->is_closed = true;
}

bool assembler_open(assembler *a, uint64_t id, uint64_t expected, uint64_t now_ns) {
    if (find(a, id) != NONE || place_at(a, place_of(a, id))->state == PLACE_WAITS) {
        a->counters.refused++;
        return false;
    }
    open_place(a, id, expected, now_ns);
    return true;
}

static uint64_t all_portions(const assembler *a) {
    return a->config.portions == 64 ? UINT64_MAX : ((uint64_t)1 << a->config.portions) - 1;
}

/* Where a portion belongs: NONE, and *why, where it is not taken. */
static int32_t find_or_open(assembler *a, uint64_t id, uint64_t now_ns, assembler_outcome *why) {
    *why = ASSEMBLER_IGNORED;
    if (a->config.is_streamed && id < a->low) {
        a->counters.late++;
        return NONE;
    }
    int32_t at = find(a, id);
    if (at != NONE) {
        return at;
    }
    if (!a->config.is_streamed || a->is_closed) {
        a->counters.unknown++;
        return NONE;
    }
    if (id - a->low >= a->config.capacity) {
        a->counters.refused++;
        *why = ASSEMBLER_FULL;
        return NONE;
    }
    open_place(a, id, all_portions(a), now_ns);
    return place_of(a, id);
}

assembler_outcome assembler_add(assembler *a, uint64_t id, uint32_t portion, uint64_t code, uint64_t now_ns,
                                assembler_sample *out) {
    assembler_outcome why;
    int32_t at = find_or_open(a, id, now_ns, &why);
    if (at == NONE) {
        return why;
    }
    place *p = place_at(a, at);
    uint64_t bit = (uint64_t)1 << portion;
    if (p->have & bit) {
        a->counters.duplicate++;
        return ASSEMBLER_IGNORED;
    }
    if (p->state != PLACE_WAITS || p->stage > 0) {
        a->counters.late++;
        return ASSEMBLER_IGNORED;
    }
    if (p->model != a->model) {
        a->counters.mixed++;
        return ASSEMBLER_IGNORED;
    }
    p->have |= bit;
    p->to_ack |= a->wants_ack ? bit : 0;
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

bool assembler_extend(assembler *a, uint64_t id, uint64_t expected) {
    int32_t at = find(a, id);
    if (at == NONE || place_at(a, at)->state != PLACE_IS_OUT || place_at(a, at)->stage + 1 == REFINEMENT_STAGES_MAX) {
        return false;
    }
    place *p = place_at(a, at);
    p->state = PLACE_WAITS;
    p->stage++;
    p->got = 0;
    p->expected = expected;
    insert_by_time(a, &a->waiting[p->stage], at);
    a->counters.asked++;
    a->counters.waiting++;
    a->waiting_of[p->model]++;
    return true;
}

/* The place of a sample that waits for that stage of that portion; NONE: it does not. */
static int32_t find_asked(assembler *a, uint64_t id, uint32_t portion, uint8_t stage) {
    int32_t at = find(a, id);
    const place *p = at == NONE ? NULL : place_at(a, at);
    if (p && p->state == PLACE_WAITS && p->stage == stage && (p->expected & ~p->got) >> portion & 1 &&
        p->model == a->model) {
        return at;
    }
    a->counters.late++;
    return NONE;
}

static assembler_outcome answer_if_whole(assembler *a, int32_t at, assembler_sample *out) {
    const place *p = place_at(a, at);
    if ((p->expected & ~p->got) != 0) {
        return ASSEMBLER_WAITS;
    }
    answer(a, at, out);
    return ASSEMBLER_COMPLETE;
}

assembler_outcome assembler_add_stage(assembler *a, uint64_t id, uint32_t portion, uint8_t stage, uint64_t bits,
                                      assembler_sample *out) {
    int32_t at = find_asked(a, id, portion, stage);
    if (at == NONE) {
        return ASSEMBLER_IGNORED;
    }
    place_at(a, at)->got |= (uint64_t)1 << portion;
    place_at(a, at)->codes[portion] |= bits;
    return answer_if_whole(a, at, out);
}

assembler_outcome assembler_skip_stage(assembler *a, uint64_t id, uint32_t portion, uint8_t stage,
                                       assembler_sample *out) {
    int32_t at = find_asked(a, id, portion, stage);
    if (at == NONE) {
        return ASSEMBLER_IGNORED;
    }
    place_at(a, at)->expected &= ~((uint64_t)1 << portion);
    return answer_if_whole(a, at, out);
}

/* Goes on at *from in a list; *from is DONE at its end. */
static bool give_up_in(assembler *a, const list *l, int32_t *from, uint32_t portion, assembler_sample *out) {
    uint64_t bit = (uint64_t)1 << portion;
    int32_t at = *from == NONE ? l->first : *from;
    while (at >= 0) {
        place *p = place_at(a, at);
        int32_t next = p->later;
        bool waited = (p->expected & ~p->got & bit) != 0;
        p->expected &= waited ? ~bit : UINT64_MAX;
        if (waited && (p->expected & ~p->got) == 0) {
            a->counters.given_up += p->stage == 0;
            answer(a, at, out);
            *from = next == NONE ? DONE : next;
            return true;
        }
        at = next;
    }
    *from = DONE;
    return false;
}

/* Those that wait for stage `first` or a later one. */
static bool give_up_from(assembler *a, size_t first, uint32_t portion, assembler_sample *out) {
    for (size_t stage = first; stage < REFINEMENT_STAGES_MAX; stage++) {
        if (give_up_in(a, &a->waiting[stage], &a->giving_up[stage], portion, out)) {
            return true;
        }
    }
    for (size_t stage = first; stage < REFINEMENT_STAGES_MAX; stage++) {
        a->giving_up[stage] = NONE;
    }
    return false;
}

bool assembler_give_up_stages(assembler *a, uint32_t portion, assembler_sample *out) {
    return give_up_from(a, 1, portion, out);
}

bool assembler_give_up(assembler *a, uint32_t portion, assembler_sample *out) {
    return give_up_from(a, 0, portion, out);
}

static uint64_t first_deadline(const assembler *a, const list *l) {
    return l->first == NONE ? UINT64_MAX : place_at(a, l->first)->opened_ns + a->config.deadline_ns;
}

/* The stage whose first in line waits since longest. */
static size_t first_stage(const assembler *a) {
    size_t first = 0;
    for (size_t stage = 1; stage < REFINEMENT_STAGES_MAX; stage++) {
        first = first_deadline(a, &a->waiting[stage]) < first_deadline(a, &a->waiting[first]) ? stage : first;
    }
    return first;
}

bool assembler_expire(assembler *a, uint64_t now_ns, assembler_sample *out) {
    size_t stage = first_stage(a);
    if (now_ns < first_deadline(a, &a->waiting[stage])) {
        return false;
    }
    answer(a, a->waiting[stage].first, out);
    a->counters.expired += stage == 0;
    return true;
}

uint64_t assembler_next_deadline(const assembler *a) {
    return first_deadline(a, &a->waiting[first_stage(a)]);
}

uint32_t assembler_waiting(const assembler *a, uint8_t model) {
    return a->waiting_of[model];
}

const assembler_counters *assembler_count(const assembler *a) {
    return &a->counters;
}
