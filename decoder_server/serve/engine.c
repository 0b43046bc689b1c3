#include "decoder_server/serve/engine_inside.h"

#include "base/log_limit.h"
#include "bits/pack.h"
#include "decoder_server/core/code_decoder.h"
#include "decoder_server/serve/backlog.h"
#include "decoder_server/serve/refine.h"
#include "decoder_server/serve/responders.h"
#include "experiment/derive.h"

#include <stdlib.h>
#include <string.h>

static err plan_buffers(engine *d) {
    size_t portion = partition_portion_elements(&d->partition);
    d->portion = malloc(portion);
    d->due_codes = calloc((size_t)PREDICTOR_ROWS * d->portions, sizeof *d->due_codes);
    for (uint32_t k = 0; k < d->portions && d->refinement.count > 1; k++) {
        d->asks[k].notes = calloc(ASKS_MAX, sizeof(ask_note));
        if (!d->asks[k].notes) {
            return err_fail(ERR_MEMORY, "no memory for what is asked for");
        }
    }
    return d->portion && d->due_codes ? ERR_OK : err_fail(ERR_MEMORY, "no memory for what is due");
}

err engine_new(engine **out, const run_dir *r, results *results, const engine_options *options,
               const engine_host *host) {
    engine *d = calloc(1, sizeof *d);
    if (!d) {
        return err_fail(ERR_MEMORY, "no memory to serve");
    }
    d->results = results;
    d->host = *host;
    d->max_batch_delay_ns = options->max_batch_delay_ns;
    d->deadline_ns = options->deadline_ns;
    d->answer_timeout_ns = options->answer_timeout_ns ? options->answer_timeout_ns : UINT64_MAX;
    d->portions = r->experiment.dataset.portions;
    d->confidence = options->confidence;
    predictor_options classifying = options->predictor;
    classifying.by_round = options->confidence > 0;
    uint32_t classes;
    err e = experiment_partition(&r->experiment, &d->partition, &classes);
    e = e ? e : served_model_new(&d->models[0], r, &classifying);
    d->refinement = e ? (refinement){0} : *predictor_refinement(d->models[0]->predictor);
    if (!e && options->confidence > 0 && d->refinement.count == 1) {
        e = err_fail(ERR_USAGE,
                     "--confidence: the run's encoders have one stage of bits, so there is nothing to ask for");
    }
    assembler_config config = {STREAMED_CAPACITY, d->portions, options->deadline_ns, true};
    e = e ? e : assembler_new(&d->streamed, &config);
    config = (assembler_config){ON_DEMAND_CAPACITY, d->portions, options->deadline_ns, false};
    e = e ? e : assembler_new(&d->on_demand, &config);
    streams_config streaming = {d->portions, options->first_session, options->stall_timeout_ns, d->deadline_ns / 4};
    e = e ? e : streams_new(&d->streams, &streaming);
    e = e ? e : plan_buffers(d);
    if (e) {
        engine_free(d);
        return e;
    }
    d->numbers[0] = (uint32_t)d->models[0]->commit->position.step;
    *out = d;
    return ERR_OK;
}

void engine_free(engine *d) {
    if (d) {
        served_model_free(d->models[0]);
        served_model_free(d->models[1]);
        served_model_free(d->swap.queued);
        assembler_free(d->streamed);
        assembler_free(d->on_demand);
        streams_free(d->streams);
        for (uint32_t k = 0; k < d->portions; k++) {
            free(d->backlogs[k].bytes);
            free(d->asks[k].notes);
        }
        free(d->portion);
        free(d->due_codes);
        free(d);
    }
}

/* Nodes. */

void engine_joined(engine *d, uint32_t portion) {
    Fewbit__Restore restore = FEWBIT__RESTORE__INIT;
    const manifest_commit *commit = d->models[d->now]->commit;
    restore.step = commit->position.step;
    restore.digest = (ProtobufCBinaryData){SHA256_BYTES, (uint8_t *)(uintptr_t)commit->encoders[portion]};
    restore.model = d->numbers[d->now];
    restore.stages = d->refinement.count > 1 ? 1 : 0;
    d->is_here[portion] = true;
    d->is_paused[portion] = d->is_held[portion] = false;
    d->host.tell(d->host.context, portion, MESSAGE_RESTORE, &restore.base);
    pending_replies_begin(&d->pending, portion, MESSAGE_READY);
}

