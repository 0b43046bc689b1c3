#include "decoder_server/train/coordinator.h"

#include "base/log_limit.h"
#include "decoder_server/train/round_barrier.h"
#include "decoder_server/train/schedule.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct coordinator {
    run_dir *run;
    coordinator_host host;
    train_loop *loop;
    traffic_report *traffic; /* the loop's */
    round_barrier barrier;
    uint32_t portions;
    uint64_t answer_timeout_ns; /* 0: for ever */
    /* bit k: portion k's node */
    uint64_t no_numbers;                   /* sent them, in the batch under way */
    uint64_t had_no_numbers, failed_proof; /* since the last commit */
};

/* What the training loop wants of the nodes. */

static void ask(void *context, message_type type, const ProtobufCMessage *body, message_type answer) {
    coordinator *c = context;
    c->no_numbers = 0;
    if (answer) {
        round_barrier_await(&c->barrier, answer);
    }
    if (type == MESSAGE_COMMITTED && train_loop_state_of(c->loop) == TRAIN_LOOP_SAVING) {
        c->had_no_numbers = c->failed_proof = 0;
    }
    for (uint32_t k = 0; k < c->portions; k++) {
        c->host.send(c->host.context, k, type, body);
    }
}

static void restore(void *context, uint64_t step, const uint8_t (*digests)[SHA256_BYTES]) {
    coordinator *c = context;
    Fewbit__Restore restore = FEWBIT__RESTORE__INIT;
    restore.step = step;
    restore.fresh = !digests;
    c->no_numbers = 0;
    round_barrier_await(&c->barrier, MESSAGE_READY);
    for (uint32_t k = 0; k < c->portions; k++) {
        if (digests) {
            restore.digest = (ProtobufCBinaryData){SHA256_BYTES, (uint8_t *)(uintptr_t)digests[k]};
        }
        c->barrier.restores[k]++;
        c->host.send(c->host.context, k, MESSAGE_RESTORE, &restore.base);
    }
}

static void send_gradient(void *context, uint32_t portion, uint64_t step, const float *gradient, uint32_t rows) {
    coordinator *c = context;
    Fewbit__Gradients g = FEWBIT__GRADIENTS__INIT;
    g.step = step;
    g.count = rows;
    g.values = (ProtobufCBinaryData){(size_t)rows * c->run->experiment.portions[portion].encoder.bits * sizeof(float),
                                     (uint8_t *)(uintptr_t)gradient};
    c->host.send(c->host.context, portion, MESSAGE_GRADIENTS, &g.base);
}

static void show(void *context, const train_loop_progress *p) {
    const coordinator_host *host = &((coordinator *)context)->host;
    host->progress(host->context, p);
}

/* The nodes are let go. */
static void over(void *context) {
    coordinator *c = context;
    err outcome;
    train_loop_is_over(c->loop, &outcome);
    round_barrier_forget(&c->barrier);
    for (uint32_t k = 0; k < c->portions; k++) {
        if (round_barrier_is_here(&c->barrier, k)) {
            c->host.drop(c->host.context, k, FEWBIT__REASON__REASON_OVER,
                         outcome ? "the training has failed" : "the training is over");
        }
    }
}

err coordinator_new(coordinator **out, run_dir *r, const labels *l, const alignment *a, thread_pool *pool,
                    bool over_tcp, const coordinator_host *host) {
    coordinator *c = calloc(1, sizeof *c);
    if (!c) {
        return err_fail(ERR_MEMORY, "no memory for a coordinator");
    }
    train_loop_host asks = {ask, restore, send_gradient, show, over, c};
    c->run = r;
    c->host = *host;
    c->portions = c->barrier.portions = run_dir_encoders(r);
    err e = train_loop_new(&c->loop, r, l, a, pool, over_tcp, &asks);
    if (e) {
        coordinator_free(c);
        return e;
    }
    c->traffic = train_loop_traffic(c->loop);
    *out = c;
    return ERR_OK;
}

