#include "decoder_server/train/coordinator_inside.h"

#include <stdio.h>
#include <string.h>

void saving_start(coordinator *c) {
    Fewbit__Save save = FEWBIT__SAVE__INIT;
    save.step = c->at.step;
    course_count_time(&c->at, &c->period_started_ns);
    c->next = (run_commit){.position = c->at};
    c->save_error[0] = '\0';
    c->state = SAVING;
    coordinator_await_answers(c, MESSAGE_SAVED);
    coordinator_tell_all(c, MESSAGE_SAVE, &save.base);
    if (run_save_head(c->run, c->at.step, step_head(c->step), step_optimiser(c->step), c->next.head)) {
        snprintf(c->save_error, sizeof c->save_error, "%s", err_text());
    }
}

/* Every part that no commit names goes, here and at the nodes: those of a checkpoint that failed too, else they
 * would fill the disks that have room. */
static void prune(coordinator *c) {
    uint64_t keep[2] = {c->run->last.position.step, c->run->best.position.step};
    Fewbit__Committed committed = FEWBIT__COMMITTED__INIT;
    committed.n_keep = !c->run->has_commit ? 0 : c->run->has_best && keep[1] != keep[0] ? 2 : 1;
    committed.keep = keep;
    coordinator_tell_all(c, MESSAGE_COMMITTED, &committed.base);
    run_prune_heads(c->run);
}

static void commit(coordinator *c) {
    course_commit(c->run, &c->next, c->next_is_best, c->save_error);
    prune(c);
    c->next_is_best = false;
    memset(c->has_sent_no_numbers, 0, sizeof c->has_sent_no_numbers);
    coordinator_go_on(c);
}

void saving_take_saved(coordinator *c, uint32_t k, const Fewbit__Saved *s) {
    bool failed = s->error[0] != '\0';
    if (c->state != SAVING || s->step != c->at.step || c->members[k].has_answered ||
        (!failed && s->digest.len != DIGEST_BYTES)) {
        coordinator_drop_for_protocol(c, k, "answered a checkpoint nobody asked for");
        return;
    }
    if (failed) {
        snprintf(c->save_error, sizeof c->save_error, "portion %u: %s", k, s->error);
    } else {
        memcpy(c->next.encoders[k], s->digest.data, DIGEST_BYTES);
    }
    if (coordinator_is_last_answer(c, k)) {
        commit(c);
    }
}

static err write_result(coordinator *c) {
    json_t *j = course_result(c->run, &c->at);
    json_object_set_new(j, "bits_per_sample", ledger_bits_per_sample(&c->ledger, c->portions * c->bits));
    json_object_set_new(j, "raw_bits_per_sample",
                        json_integer((json_int_t)(8 * split_sample_elements(&c->labels->split))));
    json_object_set_new(j, "nodes", ledger_nodes(&c->ledger));
    err e = run_write_result(c->run, j);
    json_decref(j);
    return e;
}

void saving_finish(coordinator *c) {
    err e = course_check_saved(c->save_error);
    if (!e && (c->steps > 0 || !run_has_result(c->run))) {
        e = write_result(c);
        run_log(c->run, "finished", NULL);
    }
    coordinator_end(c, e, e ? err_text() : "");
}
