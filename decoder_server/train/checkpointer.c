#include "decoder_server/train/coordinator_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint32_t proof_rows(const coordinator *c) {
    return c->train_samples < PROOF_ROWS ? c->train_samples : PROOF_ROWS;
}

/* What do the encoders put out for the first training samples? */
static void ask_outputs(coordinator *c, checkpointer_phase when) {
    Fewbit__Batch batch = FEWBIT__BATCH__INIT;
    batch.step = c->position.step;
    batch.phase = FEWBIT__PHASE__PHASE_SOFT;
    batch.split = FEWBIT__SPLIT__SPLIT_TRAIN;
    batch.count = proof_rows(c);
    c->saving = when;
    coordinator_await_answers(c, MESSAGE_ACTIVATIONS);
    coordinator_send_to_all(c, MESSAGE_BATCH, &batch.base);
}

void checkpointer_start(coordinator *c) {
    schedule_count_time(&c->position, &c->period_started_ns);
    c->next = (manifest_commit){.position = c->position};
    c->save_error[0] = '\0';
    c->state = SAVING;
    ask_outputs(c, OUTPUTS_BEFORE);
    if (run_dir_save_head(c->run, c->position.step, head_trainer_net(c->trainer), head_trainer_optimiser(c->trainer),
                          c->next.head)) {
        snprintf(c->save_error, sizeof c->save_error, "%s", err_text());
    }
}

static void write_parts(coordinator *c) {
    Fewbit__Save save = FEWBIT__SAVE__INIT;
    save.step = c->position.step;
    c->saving = WRITING;
    coordinator_await_answers(c, MESSAGE_SAVED);
    coordinator_send_to_all(c, MESSAGE_SAVE, &save.base);
}

static void restore_parts(coordinator *c) {
    c->saving = RESTORING;
    coordinator_await_answers(c, MESSAGE_READY);
    for (uint32_t k = 0; k < c->portions; k++) {
        coordinator_restore(c, k, c->position.step, c->next.encoders[k]);
    }
}

/* Every part that no commit names goes, here and at the nodes: those of a checkpoint that failed too, else they
 * would fill the disks that have room. */
void checkpointer_prune(coordinator *c) {
    uint64_t keep[2] = {c->run->last.position.step, c->run->best.position.step};
    Fewbit__Committed committed = FEWBIT__COMMITTED__INIT;
    committed.n_keep = !c->run->has_commit ? 0 : c->run->has_best && keep[1] != keep[0] ? 2 : 1;
    committed.keep = keep;
    coordinator_send_to_all(c, MESSAGE_COMMITTED, &committed.base);
    run_dir_prune_heads(c->run);
}

static void commit(coordinator *c) {
    schedule_commit(c->run, &c->next, c->next_is_best, c->save_error);
    checkpointer_prune(c);
    c->next_is_best = false;
    memset(c->has_sent_no_numbers, 0, sizeof c->has_sent_no_numbers);
    memset(c->has_failed_proof, 0, sizeof c->has_failed_proof);
    coordinator_go_on(c);
}

/* What a node says it has saved is not what it trained. The first time it goes, and everybody goes back. */
static void fail_proof(coordinator *c, uint32_t k) {
    if (c->traffic.over_tcp && !c->has_failed_proof[k]) {
        c->has_failed_proof[k] = true;
        coordinator_drop_for_protocol(c, k, "restored another encoder than it has saved");
        return;
    }
    err_fail(ERR_REFUSED,
             "portion %u's node (%s) has restored another encoder than it has saved at step %" PRIu64
             ", again: no checkpoint of it can be served; --resume goes on with another node",
             k, c->traffic.names[k], c->position.step);
    coordinator_end(c, ERR_REFUSED, err_text());
}

void checkpointer_take_outputs(coordinator *c, uint32_t k, const Fewbit__Activations *a) {
    size_t numbers = (size_t)proof_rows(c) * c->bits, bytes = numbers * sizeof(float);
    bool is_asked = (c->saving == OUTPUTS_BEFORE || c->saving == OUTPUTS_AFTER) && !c->members[k].has_answered;
    if (!is_asked || a->phase != FEWBIT__PHASE__PHASE_SOFT || a->step != c->position.step ||
        a->count != proof_rows(c) || a->bits.len > 0 || a->soft.len != bytes) {
        coordinator_drop_for_protocol(c, k, "sent activations that were not asked for or do not fit");
        return;
    }
    float *before = c->proof + (size_t)k * PROOF_ROWS * c->bits;
    if (c->saving == OUTPUTS_BEFORE) {
        memcpy(before, a->soft.data, bytes);
    } else if (memcmp(before, a->soft.data, bytes) != 0) {
        fail_proof(c, k);
        return;
    }
    if (!coordinator_is_last_answer(c, k)) {
        return;
    }
    if (c->saving == OUTPUTS_BEFORE) {
        write_parts(c);
    } else {
        commit(c);
    }
}

void checkpointer_take_ready(coordinator *c, uint32_t k) {
    if (c->saving == RESTORING && coordinator_is_last_answer(c, k)) {
        ask_outputs(c, OUTPUTS_AFTER);
    }
}

void checkpointer_take_saved(coordinator *c, uint32_t k, const Fewbit__Saved *s) {
    bool failed = s->error[0] != '\0';
    if (c->state != SAVING || c->saving != WRITING || s->step != c->position.step || c->members[k].has_answered ||
        (!failed && s->digest.len != SHA256_BYTES)) {
        coordinator_drop_for_protocol(c, k, "answered a checkpoint nobody asked for");
        return;
    }
    if (failed) {
        snprintf(c->save_error, sizeof c->save_error, "portion %u: %s", k, s->error);
    } else {
        memcpy(c->next.encoders[k], s->digest.data, SHA256_BYTES);
    }
    if (!coordinator_is_last_answer(c, k)) {
        return;
    }
    if (c->save_error[0]) {
        commit(c); /* says why it is none */
    } else {
        restore_parts(c);
    }
}

static err write_result(coordinator *c) {
    json_t *j = schedule_result(c->run, &c->position);
    json_object_set_new(j, "bits_per_sample", traffic_report_bits_per_sample(&c->traffic, c->portions * c->bits));
    json_object_set_new(j, "raw_bits_per_sample",
                        json_integer((json_int_t)(8 * partition_sample_elements(&c->labels->partition))));
    json_object_set_new(j, "nodes", traffic_report_nodes(&c->traffic));
    err e = run_dir_write_result(c->run, j);
    json_decref(j);
    return e;
}

void checkpointer_finish(coordinator *c) {
    err e = schedule_check_saved(c->save_error);
    if (!e && (c->steps > 0 || !run_dir_has_result(c->run))) {
        e = write_result(c);
        run_dir_log(c->run, "finished", NULL);
    }
    coordinator_end(c, e, e ? err_text() : "");
}