void coordinator_free(coordinator *c) {
    if (c) {
        train_loop_free(c->loop);
        free(c);
    }
}

static const char *name_of(const coordinator *c, uint32_t portion) {
    return c->run->experiment.portions[portion].name;
}

static void drop_for_protocol(coordinator *c, uint32_t k, const char *text) {
    log_limited(LOG_WARN, "node_dropped", k + 1, "portion %s (%s): %s", name_of(c, k), c->traffic->names[k], text);
    c->host.drop(c->host.context, k, FEWBIT__REASON__REASON_PROTOCOL, text);
}

train_loop *coordinator_loop(const coordinator *c) {
    return c->loop;
}

/* Nodes that come and go. */

static bool is_over(const coordinator *c) {
    return train_loop_state_of(c->loop) == TRAIN_LOOP_OVER;
}

void coordinator_joined(coordinator *c, uint32_t portion, const char *name) {
    snprintf(c->traffic->names[portion], sizeof c->traffic->names[portion], "%s", name);
    round_barrier_join(&c->barrier, portion);
    if (is_over(c)) {
        c->host.drop(c->host.context, portion, FEWBIT__REASON__REASON_OVER, "the training is over");
        return;
    }
    if (round_barrier_all_here(&c->barrier)) {
        round_barrier_forget(&c->barrier);
        train_loop_go_back(c->loop);
    } else {
        train_loop_report(c->loop, "waiting for nodes", NULL);
    }
}

void coordinator_left(coordinator *c, uint32_t portion) {
    uint64_t step = train_loop_position(c->loop)->step;
    round_barrier_leave(&c->barrier, portion);
    if (is_over(c)) {
        return;
    }
    log_limited(LOG_WARN, "node_lost", portion + 1,
                "portion %s (%s) is lost at step %" PRIu64 "; going back to step %" PRIu64 " once it is here again",
                name_of(c, portion), c->traffic->names[portion], step,
                c->run->manifest.has_commit ? c->run->manifest.last.position.step : 0);
    if (log_limit_allows(portion + 1, "lost")) {
        run_dir_log(c->run, "lost", json_pack("{s:i, s:I}", "portion", (int)portion, "step", (json_int_t)step));
    }
    train_loop_wait(c->loop);
    round_barrier_forget(&c->barrier);
    train_loop_report(c->loop, "waiting for nodes", NULL);
}

/* Answers. */

/* What has passed the links up to the last answer of a part of the evaluation, before anything else does. */
static void count_traffic(coordinator *c) {
    uint32_t samples;
    for (uint32_t k = 0; k < c->portions && train_loop_counts_traffic(c->loop, &samples); k++) {
        traffic_counters now;
        c->host.traffic(c->host.context, k, &now);
        traffic_report_count(c->traffic, k, &now, samples);
    }
}

/* All have answered, some with what is no number. The first time their nodes go, and everybody goes back: they may
 * have been broken. An encoder that diverged says the same again before the next commit. */
static void take_no_numbers(coordinator *c) {
    uint64_t gone = c->no_numbers, again = c->traffic->over_tcp ? gone & c->had_no_numbers : gone;
    if (again) {
        uint32_t k = (uint32_t)__builtin_ctzll(again);
        const manifest_position *at = train_loop_position(c->loop);
        train_loop_end(c->loop, err_fail(ERR_INPUT,
                                         "portion %s's outputs are no numbers at step %" PRIu64
                                         ": %s, or its node (%s) is broken",
                                         name_of(c, k), at->step, schedule_advice(at), c->traffic->names[k]));
        return;
    }
    c->had_no_numbers |= gone;
    for (; gone; gone &= gone - 1) {
        drop_for_protocol(c, (uint32_t)__builtin_ctzll(gone), "sent activations that are no numbers");
    }
}

