#include "decoder_server/serve/assembler.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

typedef enum place_state {
    PLACE_IS_FREE,
    PLACE_WAITS,
    PLACE_IS_OUT,     /* with the caller, who may ask for more */
    PLACE_IS_RETIRED, /* of a streamed sample: answered for good */
} place_state;

typedef struct place {
    uint64_t id, have, to_ack, opened_ns;
    uint64_t got, expected; /* of the stage that is waited for */
    TAILQ_ENTRY(place) link;
    uint8_t model, stage;
    uint8_t state;
    uint64_t codes[]; /* [portions] */
} place;

/* Places in order of time. */
typedef TAILQ_HEAD(place_list, place) place_list;

struct assembler {
    assembler_config config;
    uint8_t *places; /* [capacity], each `stride` bytes; by id, modulo */
    size_t stride;
    uint64_t low, passed; /* streamed: where the window begins; below which nothing new comes */
    uint32_t not_retired; /* streamed: samples that wait or are out */
    /* By the stage they wait for: in each, one comes in about as early as it was opened. */
    place_list waiting[REFINEMENT_STAGES_MAX];
    place *giving_up; /* where that goes on: in the list of a stage; NULL: at its beginning */
    size_t giving_up_stage;
    uint8_t model;  /* of what comes */
    bool wants_ack; /* for it */
    bool is_closed;
    uint32_t waiting_of[ASSEMBLER_MODELS];
    assembler_counters counters;
};

/* Where a sample of that id is, if it is in the table. */
static place *place_of(const assembler *a, uint64_t id) {
    return (place *)(void *)(a->places + (id & (a->config.capacity - 1)) * a->stride);
}

