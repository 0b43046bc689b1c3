#include "decoder_server/train/joint_training.h"

#include "base/dynbuf.h"
#include "base/log_limit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct joint_training {
    run_dir *run;
    const labels *labels; /* of the folder */
    labels aligned;       /* those of them that training goes on with, in its order; once the coordinator is there */
    thread_pool *pool;
    bool over_tcp;
    coordinator_host host;
    aligner *aligner;
    coordinator *coordinator; /* NULL: not all nodes have been aligned yet */
    uint32_t portions;
    uint64_t here, led; /* bit k: portion k's node is; and the coordinator knows of it */
    uint64_t answer_timeout_ns;
    char names[PARTITION_PORTIONS_MAX][MESSAGE_NAME_MAX + 1]; /* of the nodes */
    err outcome;                                              /* without a coordinator */
    char outcome_text[256];
};

static uint64_t bit(uint32_t portion) {
    return (uint64_t)1 << portion;
}

/* Beginning. */

static alignment_rule rule_of(const experiment *e, const labels *l) {
    uint32_t least = e->dataset.min_portions ? e->dataset.min_portions : 1;
    return (alignment_rule){
        .portions = e->portion_count,
        .samples = {l->samples[DATASET_TRAIN], l->samples[DATASET_TEST]},
        .validation = e->dataset.validation,
        .min_portions = e->dataset.missing == EXPERIMENT_MISSING_TRAIN ? least : e->portion_count,
    };
}

static err make_aligner(joint_training *t) {
    const experiment *e = &t->run->experiment;
    const aligner_config config = {
        .ids = t->labels->ids,
        .rule = rule_of(e, t->labels),
        .batch_size = e->training.batch_size,
        .is_private = e->dataset.align == EXPERIMENT_ALIGN_PSI,
        .pool = t->pool,
    };
    const aligner_host host = {t->host.send, t->host.drop, t->host.context};
    return aligner_new(&t->aligner, &config, &host);
}

static err make_coordinator(joint_training *t, const labels *l, const alignment *a) {
    err e = coordinator_new(&t->coordinator, t->run, l, a, t->pool, t->over_tcp, &t->host);
    if (!e) {
        coordinator_set_answer_timeout(t->coordinator, t->answer_timeout_ns);
    }
    return e;
}