/* What a node says it has saved is not what it trained. The first time it goes, and everybody goes back. */
static void fail_proof(coordinator *c, uint32_t k) {
    if (c->traffic->over_tcp && !(c->failed_proof >> k & 1)) {
        c->failed_proof |= (uint64_t)1 << k;
        drop_for_protocol(c, k, "restored another encoder than it has saved");
        return;
    }
    train_loop_end(c->loop,
                   err_fail(ERR_REFUSED,
                            "portion %s's node (%s) has restored another encoder than it has saved at step %" PRIu64
                            ", again: no checkpoint of it can be served; --resume goes on with another node",
                            name_of(c, k), c->traffic->names[k], train_loop_position(c->loop)->step));
}

static void on_answered(coordinator *c, uint32_t k) {
    if (!round_barrier_answered(&c->barrier, k)) {
        return;
    }
    if (c->no_numbers) {
        take_no_numbers(c);
        return;
    }
    count_traffic(c);
    train_loop_answered(c->loop);
}

static void on_ready(coordinator *c, uint32_t k, const Fewbit__Ready *r) {
    unsigned *restores = &c->barrier.restores[k];
    if (*restores == 0 || (*restores == 1 && r->step != train_loop_position(c->loop)->step)) {
        drop_for_protocol(c, k, "says it is ready for a step nobody asked for");
        return;
    }
    if (--*restores == 0 && round_barrier_awaits(&c->barrier, k, MESSAGE_READY)) {
        on_answered(c, k);
    }
}

static void on_answer(coordinator *c, uint32_t k, const message *m) {
    static const char *const wrong[MESSAGE_TYPES] = {
        [MESSAGE_ACTIVATIONS] = "sent activations that were not asked for or do not fit",
        [MESSAGE_CODES] = "sent codes that were not asked for or do not fit",
        [MESSAGE_REFINEMENT] = "sent a stage of bits that was not asked for or does not fit",
        [MESSAGE_SAVED] = "answered a checkpoint nobody asked for",
    };
    bool is_awaited = round_barrier_awaits(&c->barrier, k, m->type);
    switch (is_awaited ? train_loop_take(c->loop, k, m) : TRAIN_LOOP_DOES_NOT_FIT) {
    case TRAIN_LOOP_NO_NUMBER:
        c->no_numbers |= (uint64_t)1 << k;
        on_answered(c, k);
        break;
    case TRAIN_LOOP_FITS:
        on_answered(c, k);
        break;
    case TRAIN_LOOP_DIFFERS:
        fail_proof(c, k);
        break;
    default:
        drop_for_protocol(c, k, wrong[m->type] ? wrong[m->type] : "sent a message that only the server sends");
    }
}

void coordinator_receive(coordinator *c, uint32_t portion, const message *m) {
    if (is_over(c)) {
        return;
    }
    if (m->type == MESSAGE_READY) {
        on_ready(c, portion, m->body.ready);
    } else if (train_loop_state_of(c->loop) != TRAIN_LOOP_WAITING && c->barrier.restores[portion] == 0) {
        on_answer(c, portion, m);
    } /* else it is from before the restore */
}

/* Time, and what others want to know. */

void coordinator_set_answer_timeout(coordinator *c, uint64_t ns) {
    c->answer_timeout_ns = ns;
}

int64_t coordinator_poll(coordinator *c, uint64_t now_ns) {
    char text[PENDING_REPLIES_TEXT_MAX];
    pending_replies_read_clock(&c->barrier.pending, now_ns);
    for (uint32_t k = 0; c->answer_timeout_ns > 0 && k < c->portions; k++) {
        if (pending_replies_take_overdue(&c->barrier.pending, k, c->answer_timeout_ns, text)) {
            drop_for_protocol(c, k, text);
        }
    }
    return pending_replies_rests(&c->barrier.pending, c->portions) ? -1 : PENDING_REPLIES_TURN_NS / 1000;
}

void coordinator_stats(const coordinator *c, uint32_t portion, stats_node *n) {
    const traffic_report *t = c->traffic;
    pending_replies_stats(&c->barrier.pending, portion, n);
    n->payload_bits[TRAFFIC_IN] = t->coded[portion] + t->activations[portion];
    n->payload_bits[TRAFFIC_OUT] = t->gradients[portion];
}
