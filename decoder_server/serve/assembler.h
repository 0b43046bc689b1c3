/* The assembler: puts the portions of a sample together by its id.
 *
 * Pure: codes and time in, samples out. A bounded table; a sample leaves it once every portion it expects is in, or at
 * its deadline with what is there. Streamed samples lie in a window of ids [low, low + capacity), and `low` goes over
 * those that are retired alone: so an id is answered once, however late its portions come. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_ASSEMBLER_H
#define FEWBIT_DECODER_SERVER_SERVE_ASSEMBLER_H

#include "base/err.h"
#include "bits/codeword.h"

typedef struct assembler assembler;

typedef struct assembler_config {
    uint32_t capacity; /* samples waiting or remembered: those of ids that differ modulo it. A power of two */
    uint32_t portions; /* at most 64 */
    uint64_t deadline_ns;
    bool is_streamed; /* a portion of a new id opens a sample that expects all portions; ids have a window */
} assembler_config;

typedef struct assembler_sample {
    uint64_t id;
    uint64_t have;   /* bit k: portion k is in, at least with its first stage of bits */
    uint64_t got;    /* those that are in with stage `stage` too; the others of `have` with the one before */
    uint64_t to_ack; /* those whose node, as connected now, has yet to get an ack */
    uint8_t stage;   /* the last that was waited for, from 0 */
    uint64_t opened_ns;
    uint8_t model;
    const uint64_t *codes; /* by portion; bits that are missing are 0. The assembler's until its next call */
} assembler_sample;

/* How many of a portion's bits are here. */
static inline uint32_t assembler_sample_bits(const assembler_sample *s, const codeword *layout, uint32_t portion) {
    if (!(s->have >> portion & 1)) {
        return 0;
    }
    const refinement *r = &layout->portion[portion];
    return s->stage == 0 || s->got >> portion & 1 ? r->upto[s->stage] : r->upto[s->stage - 1];
}

/* How many stages of bits it took, from 1: one that nobody sent is none. */
static inline uint32_t assembler_sample_stages(const assembler_sample *s) {
    return s->stage > 0 && s->got == 0 ? s->stage : s->stage + 1u;
}

typedef struct assembler_counters {
    uint64_t complete, expired, given_up, late, duplicate, refused;
    uint64_t unknown; /* portions of an id that nobody opened, or that is forgotten, or new once it is closed */
    uint64_t mixed;   /* portions of another model than their sample's */
    /* Samples that a further stage was waited for, once a stage; and those of which it did not come from all. */
    uint64_t asked, incomplete;
    uint32_t waiting;
} assembler_counters;

typedef enum assembler_outcome {
    ASSEMBLER_WAITS,    /* stored; others are missing */
    ASSEMBLER_COMPLETE, /* *out is the sample */
    ASSEMBLER_IGNORED,  /* late, duplicate, unknown or of another model; counted */
    ASSEMBLER_FULL,     /* no room: the window ends before it; counted as refused */
} assembler_outcome;

err assembler_new(assembler **a, const assembler_config *config);
void assembler_free(assembler *a);

/* Samples opened and portions added from here on are of this model, one of two; 0 until it is said. A portion of
 * another model than its sample's does not count. */
enum { ASSEMBLER_MODELS = 2 };
void assembler_set_model(assembler *a, uint8_t model);

/* Whether the codes added from here on are to be acked; at first they are. */
void assembler_set_wants_ack(assembler *a, bool wants_ack);

/* The node of a portion is gone: it gets no ack any more. Walks through all places. */
void assembler_drop_acks(assembler *a, uint32_t portion);

/* From here on a portion of an unknown id opens no sample. */
void assembler_close(assembler *a);

/* Announces sample `id`, not a streamed one, that expects the portions of mask `expected` (not 0). False when another
 * waits in its place, or the id is in the table. */
bool assembler_open(assembler *a, uint64_t id, uint64_t expected, uint64_t now_ns);

assembler_outcome assembler_add(assembler *a, uint64_t id, uint32_t portion, uint64_t code, uint64_t now_ns,
                                assembler_sample *out);

/* The portion will not come: sample `id`, not a streamed one, waits for it no more. */
assembler_outcome assembler_skip(assembler *a, uint64_t id, uint32_t portion, assembler_sample *out);

/* The node of a portion is gone: no sample waits for it any more. The next sample that has all it still waits for, into
 * *out; false when there is none. Call it until then, with nothing in between. `have` is 0 where nothing came at all.
 */
bool assembler_give_up(assembler *a, uint32_t portion, assembler_sample *out);

/* So many portions came of samples that are answered, and are not looked at. */
void assembler_count_late(assembler *a, uint64_t portions);

/* A streamed sample that has come out is answered for good. */
void assembler_retire(assembler *a, uint64_t id);

/* Of streamed samples those below `id` that are not open will not be: the window may go over them. */
void assembler_pass(assembler *a, uint64_t id);

/* A sample that has just come out waits for one more stage of bits, of the portions of mask `expected` (not 0), until
 * its deadline. False where its place was needed already, or it has had REFINEMENT_STAGES_MAX: it is to be answered as
 * it is. */
bool assembler_extend(assembler *a, uint64_t id, uint64_t expected);

/* One more stage of a portion: `bits` stand where they belong in its code. For a sample that does not wait for that:
 * ASSEMBLER_IGNORED, counted as late. */
assembler_outcome assembler_add_stage(assembler *a, uint64_t id, uint32_t portion, uint8_t stage, uint64_t bits,
                                      assembler_sample *out);

/* The portion will not send that stage of that sample: it is waited for no more. */
assembler_outcome assembler_skip_stage(assembler *a, uint64_t id, uint32_t portion, uint8_t stage,
                                       assembler_sample *out);

/* As assembler_give_up, of samples that wait for a further stage alone. */
bool assembler_give_up_stages(assembler *a, uint32_t portion, assembler_sample *out);

/* The next sample whose deadline has passed, into *out; false when there is none. */
bool assembler_expire(assembler *a, uint64_t now_ns, assembler_sample *out);

/* When the next deadline passes, or UINT64_MAX. */
uint64_t assembler_next_deadline(const assembler *a);

/* How many samples of a model wait. */
uint32_t assembler_waiting(const assembler *a, uint8_t model);

const assembler_counters *assembler_count(const assembler *a);

#endif