/* Where a sample is, or was; NULL: nowhere. */
static place *find(const assembler *a, uint64_t id) {
    place *p = place_of(a, id);
    return p->id == id && p->state != PLACE_IS_FREE ? p : NULL;
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
        TAILQ_INIT(&a->waiting[stage]);
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

/* In its place, which must not wait. */
static place *open_place(assembler *a, uint64_t id, uint64_t expected, uint64_t now_ns) {
    place *p = place_of(a, id);
    *p = (place){.id = id, .expected = expected, .opened_ns = now_ns, .model = a->model, .state = PLACE_WAITS};
    memset(p->codes, 0, a->config.portions * sizeof *p->codes);
    TAILQ_INSERT_TAIL(&a->waiting[0], p, link);
    a->not_retired++;
    a->counters.waiting++;
    a->waiting_of[a->model]++;
    return p;
}

static void answer(assembler *a, place *p, assembler_sample *out) {
    *out = (assembler_sample){p->id, p->have, p->got, p->to_ack, p->stage, p->opened_ns, p->model, p->codes};
    p->state = PLACE_IS_OUT;
    TAILQ_REMOVE(&a->waiting[p->stage], p, link);
    a->counters.incomplete += p->stage > 0 && p->got != p->have;
    a->counters.waiting--;
    a->waiting_of[p->model]--;
}

/* The window goes over what is answered for good, and over what nobody will bring. */
static void advance(assembler *a) {
    if (a->not_retired == 0 && a->passed > a->low && a->passed - a->low > a->config.capacity) {
        a->low = a->passed;
    }
    for (;;) {
        const place *p = place_of(a, a->low);
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
    place *p = place_of(a, id);
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
        place_of(a, at)->to_ack &= ~((uint64_t)1 << portion);
    }
}

void assembler_close(assembler *a) {
    a->is_closed = true;
}

bool assembler_open(assembler *a, uint64_t id, uint64_t expected, uint64_t now_ns) {
    if (find(a, id) || place_of(a, id)->state == PLACE_WAITS) {
        a->counters.refused++;
        return false;
    }
    open_place(a, id, expected, now_ns);
    return true;
}

static uint64_t all_portions(const assembler *a) {
    return a->config.portions == 64 ? UINT64_MAX : ((uint64_t)1 << a->config.portions) - 1;
}

/* Where a portion belongs: NULL, and *why, where it is not taken. */
static place *find_or_open(assembler *a, uint64_t id, uint64_t now_ns, assembler_outcome *why) {
    *why = ASSEMBLER_IGNORED;
    if (a->config.is_streamed && id < a->low) {
        a->counters.late++;
        return NULL;
    }
    place *p = find(a, id);
    if (p) {
        return p;
    }
    if (!a->config.is_streamed || a->is_closed) {
        a->counters.unknown++;
        return NULL;
    }
    if (id - a->low >= a->config.capacity) {
        a->counters.refused++;
        *why = ASSEMBLER_FULL;
        return NULL;
    }
    return open_place(a, id, all_portions(a), now_ns);
}

assembler_outcome assembler_add(assembler *a, uint64_t id, uint32_t portion, uint64_t code, uint64_t now_ns,
                                assembler_sample *out) {
    assembler_outcome why;
    place *p = find_or_open(a, id, now_ns, &why);
    if (!p) {
        return why;
    }
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
    answer(a, p, out);
    a->counters.complete++;
    return ASSEMBLER_COMPLETE;
}

/* After the others that were opened as early: expiry reads the first alone. */
static void insert_by_time(place_list *l, place *p) {
    place *before = TAILQ_LAST(l, place_list);
    while (before && before->opened_ns > p->opened_ns) {
        before = TAILQ_PREV(before, place_list, link);
    }
    if (before) {
        TAILQ_INSERT_AFTER(l, before, p, link);
    } else {
        TAILQ_INSERT_HEAD(l, p, link);
    }
}

bool assembler_extend(assembler *a, uint64_t id, uint64_t expected) {
    place *p = find(a, id);
    if (!p || p->state != PLACE_IS_OUT || p->stage + 1 == REFINEMENT_STAGES_MAX) {
        return false;
    }
    p->state = PLACE_WAITS;
    p->stage++;
    p->got = 0;
    p->expected = expected;
    insert_by_time(&a->waiting[p->stage], p);
    a->counters.asked++;
    a->counters.waiting++;
    a->waiting_of[p->model]++;
    return true;
}

/* The place of a sample that waits for that stage of that portion; NULL: it does not. */
static place *find_asked(assembler *a, uint64_t id, uint32_t portion, uint8_t stage) {
    place *p = find(a, id);
    if (p && p->state == PLACE_WAITS && p->stage == stage && (p->expected & ~p->got) >> portion & 1 &&
        p->model == a->model) {
        return p;
    }
    a->counters.late++;
    return NULL;
}

static assembler_outcome answer_if_whole(assembler *a, place *p, assembler_sample *out) {
    if ((p->expected & ~p->got) != 0) {
        return ASSEMBLER_WAITS;
    }
    answer(a, p, out);
    return ASSEMBLER_COMPLETE;
}

assembler_outcome assembler_add_stage(assembler *a, uint64_t id, uint32_t portion, uint8_t stage, uint64_t bits,
                                      assembler_sample *out) {
    place *p = find_asked(a, id, portion, stage);
    if (!p) {
        return ASSEMBLER_IGNORED;
    }
    p->got |= (uint64_t)1 << portion;
    p->codes[portion] |= bits;
    return answer_if_whole(a, p, out);
}

assembler_outcome assembler_skip_stage(assembler *a, uint64_t id, uint32_t portion, uint8_t stage,
                                       assembler_sample *out) {
    place *p = find_asked(a, id, portion, stage);
    if (!p) {
        return ASSEMBLER_IGNORED;
    }
    p->expected &= ~((uint64_t)1 << portion);
    return answer_if_whole(a, p, out);
}

assembler_outcome assembler_skip(assembler *a, uint64_t id, uint32_t portion, assembler_sample *out) {
    place *p = find(a, id);
    uint64_t bit = (uint64_t)1 << portion;
    if (!p || p->state != PLACE_WAITS || p->stage > 0 || !(p->expected & ~p->got & bit)) {
        a->counters.late++;
        return ASSEMBLER_IGNORED;
    }
    p->expected &= ~bit;
    if ((p->expected & ~p->got) != 0) {
        return ASSEMBLER_WAITS;
    }
    a->counters.given_up++;
    answer(a, p, out);
    return ASSEMBLER_COMPLETE;
}

/* Those that wait for stage `first` or a later one. */
static bool give_up_from(assembler *a, size_t first, uint32_t portion, assembler_sample *out) {
    uint64_t bit = (uint64_t)1 << portion;
    place *p = a->giving_up;
    for (size_t stage = first > a->giving_up_stage ? first : a->giving_up_stage; stage < REFINEMENT_STAGES_MAX;
         stage++, p = NULL) {
        for (p = p ? p : TAILQ_FIRST(&a->waiting[stage]); p; p = TAILQ_NEXT(p, link)) {
            bool waited = (p->expected & ~p->got & bit) != 0;
            p->expected &= waited ? ~bit : UINT64_MAX;
            if (waited && (p->expected & ~p->got) == 0) {
                a->giving_up = TAILQ_NEXT(p, link);
                a->giving_up_stage = a->giving_up ? stage : stage + 1;
                a->counters.given_up += p->stage == 0;
                answer(a, p, out);
                return true;
            }
        }
    }
    a->giving_up = NULL;
    a->giving_up_stage = 0;
    return false;
}

bool assembler_give_up_stages(assembler *a, uint32_t portion, assembler_sample *out) {
    return give_up_from(a, 1, portion, out);
}

bool assembler_give_up(assembler *a, uint32_t portion, assembler_sample *out) {
    return give_up_from(a, 0, portion, out);
}

static uint64_t first_deadline(const assembler *a, const place_list *l) {
    return TAILQ_EMPTY(l) ? UINT64_MAX : TAILQ_FIRST(l)->opened_ns + a->config.deadline_ns;
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
    answer(a, TAILQ_FIRST(&a->waiting[stage]), out);
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
