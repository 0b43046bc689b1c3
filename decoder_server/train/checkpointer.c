#include "decoder_server/train/checkpointer.h"

#include "decoder_server/train/schedule.h"
#include "experiment/derive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROOF_ROWS = 16 }; /* training samples whose outputs are compared, at most */

struct checkpointer {
    run_dir *run;
    head_trainer *trainer;
    codeword layout;
    uint32_t rows; /* of the proof */
    checkpointer_phase phase;
    manifest_commit next;
    bool is_best;
    float *outputs;                 /* of each portion [PROOF_ROWS, bits]: before */
    char error[SCHEDULE_ERROR_MAX]; /* empty: none */
};

err checkpointer_new(checkpointer **out, run_dir *r, head_trainer *trainer, uint32_t train_samples) {
    checkpointer *c = calloc(1, sizeof *c);
    if (c) {
        c->run = r;
        c->trainer = trainer;
        c->layout = experiment_codeword(&r->experiment);
        c->rows = train_samples < PROOF_ROWS ? train_samples : PROOF_ROWS;
        c->outputs = calloc(PROOF_ROWS * codeword_bits(&c->layout) + 1, sizeof *c->outputs);
    }
    if (!c || !c->outputs) {
        checkpointer_free(c);
        return err_fail(ERR_MEMORY, "no memory for checkpoints");
    }
    *out = c;
    return ERR_OK;
}

void checkpointer_free(checkpointer *c) {
    if (c) {
        free(c->outputs);
        free(c);
    }
}

void checkpointer_start(checkpointer *c, const manifest_position *position, bool is_best) {
    c->next = (manifest_commit){.position = *position};
    c->is_best = is_best;
    c->error[0] = '\0';
    c->phase = CHECKPOINTER_OUTPUTS_BEFORE;
}

checkpointer_phase checkpointer_next(checkpointer *c) {
    bool has_failed = c->phase == CHECKPOINTER_SAVING && c->error[0];
    c->phase = has_failed ? CHECKPOINTER_COMMITTING : c->phase + 1;
    return c->phase;
}

Fewbit__Batch checkpointer_batch(const checkpointer *c) {
    Fewbit__Batch batch = FEWBIT__BATCH__INIT;
    batch.step = c->next.position.step;
    batch.phase = FEWBIT__PHASE__PHASE_SOFT;
    batch.split = FEWBIT__SPLIT__SPLIT_TRAIN;
    batch.count = c->rows;
    return batch;
}

const uint8_t (*checkpointer_digests(const checkpointer *c))[SHA256_BYTES] {
    return c->next.encoders;
}

bool checkpointer_take_outputs(checkpointer *c, uint32_t portion, const uint8_t *outputs) {
    size_t bytes = (size_t)c->rows * codeword_portion_bits(&c->layout, portion) * sizeof(float);
    float *before = c->outputs + (size_t)PROOF_ROWS * c->layout.offset[portion];
    if (c->phase == CHECKPOINTER_OUTPUTS_BEFORE) {
        memcpy(before, outputs, bytes);
    }
    return memcmp(before, outputs, bytes) == 0;
}

bool checkpointer_take_saved(checkpointer *c, uint32_t portion, const Fewbit__Saved *s) {
    if (s->step != c->next.position.step || (!s->error[0] && s->digest.len != SHA256_BYTES)) {
        return false;
    }
    if (s->error[0]) {
        snprintf(c->error, sizeof c->error, "portion %s: %s", c->run->experiment.portions[portion].name, s->error);
    } else {
        memcpy(c->next.encoders[portion], s->digest.data, SHA256_BYTES);
    }
    return true;
}

void checkpointer_write_head(checkpointer *c) {
    if (run_dir_save_head(c->run, c->next.position.step, head_trainer_net(c->trainer),
                          head_trainer_optimiser(c->trainer), c->next.head)) {
        snprintf(c->error, sizeof c->error, "%s", err_text());
    }
}

void checkpointer_commit(checkpointer *c) {
    schedule_commit(c->run, &c->next, c->is_best, c->error);
}

err checkpointer_check(const checkpointer *c) {
    return c->error[0]
               ? err_fail(ERR_IO, "the last checkpoint could not be written (%s); --resume goes on from the one before",
                          c->error)
               : ERR_OK;
}
