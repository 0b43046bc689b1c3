#include "decoder_server/serve/model_rollout.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct model_rollout {
    uint64_t deadline_ns;
    responders *responders;
    stream_intake *intake;
    const engine_host *host;
    served_model *models[2], *queued; /* by model_swap's indices; `queued` comes once the swap is over */
    model_swap swap;
};

err model_rollout_new(model_rollout **out, const run_dir *r, const predictor_options *options, uint64_t deadline_ns,
                      responders *nodes, stream_intake *intake, const engine_host *host) {
    model_rollout *o = calloc(1, sizeof *o);
    if (!o) {
        return err_fail(ERR_MEMORY, "no memory for models");
    }
    o->deadline_ns = deadline_ns;
    o->responders = nodes;
    o->intake = intake;
    o->host = host;
    err e = served_model_new(&o->models[0], r, options);
    if (e) {
        free(o);
        return e;
    }
    o->swap.numbers[0] = (uint32_t)o->models[0]->commit->position.step;
    *out = o;
    return ERR_OK;
}

void model_rollout_free(model_rollout *o) {
    if (o) {
        served_model_free(o->models[0]);
        served_model_free(o->models[1]);
        served_model_free(o->queued);
        free(o);
    }
}

uint8_t model_rollout_active(const model_rollout *o) {
    return o->swap.active;
}

served_model *model_rollout_model(const model_rollout *o, uint8_t model) {
    return o->models[model];
}

uint32_t model_rollout_number(const model_rollout *o, uint8_t model) {
    return o->swap.numbers[model];
}

bool model_rollout_find(const model_rollout *o, uint32_t number, uint8_t *model, bool *is_gone) {
    *is_gone = o->swap.gone != 0 && number == o->swap.gone;
    return model_swap_find(&o->swap, number, model);
}

/* Messages. */

static uint32_t unasked_stages(const served_model *m) {
    return predictor_layout(m->predictor)->stages > 1 ? 1 : 0;
}

static void send_prepare(model_rollout *o, uint32_t portion) {
    uint8_t next = model_swap_other(&o->swap);
    const served_model *m = o->models[next];
    Fewbit__Prepare prepare = FEWBIT__PREPARE__INIT;
    prepare.model = o->swap.numbers[next];
    prepare.step = m->commit->position.step;
    prepare.digest = (ProtobufCBinaryData){SHA256_BYTES, (uint8_t *)(uintptr_t)m->commit->encoders[portion]};
    prepare.run = m->run->id;
    prepare.experiment = m->text;
    prepare.stages = unasked_stages(m);
    model_swap_asked(&o->swap, portion);
    engine_host_send(o->host, portion, MESSAGE_PREPARE, &prepare.base);
    responders_expect(o->responders, portion, MESSAGE_PREPARED);
}

/* To every ready node: it uses the active model, of what it streams from sample `from` on. */
static void send_switch(model_rollout *o, uint64_t from) {
    Fewbit__Switch to = FEWBIT__SWITCH__INIT;
    to.model = o->swap.numbers[o->swap.active];
    to.from = from;
    for (uint64_t left = responders_ready(o->responders); left > 0; left &= left - 1) {
        engine_host_send(o->host, (uint32_t)__builtin_ctzll(left), MESSAGE_SWITCH, &to.base);
    }
}

void model_rollout_joined(model_rollout *o, uint32_t portion) {
    Fewbit__Restore restore = FEWBIT__RESTORE__INIT;
    const served_model *m = o->models[o->swap.active];
    restore.step = m->commit->position.step;
    restore.digest = (ProtobufCBinaryData){SHA256_BYTES, (uint8_t *)(uintptr_t)m->commit->encoders[portion]};
    restore.model = o->swap.numbers[o->swap.active];
    restore.stages = unasked_stages(m);
    engine_host_send(o->host, portion, MESSAGE_RESTORE, &restore.base);
}

/* What a swap brings. */

static void tell_intake(model_rollout *o) {
    stream_intake_set_swap(o->intake, o->swap.stage == MODEL_SWAP_PREPARING, o->swap.stage == MODEL_SWAP_ENDING);
}

static void release_other(model_rollout *o) {
    uint8_t other = model_swap_other(&o->swap);
    served_model_free(o->models[other]);
    o->models[other] = NULL;
}

static void give_up(model_rollout *o, err code, const char *text) {
    model_swap_give_up(&o->swap);
    send_switch(o, 0);
    release_other(o);
    tell_intake(o);
    o->host->swapped(o->host->context, code, text);
}

static const char *name_of(const model_rollout *o, uint32_t portion) {
    return o->models[o->swap.active]->run->experiment.portions[portion].name;
}

