/* How the engine changes from one model to another, as engine_swap_model says. */
#include "base/log.h"
#include "decoder_server/serve/responders.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint8_t other_of(const engine *d) {
    return !d->now;
}

static void ask(engine *d, uint32_t portion) {
    const served_model *m = d->models[other_of(d)];
    Fewbit__Prepare prepare = FEWBIT__PREPARE__INIT;
    prepare.model = d->numbers[other_of(d)];
    prepare.step = m->commit->position.step;
    prepare.digest = (ProtobufCBinaryData){SHA256_BYTES, (uint8_t *)(uintptr_t)m->commit->encoders[portion]};
    prepare.run = m->run->id;
    prepare.experiment = m->text;
    prepare.stages = d->refinement.count > 1 ? 1 : 0;
    d->swap.asked[portion]++;
    d->swap.is_prepared[portion] = false;
    d->host.tell(d->host.context, portion, MESSAGE_PREPARE, &prepare.base);
    pending_replies_begin(&d->pending, portion, MESSAGE_PREPARED);
}

static void tell_switch(engine *d, uint32_t portion, uint64_t from) {
    Fewbit__Switch to = FEWBIT__SWITCH__INIT;
    to.model = d->numbers[d->now];
    to.from = from;
    d->host.tell(d->host.context, portion, MESSAGE_SWITCH, &to.base);
}

static void give_up(engine *d, err code, const char *text) {
    for (uint32_t k = 0; k < d->portions; k++) {
        if (d->is_ready[k]) {
            tell_switch(d, k, 0);
        }
    }
    served_model_free(d->models[other_of(d)]);
    d->models[other_of(d)] = NULL;
    d->swap.stage = MODEL_SWAP_NONE;
    d->host.swapped(d->host.context, code, text);
}

/* Behind everything that has been streamed: come here, or said by a node. */
static uint64_t first_of_next(const engine *d) {
    uint64_t end = streams_end(d->streams);
    return end > d->swap.from ? end : d->swap.from;
}

static void switch_over(engine *d, uint64_t now_ns) {
    uint64_t from = first_of_next(d);
    d->now = other_of(d);
    d->swap.stage = MODEL_SWAP_ENDING;
    d->swap.until_ns = now_ns + d->deadline_ns;
    d->swap.is_told = false;
    d->host.serves(d->host.context, d->models[d->now]);
    for (uint32_t k = 0; k < d->portions; k++) {
        if (d->is_ready[k]) {
            tell_switch(d, k, from);
        } else if (d->is_here[k]) { /* on its way to be ready with a model that is no longer in use */
            d->host.drop(d->host.context, k, FEWBIT__REASON__REASON_BUSY, "the model has changed: join again");
        }
    }
    const served_model *m = d->models[d->now];
    log_event(LOG_INFO, "model_changed",
              "serving step %" PRIu64 " of run %016" PRIx64 " (%s), streamed samples from %" PRIu64 " on",
              m->commit->position.step, m->run->id, m->run->experiment.name, from);
    d->host.swapped(d->host.context, ERR_OK, "");
}

static uint32_t count_awaited(const engine *d, uint32_t *first) {
    uint32_t awaited = 0;
    for (uint32_t k = d->portions; k-- > 0;) {
        bool is_awaited = responders_takes_part(d, k) && !d->swap.is_prepared[k];
        *first = is_awaited ? k : *first;
        awaited += is_awaited;
    }
    return awaited;
}

static void switch_if_prepared(engine *d, uint64_t now_ns) {
    uint32_t first;
    if (d->swap.stage == MODEL_SWAP_PREPARING && count_awaited(d, &first) == 0) {
        switch_over(d, now_ns);
    }
}

static void begin(engine *d, served_model *m, uint64_t now_ns) {
    uint8_t other = other_of(d);
    d->models[other] = m;
    /* The step, or the next number that is not taken: 0 is none. */
    uint32_t number = (uint32_t)m->commit->position.step;
    while (number == 0 || number == d->numbers[d->now] || number == d->swap.gone) {
        number++;
    }
    d->numbers[other] = number;
    d->swap.stage = MODEL_SWAP_PREPARING;
    d->swap.until_ns = now_ns + ENGINE_PREPARE_SECONDS * (uint64_t)1000000000;
    d->swap.from = 0;
    for (uint32_t k = 0; k < d->portions; k++) {
        if (d->is_paused[k]) { /* its Prepared has to be heard */
            d->is_paused[k] = false;
            d->host.pause(d->host.context, k, false);
        }
        if (d->is_ready[k]) {
            ask(d, k);
        }
    }
    switch_if_prepared(d, now_ns);
}