static void on_ready(engine *d, uint32_t portion, const Fewbit__Ready *r, uint64_t now_ns) {
    if (d->is_ready[portion] || r->step != d->models[d->now]->commit->position.step) {
        d->host.drop(d->host.context, portion, FEWBIT__REASON__REASON_PROTOCOL, "Ready, but not for this model");
        return;
    }
    if (streams_ready(d->streams, portion, r, now_ns)) {
        d->host.drop(d->host.context, portion, FEWBIT__REASON__REASON_PROTOCOL, err_text());
        return;
    }
    d->is_ready[portion] = true;
    d->to_ack[portion] = 0;
    pending_replies_answered(&d->pending, portion, MESSAGE_READY, false);
    responders_ready(d, portion, now_ns);
    log_limited(LOG_INFO, "node_ready", portion + 1, "portion %u is ready; %u of %u nodes are", portion, d->ready_nodes,
                d->portions);
    backlog_tell_streams(d);
    model_swap_node_ready(d, portion);
}

/* Classifying. */

static void give_answer(engine *d, const waiter *w, const assembler_sample *sample, const float *probabilities,
                        const results_line *r) {
    classification a = {
        .outcome = CLASSIFICATION_DONE,
        .degraded = r->degraded,
        .class = r->class,
        .classes = predictor_classes(d->models[d->due_model]->predictor),
        .portions = d->portions,
        .stages = assembler_sample_stages(sample),
        .have = sample->have,
        .asked_ns = sample->opened_ns,
        .due_ns = w->due_ns,
        .frame_bytes = {w->frame_bytes[TRAFFIC_IN], w->frame_bytes[TRAFFIC_OUT]},
    };
    memcpy(a.bits, r->bits, d->portions);
    memcpy(a.codes, sample->codes, d->portions * sizeof *a.codes);
    memcpy(a.probabilities, probabilities, a.classes * sizeof(float));
    d->requests[sample->id % ON_DEMAND_CAPACITY].waits = false;
    d->host.answer(d->host.context, w->request, &a);
}

/* The answer to what is due at `at`; `is_cut`: more bits were wanted and not to be had. */
static void answer_due(engine *d, size_t at, const prediction *v, bool is_cut, uint64_t now_ns) {
    const waiter *w = &d->waiters[at];
    const assembler_sample *sample = &d->due[at];
    uint8_t bits[PARTITION_PORTIONS_MAX];
    for (uint32_t k = 0; k < d->portions; k++) {
        bits[k] = (uint8_t)assembler_sample_bits(sample, &d->refinement, k);
        d->to_ack[k] += !w->is_on_demand && sample->to_ack >> k & 1;
    }
    bool is_curtailed = is_cut || (sample->stage > 0 && sample->got != sample->have);
    d->answered.answered[assembler_sample_stages(sample) - 1]++;
    d->answered.curtailed += is_curtailed;
    results_line r = {
        .sample = sample,
        .from = w->is_on_demand ? "http" : "stream",
        .class = v->class,
        .bits = bits,
        .stages = d->refinement.count > 1 ? assembler_sample_stages(sample) : 0,
        .probability = v->probabilities[v->class],
        .degraded = __builtin_popcountll(sample->have) != (int)d->portions || is_curtailed,
        .ms = (double)(now_ns - sample->opened_ns) * 1e-6,
    };
    results_write(d->results, &r);
    if (w->is_on_demand) {
        give_answer(d, w, sample, v->probabilities, &r);
    } else {
        assembler_retire(d->streamed, sample->id);
    }
}

static void classify_due(engine *d, uint64_t now_ns) {
    const prediction *predictions = predictor_run(d->models[d->due_model]->predictor, d->due, d->due_count);
    uint32_t held[PREDICTOR_ROWS];
    size_t held_count = 0;
    for (size_t i = 0; i < d->due_count; i++) {
        const prediction *v = &predictions[i];
        bool is_cut;
        if (refine_holds(d, i, v->probabilities[v->class], now_ns, &is_cut)) {
            held[held_count++] = (uint32_t)i;
        } else {
            answer_due(d, i, v, is_cut, now_ns);
        }
    }
    refine_send(d, held, held_count);
    d->due_count = 0;
    results_flush(d->results);
}

