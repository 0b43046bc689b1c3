/* An aligner and nodes in alignment, joined by memory; messages arrive in an order that is drawn. Each party has some
 * of a world's ids, in an order of its own. */
#ifndef FEWBIT_TESTS_LIB_ALIGNING_H
#define FEWBIT_TESTS_LIB_ALIGNING_H

#include "base/log.h"
#include "base/rng.h"
#include "data/psi.h"
#include "decoder_server/train/aligner.h"
#include "encoder_node/node_align.h"
#include "wire/inproc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ALIGNING_PARTIES = 5, ALIGNING_ID = 16 };

typedef struct party {
    uint32_t samples[2];
    char (*names[2])[ALIGNING_ID];
    sample_ids *ids;
    char digest[SHA256_HEX];
    node_align *node;
    node_host host;
    inproc in, out; /* of the node */
    uint32_t number;
    Fewbit__Reason dropped;
    char why[256];
    bool is_ready;
} party;

static struct aligning {
    uint32_t portions;
    party parties[ALIGNING_PARTIES]; /* the labels' last */
    aligner *aligner;
    arena unpacked;
    rng draws;
    uint32_t messages;
} g;

static inline party *labels_party(void) {
    return &g.parties[ALIGNING_PARTIES - 1];
}

/* Ids of world numbers: those of the test begin with 't', so that no id is in both splits. */
static inline void name_of(enum dataset_split split, uint32_t number, char to[ALIGNING_ID]) {
    snprintf(to, ALIGNING_ID, "%c%u", split == DATASET_TRAIN ? 'p' : 't', number);
}

/* Some of the world's 0 … world-1: each with a chance of `percent`, at least one, shuffled where `shuffles`. */
static inline void give_ids(party *p, const uint32_t world[2], uint32_t percent, bool shuffles) {
    const char *const *lists[2];
    for (int split = 0; split < 2; split++) {
        uint32_t *numbers = malloc(world[split] * sizeof *numbers), count = 0;
        for (uint32_t i = 0; i < world[split]; i++) {
            if (rng_below(&g.draws, 100) < percent || (count == 0 && i + 1 == world[split])) {
                numbers[count++] = i;
            }
        }
        if (shuffles) {
            rng_shuffle(&g.draws, numbers, count);
        }
        p->samples[split] = count;
        p->names[split] = calloc(count, ALIGNING_ID);
        const char **list = malloc(count * sizeof *list);
        for (uint32_t i = 0; i < count; i++) {
            name_of((enum dataset_split)split, numbers[i], p->names[split][i]);
            list[i] = p->names[split][i];
        }
        lists[split] = list;
        free(numbers);
    }
    assert_int_equal(sample_ids_new(&p->ids, lists, p->samples), ERR_OK);
    assert_int_equal(sample_ids_digest(p->ids, p->digest), ERR_OK);
    free((void *)(uintptr_t)lists[0]);
    free((void *)(uintptr_t)lists[1]);
}

static inline void node_says(void *context, message_type type, const ProtobufCMessage *body) {
    party *p = context;
    inproc_send(&p->out, type, body);
}

static inline void aligner_says(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    (void)context;
    inproc_send(&g.parties[portion].in, type, body);
}

static inline void aligner_drops(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    (void)context;
    g.parties[portion].dropped = reason;
    snprintf(g.parties[portion].why, sizeof g.parties[portion].why, "%s", text);
}

static inline void open_aligning(uint64_t seed, uint32_t portions) {
    log_choose_level("none");
    g = (struct aligning){.portions = portions, .draws = rng_at(seed, 0, 0)};
    assert_int_equal(arena_init(&g.unpacked, message_arena_size(FRAME_PAYLOAD_MAX)), ERR_OK);
    for (uint32_t k = 0; k < ALIGNING_PARTIES; k++) {
        party *p = &g.parties[k];
        p->number = k;
        p->in = inproc_make();
        p->out = inproc_make();
        p->host = (node_host){node_says, p};
    }
}

static inline void start_aligner(uint32_t validation, uint32_t min_portions, uint32_t batch_size, bool is_private) {
    party *l = labels_party();
    aligner_config config = {.ids = l->ids,
                             .rule = {.portions = g.portions,
                                      .samples = {l->samples[0], l->samples[1]},
                                      .validation = validation,
                                      .min_portions = min_portions},
                             .batch_size = batch_size,
                             .is_private = is_private};
    assert_int_equal(aligner_new(&g.aligner, &config, &(aligner_host){aligner_says, aligner_drops, NULL}), ERR_OK);
}

static inline void join_party(uint32_t k) {
    static const char *const names[] = {"guest", "host", "lab", "scan"};
    party *p = &g.parties[k];
    p->dropped = 0;
    p->is_ready = false;
    if (!p->node) {
        assert_int_equal(node_align_new(&p->node, p->ids, p->samples, NULL, &p->host), ERR_OK);
    }
    aligner_joined(g.aligner, k, &(aligner_node){names[k], {p->samples[0], p->samples[1]}, p->digest});
}

/* Its connection is lost, with all that is under way on it. */
static inline void lose_party(uint32_t k) {
    party *p = &g.parties[k];
    node_align_disconnected(p->node);
    p->in.taken = p->out.taken = 0;
    dynbuf_reset(&p->in.frames);
    dynbuf_reset(&p->out.frames);
    p->is_ready = false;
    aligner_left(g.aligner, k);
}

static inline void work_aligner(void) {
    uint32_t k;
    while (aligner_has_work(g.aligner)) {
        aligner_work(g.aligner);
    }
    while (aligner_next(g.aligner, &k)) {
        g.parties[k].is_ready = true;
    }
}

static inline err give_node(party *p, const message *m) {
    return m->type == MESSAGE_ALIGN_REQUEST ? node_align_request(p->node, m->body.align_request)
                                            : node_align_take(p->node, m->body.aligned);
}

/* One message, of a queue that is drawn among those that have any; false: there is none. */
static inline bool deliver_one(void) {
    uint32_t queues[2 * ALIGNING_PARTIES], count = 0;
    for (uint32_t k = 0; k < g.portions; k++) {
        if (!inproc_is_empty(&g.parties[k].in)) {
            queues[count++] = 2 * k;
        }
        if (!inproc_is_empty(&g.parties[k].out)) {
            queues[count++] = 2 * k + 1;
        }
    }
    if (count == 0) {
        return false;
    }
    uint32_t queue = queues[rng_below(&g.draws, count)];
    party *p = &g.parties[queue / 2];
    message m;
    size_t size;
    assert_int_equal(inproc_receive(queue % 2 ? &p->out : &p->in, &g.unpacked, &m, &size), ERR_OK);
    if (size > 0 && queue % 2) {
        aligner_receive(g.aligner, p->number, &m);
        work_aligner();
    } else if (size > 0) {
        assert_int_equal(give_node(p, &m), ERR_OK);
    }
    g.messages += size > 0;
    return true;
}

static inline void deliver_all(void) {
    work_aligner();
    while (deliver_one()) {
    }
}

static inline void close_aligning(void) {
    aligner_free(g.aligner);
    arena_free(&g.unpacked);
    for (uint32_t k = 0; k < ALIGNING_PARTIES; k++) {
        party *p = &g.parties[k];
        node_align_free(p->node);
        sample_ids_free(p->ids);
        free(p->names[0]);
        free(p->names[1]);
        inproc_free(&p->in);
        inproc_free(&p->out);
    }
}

#endif