void engine_swap_model(engine *d, served_model *m, uint64_t now_ns) {
    err e = served_model_fits(d->models[d->now], m);
    if (e) {
        char text[512];
        snprintf(text, sizeof text, "%s", err_text());
        served_model_free(m);
        d->host.swapped(d->host.context, e, text);
    } else if (d->swap.stage == MODEL_SWAP_NONE) {
        begin(d, m, now_ns);
    } else {
        d->swap.queued = m; /* samples of the model before still wait */
    }
}

void model_swap_node_ready(engine *d, uint32_t portion) {
    d->swap.asked[portion] = 0;
    if (d->swap.stage == MODEL_SWAP_PREPARING) {
        ask(d, portion);
    }
}

void model_swap_node_left(engine *d, uint32_t portion, uint64_t now_ns) {
    d->swap.asked[portion] = 0;
    switch_if_prepared(d, now_ns);
}

void model_swap_on_prepared(engine *d, uint32_t portion, const Fewbit__Prepared *p, uint64_t now_ns) {
    pending_replies_answered(&d->pending, portion, MESSAGE_PREPARED, --d->swap.asked[portion] > 0);
    if (d->swap.stage != MODEL_SWAP_PREPARING || d->swap.asked[portion] > 0 || p->model != d->numbers[other_of(d)]) {
        return; /* of a change that was given up */
    }
    if (p->error[0]) {
        char text[512];
        snprintf(text, sizeof text, "portion %u cannot change: %s", portion, p->error);
        give_up(d, ERR_REFUSED, text);
        return;
    }
    d->swap.is_prepared[portion] = true;
    d->swap.from = p->next > d->swap.from ? p->next : d->swap.from;
    switch_if_prepared(d, now_ns);
}

static bool has_backlog(const engine *d, uint8_t model) {
    for (uint32_t k = 0; k < d->portions; k++) {
        const backlog *p = &d->backlogs[k];
        backlog_entry head;
        for (size_t at = 0; at < p->length; at += sizeof head + head.bytes) {
            memcpy(&head, p->bytes + p->begin + at, sizeof head);
            if (head.model == model) {
                return true;
            }
        }
    }
    return false;
}

/* Whether every sample of the model that is going has been answered. */
static bool has_ended(const engine *d) {
    uint8_t other = other_of(d);
    return assembler_waiting(d->streamed, other) == 0 && assembler_waiting(d->on_demand, other) == 0 &&
           (d->due_count == 0 || d->due_model != other) && !has_backlog(d, other);
}

/* Whatever a node would still stream for the old model comes too late. */
static void tell_over(engine *d) {
    for (uint32_t k = 0; k < d->portions && !d->swap.is_told; k++) {
        if (d->is_ready[k]) {
            tell_switch(d, k, 0);
        }
    }
    d->swap.is_told = true;
}

static void end(engine *d) {
    uint8_t other = other_of(d);
    predictor_counters last;
    predictor_count(d->models[other]->predictor, &last);
    d->past.from_table += last.from_table;
    d->past.from_cache += last.from_cache;
    d->past.from_nets += last.from_nets;
    tell_over(d);
    d->swap.gone = d->numbers[other];
    d->swap.stage = MODEL_SWAP_NONE;
    log_event(LOG_INFO, "model_retired", "the model before, step %" PRIu64 ", has answered its last sample",
              d->models[other]->commit->position.step);
    served_model_free(d->models[other]);
    d->models[other] = NULL;
}

void model_swap_poll(engine *d, uint64_t now_ns) {
    uint32_t first = 0;
    switch_if_prepared(d, now_ns); /* one that was awaited may have become silent */
    if (d->swap.stage == MODEL_SWAP_PREPARING && now_ns >= d->swap.until_ns) {
        char text[128];
        uint32_t awaited = count_awaited(d, &first);
        snprintf(text, sizeof text, "%u of %u nodes, the first of portion %u, are not prepared within %d s", awaited,
                 d->ready_nodes, first, ENGINE_PREPARE_SECONDS);
        give_up(d, ERR_NETWORK, text);
    }
    if (d->swap.stage == MODEL_SWAP_ENDING && now_ns >= d->swap.until_ns) {
        tell_over(d); /* one far behind: its samples' deadlines have passed */
    }
    if (d->swap.stage == MODEL_SWAP_ENDING && has_ended(d)) {
        end(d);
    }
    if (d->swap.stage == MODEL_SWAP_NONE && d->swap.queued) {
        served_model *m = d->swap.queued;
        d->swap.queued = NULL;
        begin(d, m, now_ns);
    }
}

uint64_t model_swap_next_ns(const engine *d) {
    bool is_timed = d->swap.stage == MODEL_SWAP_PREPARING || (d->swap.stage == MODEL_SWAP_ENDING && !d->swap.is_told);
    return is_timed ? d->swap.until_ns : UINT64_MAX;
}