void engine_add_due(engine *d, const assembler_sample *sample, bool is_on_demand, uint64_t now_ns) {
    if (d->due_count > 0 && d->due_model != sample->model) {
        classify_due(d, now_ns); /* one model at a time */
    }
    d->due_model = sample->model;
    uint64_t *codes = d->due_codes + d->due_count * d->portions;
    memcpy(codes, sample->codes, d->portions * sizeof *codes);
    d->due[d->due_count] = *sample;
    d->due[d->due_count].codes = codes;
    d->waiters[d->due_count].is_on_demand = is_on_demand;
    uint64_t latest = now_ns + d->max_batch_delay_ns, deadline = sample->opened_ns + d->deadline_ns;
    latest = deadline < latest ? deadline : latest;
    d->latest_start_ns = d->due_count == 0 || latest < d->latest_start_ns ? latest : d->latest_start_ns;
    if (is_on_demand) {
        live *request = &d->requests[sample->id % ON_DEMAND_CAPACITY];
        d->waiters[d->due_count] = (waiter){
            true, request->request, {request->frame_bytes[TRAFFIC_IN], request->frame_bytes[TRAFFIC_OUT]}, now_ns};
    }
    if (++d->due_count == PREDICTOR_ROWS) {
        classify_due(d, now_ns);
    }
}

static void refuse_request(engine *d, uint64_t request, classification_outcome outcome) {
    classification a = {.outcome = outcome};
    d->host.answer(d->host.context, request, &a);
}

/* An on-demand sample waits no longer for what is missing. */
static void end_waiting(engine *d, const assembler_sample *sample, uint64_t now_ns) {
    if (sample->have == 0) {
        d->requests[sample->id % ON_DEMAND_CAPACITY].waits = false;
        refuse_request(d, d->requests[sample->id % ON_DEMAND_CAPACITY].request, CLASSIFICATION_TIMEOUT);
    } else {
        engine_add_due(d, sample, true, now_ns);
    }
}

static void expire(engine *d, uint64_t now_ns) {
    assembler_sample sample;
    while (assembler_expire(d->streamed, now_ns, &sample)) {
        engine_add_due(d, &sample, false, now_ns);
    }
    while (assembler_expire(d->on_demand, now_ns, &sample)) {
        uint64_t asked = sample.stage == 0 ? d->requests[sample.id % ON_DEMAND_CAPACITY].asked : 0;
        uint64_t missing = asked & ~sample.have, opened_ns = sample.opened_ns;
        end_waiting(d, &sample, now_ns);
        responders_expired(d, missing, opened_ns, now_ns);
    }
}

void engine_give_up(engine *d, uint32_t portion, uint64_t now_ns) {
    assembler_sample sample;
    while (assembler_give_up(d->on_demand, portion, &sample)) {
        end_waiting(d, &sample, now_ns);
    }
    while (d->refinement.count > 1 && assembler_give_up_stages(d->streamed, portion, &sample)) {
        engine_add_due(d, &sample, false, now_ns);
    }
}

void engine_left(engine *d, uint32_t portion, uint64_t now_ns) {
    d->is_here[portion] = false;
    responders_left(d, portion);
    if (!d->is_ready[portion]) {
        return;
    }
    d->is_ready[portion] = false;
    responders_count(d);
    log_limited(LOG_WARN, "node_left", portion + 1, "portion %u is gone; %u of %u nodes are ready", portion,
                d->ready_nodes, d->portions);
    engine_give_up(d, portion, now_ns);
    refine_left(d, portion, now_ns);
    streams_left(d->streams, portion, now_ns);
    backlog_tell_streams(d);
    model_swap_node_left(d, portion, now_ns);
}

/* Codes. */

static bool fits(const engine *d, const Fewbit__Codes *c, uint64_t samples) {
    return samples <= FRAME_PAYLOAD_MAX && c->first <= UINT64_MAX - samples &&
           c->bits.len == pack_bytes(samples * d->refinement.upto[0]) &&
           pack_tail_is_clear(c->bits.data, samples * d->refinement.upto[0]);
}

static void on_answer(engine *d, uint32_t portion, const Fewbit__Codes *c, uint8_t model, uint64_t now_ns) {
    assembler_sample sample;
    uint64_t code = pack_get(c->bits.data, 0, d->refinement.upto[0]);
    live *request = &d->requests[c->first % ON_DEMAND_CAPACITY];
    if (request->id == c->first) {
        request->frame_bytes[TRAFFIC_IN] += (uint32_t)message_frame_size(&c->base);
    }
    assembler_set_model(d->on_demand, model);
    if (assembler_add(d->on_demand, c->first, portion, code, now_ns, &sample) == ASSEMBLER_COMPLETE) {
        engine_add_due(d, &sample, true, now_ns);
    }
}

/* Whose codes carry this number; false: nobody's. */
static bool find_model(const engine *d, uint32_t number, uint8_t *model) {
    uint8_t other = !d->now;
    *model = number == d->numbers[d->now] ? d->now : other;
    return *model == d->now || (d->swap.stage == MODEL_SWAP_ENDING && number == d->numbers[other]);
}