static void give_up_late(model_rollout *o) {
    char text[128];
    uint64_t all = responders_taking_part(o->responders), late = all & ~o->swap.prepared;
    snprintf(text, sizeof text, "%d of %d nodes, the first of portion %s, are not prepared within %d s",
             __builtin_popcountll(late), __builtin_popcountll(all), name_of(o, (uint32_t)__builtin_ctzll(late)),
             ENGINE_PREPARE_SECONDS);
    give_up(o, ERR_NETWORK, text);
}

static void switch_over(model_rollout *o) {
    const served_model *m = o->models[o->swap.active];
    uint64_t end = stream_intake_end(o->intake), from = end > o->swap.first ? end : o->swap.first;
    uint64_t unready = responders_here(o->responders) & ~responders_ready(o->responders);
    o->host->serves(o->host->context, m);
    send_switch(o, from);
    for (; unready > 0; unready &= unready - 1) { /* on its way to be ready with the model before */
        o->host->drop(o->host->context, (uint32_t)__builtin_ctzll(unready), FEWBIT__REASON__REASON_BUSY,
                      "the model has changed: join again");
    }
    log_event(LOG_INFO, "model_changed",
              "serving step %" PRIu64 " of run %016" PRIx64 " (%s), streamed samples from %" PRIu64 " on",
              m->commit->position.step, m->run->id, m->run->experiment.name, from);
    tell_intake(o);
    o->host->swapped(o->host->context, ERR_OK, "");
}

static void end(model_rollout *o) {
    const served_model *m = o->models[model_swap_other(&o->swap)];
    log_event(LOG_INFO, "model_retired", "the model before, step %" PRIu64 ", has answered its last sample",
              m->commit->position.step);
    release_other(o);
    tell_intake(o);
}

static void start_next(model_rollout *o, uint64_t now_ns) {
    served_model *m = o->queued;
    o->queued = NULL;
    o->models[model_swap_other(&o->swap)] = m;
    model_swap_begin(&o->swap, m->commit->position.step, now_ns + ENGINE_PREPARE_SECONDS * (uint64_t)1000000000);
    tell_intake(o);
    for (uint64_t left = responders_ready(o->responders); left > 0; left &= left - 1) {
        send_prepare(o, (uint32_t)__builtin_ctzll(left));
    }
}

static model_swap_action go_on(model_rollout *o, bool has_ended, uint64_t now_ns) {
    if (o->swap.stage == MODEL_SWAP_NONE && o->queued) {
        start_next(o, now_ns);
    }
    model_swap_action action =
        model_swap_poll(&o->swap, responders_taking_part(o->responders), has_ended, now_ns, now_ns + o->deadline_ns);
    if (action == MODEL_SWAP_SWITCH) {
        switch_over(o);
    } else if (action == MODEL_SWAP_GIVE_UP) {
        give_up_late(o);
    } else if (action == MODEL_SWAP_TELL_OVER) {
        send_switch(o, 0);
    } else if (action == MODEL_SWAP_RELEASE) {
        end(o);
    }
    return action;
}

/* After a Switch codes of the model before may be on their way: its end, even if it is near, is left for later. */
void model_rollout_poll(model_rollout *o, bool has_ended, uint64_t now_ns) {
    model_swap_action action;
    do {
        action = go_on(o, has_ended, now_ns);
    } while (action != MODEL_SWAP_WAIT && action != MODEL_SWAP_SWITCH);
}

void model_rollout_begin(model_rollout *o, served_model *m, uint64_t now_ns) {
    err failed = served_model_fits(o->models[o->swap.active], m);
    if (failed) {
        char text[512];
        snprintf(text, sizeof text, "%s", err_text());
        served_model_free(m);
        o->host->swapped(o->host->context, failed, text);
        return;
    }
    o->queued = m; /* samples of the model before may still wait */
    model_rollout_poll(o, false, now_ns);
}

void model_rollout_ready(model_rollout *o, uint32_t portion) {
    model_swap_forget(&o->swap, portion);
    if (o->swap.stage == MODEL_SWAP_PREPARING) {
        send_prepare(o, portion);
    }
}

void model_rollout_left(model_rollout *o, uint32_t portion, uint64_t now_ns) {
    model_swap_forget(&o->swap, portion);
    model_rollout_poll(o, false, now_ns);
}

bool model_rollout_prepared(model_rollout *o, uint32_t portion, const Fewbit__Prepared *p, uint64_t now_ns) {
    if (o->swap.asked[portion] == 0) {
        return false;
    }
    bool counts = model_swap_prepared(&o->swap, portion, p->model, p->next, p->error[0]);
    responders_received(o->responders, portion, MESSAGE_PREPARED, o->swap.asked[portion] > 0);
    if (counts && p->error[0]) {
        char text[512];
        snprintf(text, sizeof text, "portion %s cannot change: %s", name_of(o, portion), p->error);
        give_up(o, ERR_REFUSED, text);
    } else if (counts) {
        model_rollout_poll(o, false, now_ns);
    }
    return true;
}

uint64_t model_rollout_next_ns(const model_rollout *o) {
    return model_swap_next_ns(&o->swap);
}