err joint_training_new(joint_training **out, run_dir *r, const labels *l, thread_pool *pool, bool over_tcp,
                       const coordinator_host *host) {
    joint_training *t = calloc(1, sizeof *t);
    if (!t) {
        return err_fail(ERR_MEMORY, "no memory for a training");
    }
    t->run = r;
    t->labels = l;
    t->pool = pool;
    t->over_tcp = over_tcp;
    t->host = *host;
    t->portions = r->experiment.portion_count;
    err e = make_aligner(t);
    e = e || l->ids ? e : make_coordinator(t, l, NULL);
    if (e) {
        joint_training_free(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

void joint_training_free(joint_training *t) {
    if (t) {
        coordinator_free(t->coordinator);
        aligner_free(t->aligner);
        free(t->aligned.values[DATASET_TRAIN]);
        free(t->aligned.values[DATASET_TEST]);
        free(t);
    }
}

/* The nodes are let go. */
static void end(joint_training *t, err outcome) {
    if (t->coordinator) {
        train_loop_end(coordinator_loop(t->coordinator), outcome);
        return;
    }
    t->outcome = outcome;
    snprintf(t->outcome_text, sizeof t->outcome_text, "%s", err_text());
    for (uint32_t k = 0; k < t->portions; k++) {
        if (t->here & bit(k)) {
            t->host.drop(t->host.context, k, FEWBIT__REASON__REASON_OVER, "the training has failed");
        }
    }
}

bool joint_training_is_over(const joint_training *t, err *outcome) {
    if (t->coordinator) {
        return train_loop_is_over(coordinator_loop(t->coordinator), outcome);
    }
    *outcome = t->outcome ? err_fail(t->outcome, "%s", t->outcome_text) : ERR_OK;
    return t->outcome != ERR_OK;
}

/* The labels in the order of the alignment. */

static uint8_t *pick_values(const labels *from, const uint32_t *numbers, uint32_t count, enum dataset_split split) {
    uint32_t before = split == DATASET_TEST ? from->samples[DATASET_TRAIN] : 0;
    uint8_t *values = malloc(count + 1);
    for (uint32_t i = 0; i < count && values; i++) {
        values[i] = from->values[split][numbers[i] - before];
    }
    return values;
}

/* Test samples that lack a portion stand behind those that `aligned` counts. */
static err align_labels(joint_training *t, const alignment *a) {
    labels *l = &t->aligned;
    uint32_t train = a->samples[DATASET_TRAIN];
    *l = *t->labels;
    l->values[DATASET_TRAIN] = pick_values(t->labels, a->numbers, train, DATASET_TRAIN);
    l->values[DATASET_TEST] = pick_values(t->labels, a->numbers + train, a->samples[DATASET_TEST], DATASET_TEST);
    l->samples[DATASET_TRAIN] = train;
    l->samples[DATASET_TEST] = a->complete_test;
    l->validation = a->validation;
    l->ids = NULL; /* the folder's */
    return l->values[DATASET_TRAIN] && l->values[DATASET_TEST]
               ? ERR_OK
               : err_fail(ERR_MEMORY, "no memory for the classes of %u samples", train + a->samples[DATASET_TEST]);
}

static void tell(const joint_training *t, const run_identity_alignment *counts) {
    char text[1000];
    dynbuf line = dynbuf_over(text, sizeof text);
    const experiment *e = &t->run->experiment;
    dynbuf_printf(&line, "common by their ids: %u samples to train on, %u held back, %u to test", counts->complete,
                  counts->validation, counts->test);
    if (counts->train > counts->complete || counts->incomplete_test > 0) {
        dynbuf_printf(&line, "; with missing portions %u more to train on, %u to test",
                      counts->train - counts->complete, counts->incomplete_test);
    }
    dynbuf_printf(&line, "; of %u + %u labels", t->labels->samples[DATASET_TRAIN], t->labels->samples[DATASET_TEST]);
    for (uint32_t k = 0; k < t->portions; k++) {
        dynbuf_printf(&line, ", %s %u + %u", e->portions[k].name, counts->samples[k][DATASET_TRAIN],
                      counts->samples[k][DATASET_TEST]);
    }
    log_event(LOG_INFO, "aligned", "%s", text);
}

static err begin(joint_training *t) {
    const alignment *a = aligner_result(t->aligner);
    run_identity_alignment counts = {
        .is_known = true,
        .train = a->samples[DATASET_TRAIN] - a->validation,
        .complete = a->complete,
        .validation = a->validation,
        .test = a->complete_test,
        .incomplete_test = a->samples[DATASET_TEST] - a->complete_test,
    };
    aligner_samples(t->aligner, counts.samples);
    err e = align_labels(t, a);
    e = e ? e : make_coordinator(t, &t->aligned, a);
    e = e ? e : run_dir_align(t->run, &counts);
    if (!e) {
        tell(t, &counts);
    }
    return e;
}

/* Nodes. */

/* Those that are aligned go on to the coordinator. */
static void pass_on(joint_training *t) {
    uint32_t k;
    while (t->coordinator && aligner_next(t->aligner, &k)) {
        t->led |= bit(k);
        coordinator_joined(t->coordinator, k, t->names[k]);
    }
}

/* After each call of the aligner. */
static void settle(joint_training *t) {
    err e = aligner_outcome(t->aligner), outcome;
    if (e && !joint_training_is_over(t, &outcome)) {
        aligner_outcome(t->aligner); /* its line again */
        end(t, e);
    }
    pass_on(t);
}

static void report_waiting(joint_training *t) {
    train_loop_progress p = {.phase = "waiting for nodes", .epochs = t->run->experiment.training.epochs, .epoch = 1};
    t->host.progress(t->host.context, &p);
}

void joint_training_joined(joint_training *t, uint32_t k, const char *name, const aligner_node *node) {
    err outcome;
    snprintf(t->names[k], sizeof t->names[k], "%s", name);
    t->here |= bit(k);
    if (joint_training_is_over(t, &outcome)) {
        t->host.drop(t->host.context, k, FEWBIT__REASON__REASON_OVER, "the training is over");
        return;
    }
    log_limited(LOG_INFO, "node_joined", k + 1, "portion %s joined: %s", node->portion, name);
    if (!t->coordinator) {
        report_waiting(t);
    }
    aligner_joined(t->aligner, k, node);
    settle(t);
}

void joint_training_left(joint_training *t, uint32_t k) {
    t->here &= ~bit(k);
    aligner_left(t->aligner, k);
    if (t->led & bit(k)) {
        t->led &= ~bit(k);
        coordinator_left(t->coordinator, k);
    } else if (!t->outcome) {
        log_limited(LOG_WARN, "node_lost", k + 1, "portion %s (%s) is lost before its samples were aligned",
                    t->run->experiment.portions[k].name, t->names[k]);
    }
}

void joint_training_receive(joint_training *t, uint32_t k, const message *m) {
    if (t->led & bit(k)) {
        coordinator_receive(t->coordinator, k, m);
    } else if (!t->outcome) {
        aligner_receive(t->aligner, k, m);
        settle(t);
    }
}

/* Work. */

/* Everything is aligned, and the coordinator is to be made. */
static bool may_begin(const joint_training *t) {
    return !t->coordinator && !t->outcome && aligner_result(t->aligner);
}

bool joint_training_has_work(const joint_training *t) {
    return may_begin(t) || aligner_has_work(t->aligner) ||
           (t->coordinator && train_loop_has_work(coordinator_loop(t->coordinator)));
}

bool joint_training_work_is_long(const joint_training *t) {
    return may_begin(t) || aligner_has_work(t->aligner) || train_loop_work_is_long(coordinator_loop(t->coordinator));
}

void joint_training_work(joint_training *t) {
    if (may_begin(t)) {
        err e = begin(t);
        if (e) {
            end(t, e);
        }
    } else if (aligner_has_work(t->aligner)) {
        aligner_work(t->aligner);
    } else {
        train_loop_work(coordinator_loop(t->coordinator));
        return;
    }
    settle(t);
}

train_loop *joint_training_update(joint_training *t) {
    bool is_update = t->coordinator && !aligner_has_work(t->aligner) &&
                     train_loop_update_tasks(coordinator_loop(t->coordinator)) > 0;
    return is_update ? coordinator_loop(t->coordinator) : NULL;
}

/* Time, and what others want to know. */

void joint_training_set_answer_timeout(joint_training *t, uint64_t ns) {
    t->answer_timeout_ns = ns;
    aligner_set_answer_timeout(t->aligner, ns);
    if (t->coordinator) {
        coordinator_set_answer_timeout(t->coordinator, ns);
    }
}

int64_t joint_training_poll(joint_training *t, uint64_t now_ns) {
    int64_t rest = aligner_poll(t->aligner, now_ns);
    int64_t other = t->coordinator ? coordinator_poll(t->coordinator, now_ns) : -1;
    return rest < 0 || (other >= 0 && other < rest) ? other : rest;
}

void joint_training_stats(const joint_training *t, uint32_t portion, stats_node *n) {
    if (t->coordinator) {
        coordinator_stats(t->coordinator, portion, n);
    }
    if (!(t->led & bit(portion))) {
        aligner_stats(t->aligner, portion, n);
    }
}