static void take_codes(engine *d, uint32_t portion, const Fewbit__Codes *c, bool is_answer, uint64_t now_ns) {
    uint8_t model;
    bool is_probe = false;
    if (!fits(d, c, (uint64_t)c->more + 1) || (is_answer && c->more > 0)) {
        d->host.drop(d->host.context, portion, FEWBIT__REASON__REASON_PROTOCOL, "codes that do not fit");
    } else if (!is_answer && streams_take(d->streams, portion, c->first, (uint64_t)c->more + 1, now_ns)) {
        d->host.drop(d->host.context, portion, FEWBIT__REASON__REASON_PROTOCOL, err_text());
    } else if (is_answer && !responders_take(d, portion, c->first, &is_probe, now_ns)) {
        d->host.drop(d->host.context, portion, FEWBIT__REASON__REASON_PROTOCOL, "more answers than were asked for");
    } else if (is_probe) {
        return;
    } else if (find_model(d, c->model, &model)) {
        d->payload_bits[portion] += code_decoder_payload_bits(c, d->refinement.upto[0]);
        (is_answer ? on_answer : backlog_take)(d, portion, c, model, now_ns);
    } else if (c->model != d->swap.gone || d->swap.gone == 0) {
        d->host.drop(d->host.context, portion, FEWBIT__REASON__REASON_MODEL, "codes of another model");
    } else if (!is_answer) {
        backlog_take_none(d, portion, c, now_ns);
    }
}

void engine_receive(engine *d, uint32_t portion, const message *m, uint64_t now_ns) {
    pending_replies_read_clock(&d->pending, now_ns);
    if (m->type == MESSAGE_READY) {
        on_ready(d, portion, m->body.ready, now_ns);
        return;
    }
    bool is_answer = m->type == MESSAGE_ANSWER;
    if (d->is_ready[portion] && (is_answer || m->type == MESSAGE_CODES)) {
        take_codes(d, portion, m->body.codes, is_answer, now_ns);
    } else if (d->is_ready[portion] && m->type == MESSAGE_REFINEMENT) {
        refine_take(d, portion, m->body.refinement, now_ns);
    } else if (d->is_ready[portion] && m->type == MESSAGE_STREAM_END) {
        backlog_end(d, portion, now_ns);
    } else if (d->swap.asked[portion] > 0 && m->type == MESSAGE_PREPARED) {
        model_swap_on_prepared(d, portion, m->body.prepared, now_ns);
    } else {
        d->host.drop(d->host.context, portion, FEWBIT__REASON__REASON_PROTOCOL, "a message out of turn");
    }
}

/* Requests. */

static void ask_nodes(engine *d, uint64_t id, const uint8_t *sample, uint64_t asked, uint32_t *frame_bytes) {
    for (uint32_t k = 0; k < d->portions; k++) {
        if (!(asked >> k & 1)) {
            continue;
        }
        partition_take(&d->partition, k, sample, d->portion);
        Fewbit__Request request = FEWBIT__REQUEST__INIT;
        request.id = id;
        request.portion = (ProtobufCBinaryData){partition_portion_elements(&d->partition), d->portion};
        *frame_bytes += (uint32_t)message_frame_size(&request.base);
        d->host.tell(d->host.context, k, MESSAGE_REQUEST, &request.base);
        responders_asked(d, k);
    }
}

void engine_classify(engine *d, uint64_t request, const uint8_t *sample, uint64_t now_ns) {
    uint64_t expected = 0;
    pending_replies_read_clock(&d->pending, now_ns);
    for (uint32_t k = 0; k < d->portions; k++) {
        expected |= responders_takes_part(d, k) ? (uint64_t)1 << k : 0;
    }
    if (expected == 0 || d->is_stopping) {
        refuse_request(d, request, d->is_stopping ? CLASSIFICATION_STOPPING : CLASSIFICATION_NO_NODES);
        return;
    }
    assembler_set_model(d->on_demand, d->now);
    for (uint32_t i = 0; i < ON_DEMAND_CAPACITY && d->requests[d->next_live % ON_DEMAND_CAPACITY].waits; i++) {
        d->next_live = (d->next_live + 1) % REQUESTS; /* past those that wait for their deadline */
    }
    uint64_t id = d->next_live;
    if (!assembler_open(d->on_demand, id, expected, now_ns)) {
        refuse_request(d, request, CLASSIFICATION_BUSY);
        return;
    }
    d->next_live = (d->next_live + 1) % REQUESTS;
    live *entry = &d->requests[id % ON_DEMAND_CAPACITY];
    *entry = (live){.waits = true, .id = id, .request = request, .asked = expected};
    ask_nodes(d, id, sample, expected, &entry->frame_bytes[TRAFFIC_OUT]);
}

static void report_one_table(const assembler *a, uint32_t capacity, stats_table *to) {
    const assembler_counters *c = assembler_count(a);
    *to = (stats_table){c->complete, c->expired, c->late,    c->duplicate, c->unknown,
                        c->mixed,    c->refused, c->waiting, capacity};
}

void engine_report(const engine *d, stats *r) {
    report_one_table(d->streamed, STREAMED_CAPACITY, &r->streamed);
    report_one_table(d->on_demand, ON_DEMAND_CAPACITY, &r->on_demand);
    r->ready = d->ready_nodes;
    r->backlog_bytes = 0;
    r->results_lost = results_lost(d->results);
    r->refinement = d->answered;
    r->refinement.count = d->refinement.count;
    for (uint32_t k = 0; k < d->portions; k++) {
        r->backlog_bytes += d->backlogs[k].length;
        r->nodes[k].is_ready = responders_takes_part(d, k);
        r->nodes[k].is_silent = d->is_silent[k];
        pending_replies_stats(&d->pending, k, &r->nodes[k]);
        r->nodes[k].payload_bits[TRAFFIC_IN] = d->payload_bits[k];
    }
}

/* When the batch that is due starts; 0: now. */
static uint64_t batch_start(const engine *d) {
    bool has_company = assembler_count(d->on_demand)->waiting > 0 || assembler_count(d->streamed)->waiting > 0;
    bool may_wait =
        d->max_batch_delay_ns > 0 && has_company && !predictor_knows_all(d->models[d->due_model]->predictor);
    return may_wait ? d->latest_start_ns : 0;
}

int64_t engine_poll(engine *d, uint64_t now_ns) {
    expire(d, now_ns);
    if (d->due_count > 0 && batch_start(d) <= now_ns) {
        classify_due(d, now_ns);
    }
    uint64_t backlog_next;
    bool any = backlog_poll(d, now_ns, &backlog_next);
    uint64_t ack_next = refine_poll(d, now_ns);
    model_swap_poll(d, now_ns);
    uint64_t responders_next = responders_poll(d, now_ns);
    if (any) {
        return 0;
    }
    const uint64_t times[] = {d->due_count > 0 ? batch_start(d) : UINT64_MAX,
                              ack_next,
                              backlog_next,
                              responders_next,
                              model_swap_next_ns(d),
                              assembler_next_deadline(d->streamed),
                              assembler_next_deadline(d->on_demand)};
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        next = times[i] < next ? times[i] : next;
    }
    if (next == UINT64_MAX) {
        return -1;
    }
    return next <= now_ns ? 0 : (int64_t)((next - now_ns) / 1000 + 1);
}

void engine_stop(engine *d, uint64_t now_ns) {
    d->is_stopping = true;
    assembler_close(d->streamed);
    engine_poll(d, now_ns);
}

bool engine_is_idle(const engine *d) {
    return d->due_count == 0 && assembler_count(d->streamed)->waiting == 0 &&
           assembler_count(d->on_demand)->waiting == 0;
}

void engine_finish(engine *d, uint64_t now_ns) {
    assembler_sample sample;
    d->asks_no_more = true;
    while (assembler_count(d->streamed)->waiting > 0 && assembler_expire(d->streamed, UINT64_MAX, &sample)) {
        engine_add_due(d, &sample, false, now_ns);
    }
    while (assembler_count(d->on_demand)->waiting > 0 && assembler_expire(d->on_demand, UINT64_MAX, &sample)) {
        end_waiting(d, &sample, now_ns);
    }
    if (d->due_count > 0) {
        classify_due(d, now_ns);
    }
}

void engine_dismiss(engine *d, const char *text) {
    for (uint32_t k = 0; k < d->portions; k++) {
        if (d->is_here[k]) {
            d->host.drop(d->host.context, k, FEWBIT__REASON__REASON_BUSY, text);
        }
    }
}

static void add_counters(predictor_counters *sum, const predictor_counters *c) {
    sum->from_table += c->from_table;
    sum->from_cache += c->from_cache;
    sum->from_nets += c->from_nets;
}

void engine_count(const engine *d, engine_counters *out) {
    *out = (engine_counters){.ready_nodes = d->ready_nodes};
    out->streamed = *assembler_count(d->streamed);
    out->on_demand = *assembler_count(d->on_demand);
    predictor_count(d->models[d->now]->predictor, &out->predictor);
    add_counters(&out->predictor, &d->past);
}
