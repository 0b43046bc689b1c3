#include "decoder_server/serve/engine.h"

#include "bits/pack.h"
#include "decoder_server/core/code_decoder.h"
#include "decoder_server/serve/model_rollout.h"
#include "decoder_server/serve/on_demand.h"
#include "decoder_server/serve/ready_batch.h"
#include "decoder_server/serve/refine.h"

#include <stdlib.h>

_Static_assert((int)READY_BATCH_ROWS <= (int)PREDICTOR_ROWS && (int)READY_BATCH_ROWS <= (int)REFINE_ROWS,
               "a batch is predicted at once, and may ask for more of all its samples");

/* A probe is a frame; a node whose portion is longer says that it cannot be right, which is an answer as well. */
enum { PROBE_BYTES_MAX = FRAME_PAYLOAD_MAX - 64 };

struct engine {
    engine_host host;
    engine_options options;
    results *results;
    codeword layout;
    responders *responders;
    model_rollout *models;
    stream_intake *intake;
    assembler *streamed, *on_demand; /* the first one is the intake's */
    on_demand requests;
    refine *refine;
    ready_batch batch;
    refine_sample unsure[READY_BATCH_ROWS]; /* of the batch that is predicted */
    stats_refinement answered;
    uint64_t payload_bits[PARTITION_PORTIONS_MAX]; /* of codes as they came */
    size_t frame_bytes;                            /* of the Refinement that is received */
    bool is_stopping, is_finishing;
};

static uint32_t portions_of(const engine *e) {
    return e->layout.portions;
}

static predictor *predictor_of(const engine *e, uint8_t model) {
    return model_rollout_model(e->models, model)->predictor;
}

/* The batch. */

/* `is_cut`: more bits were wanted and not to be had. */
typedef struct answer {
    const assembler_sample *sample;
    const prediction *prediction;
    size_t at; /* in the batch */
    bool is_cut;
} answer;

static void answer_request(engine *e, const answer *a, const results_line *line) {
    const assembler_sample *sample = a->sample;
    const on_demand_request *request = on_demand_find(&e->requests, sample->id);
    classification c = {
        .outcome = CLASSIFICATION_DONE,
        .degraded = line->degraded,
        .class = line->class,
        .classes = predictor_classes(predictor_of(e, sample->model)),
        .portions = portions_of(e),
        .stages = assembler_sample_stages(sample),
        .have = sample->have,
        .asked_ns = sample->opened_ns,
        .due_ns = e->batch.ready_ns[a->at],
        .frame_bytes = {request->frame_bytes[TRAFFIC_IN], request->frame_bytes[TRAFFIC_OUT]},
    };
    memcpy(c.bits, line->bits, portions_of(e));
    memcpy(c.codes, sample->codes, portions_of(e) * sizeof *c.codes);
    memcpy(c.probabilities, a->prediction->probabilities, c.classes * sizeof(float));
    on_demand_find(&e->requests, sample->id)->waits = false;
    e->host.answer(e->host.context, request->request, &c);
}

static void give_answer(engine *e, const answer *a, uint64_t now_ns) {
    const assembler_sample *sample = a->sample;
    bool is_on_demand = e->batch.is_on_demand[a->at];
    uint8_t bits[PARTITION_PORTIONS_MAX];
    for (uint32_t k = 0; k < portions_of(e); k++) {
        bits[k] = (uint8_t)assembler_sample_bits(sample, &e->layout, k);
    }
    bool is_incomplete = a->is_cut || (sample->stage > 0 && sample->got != sample->have);
    e->answered.answered[assembler_sample_stages(sample) - 1]++;
    e->answered.incomplete += is_incomplete;
    results_line line = {
        .sample = sample,
        .from = is_on_demand ? "http" : "stream",
        .class = a->prediction->class,
        .bits = bits,
        .stages = e->layout.stages > 1 ? assembler_sample_stages(sample) : 0,
        .probability = a->prediction->probabilities[a->prediction->class],
        .degraded = sample->have != UINT64_MAX >> (64 - portions_of(e)) || is_incomplete,
        .ms = (double)(now_ns - sample->opened_ns) * 1e-6,
    };
    results_write(e->results, &line);
    if (is_on_demand) {
        answer_request(e, a, &line);
    } else {
        stream_intake_answered(e->intake, sample);
    }
}

/* The nets gave no numbers: there is no class to tell of. */
static void give_none(engine *e, size_t at) {
    const assembler_sample *sample = &e->batch.samples[at];
    if (e->batch.is_on_demand[at]) {
        on_demand_find(&e->requests, sample->id)->waits = false;
        on_demand_refuse(on_demand_find(&e->requests, sample->id)->request, CLASSIFICATION_FAILED, &e->host);
    } else {
        results_lose(e->results);
        stream_intake_answered(e->intake, sample);
    }
}

/* Whether a sample that is not sure enough now waits for its next stage, which *more then asks for. Else *is_cut says
 * whether more would have been asked had there been nodes, room and time for it. */
static bool wait_for_more(engine *e, const answer *a, uint64_t now_ns, refine_sample *more, bool *is_cut) {
    const assembler_sample *s = a->sample;
    float probability = a->prediction->probabilities[a->prediction->class];
    *is_cut = s->stage + 1u < e->layout.stages && probability < e->options.confidence;
    if (!*is_cut || e->is_finishing || now_ns >= s->opened_ns + e->options.deadline_ns ||
        (s->stage > 0 && s->got != s->have)) {
        return false;
    }
    bool is_on_demand = e->batch.is_on_demand[a->at];
    uint64_t expected = s->have & responders_taking_part(e->responders);
    for (uint64_t left = expected; left > 0; left &= left - 1) {
        expected &= refine_has_room(e->refine, (uint32_t)__builtin_ctzll(left)) ? UINT64_MAX : ~(left & -left);
    }
    *more = (refine_sample){s->id, expected, (uint8_t)(s->stage + 1), is_on_demand};
    return expected != 0 && assembler_extend(is_on_demand ? e->on_demand : e->streamed, s->id, expected);
}

static void run_batch(engine *e, uint64_t now_ns) {
    size_t count = e->batch.count, unsure = 0;
    if (count == 0) {
        return;
    }
    const assembler_sample *samples = e->batch.samples;
    uint8_t model = samples[0].model;
    const prediction *predictions = predictor_run(predictor_of(e, model), samples, count);
    for (size_t i = 0; i < count; i++) {
        answer a = {&samples[i], &predictions[i], i, false};
        if (!a.prediction->probabilities) {
            give_none(e, i);
        } else if (wait_for_more(e, &a, now_ns, &e->unsure[unsure], &a.is_cut)) {
            unsure++;
        } else {
            give_answer(e, &a, now_ns);
        }
    }
    refine_send(e->refine, e->unsure, unsure, model, model_rollout_number(e->models, model));
    e->batch.count = 0;
    results_flush(e->results);
}

static bool batch_takes_long(const engine *e) {
    size_t count = e->batch.count;
    const assembler_sample *samples = e->batch.samples;
    return count > 0 &&
           (results_may_block(e->results) || predictor_takes_long(predictor_of(e, samples[0].model), samples, count));
}

/* A full batch that is short goes at once; another one waits for engine_poll, unless there is more for it. */
static void add_ready(engine *e, const assembler_sample *sample, bool is_on_demand, uint64_t now_ns) {
    if (!ready_batch_add(&e->batch, sample, is_on_demand, now_ns)) {
        run_batch(e, now_ns);
        ready_batch_add(&e->batch, sample, is_on_demand, now_ns);
    }
    if (e->batch.count == READY_BATCH_ROWS && !batch_takes_long(e)) {
        run_batch(e, now_ns);
    }
}

static uint64_t batch_start_ns(const engine *e) {
    size_t count = e->batch.count;
    bool may_wait = count > 0 && e->options.max_batch_delay_ns > 0 &&
                    (assembler_count(e->on_demand)->waiting > 0 || assembler_count(e->streamed)->waiting > 0) &&
                    !predictor_knows_all(predictor_of(e, e->batch.samples[0].model));
    return ready_batch_start_ns(&e->batch, may_wait);
}

/* Samples that wait no longer. */

/* An on-demand sample waits no longer for what is missing. */
static void end_waiting(engine *e, const assembler_sample *sample, uint64_t now_ns) {
    if (on_demand_end(&e->requests, sample, &e->host)) {
        add_ready(e, sample, true, now_ns);
    }
}

static void expire(engine *e, uint64_t now_ns) {
    assembler_sample sample;
    while (assembler_expire(e->streamed, now_ns, &sample)) {
        add_ready(e, &sample, false, now_ns);
    }
    while (assembler_expire(e->on_demand, now_ns, &sample)) {
        uint64_t asked = sample.stage == 0 ? on_demand_find(&e->requests, sample.id)->asked : 0;
        uint64_t missing = asked & ~sample.have, opened_ns = sample.opened_ns;
        end_waiting(e, &sample, now_ns);
        responders_expired(e->responders, missing, opened_ns, now_ns);
    }
}

/* No request and no stage of bits waits for that portion any more. */
static void give_up(void *context, uint32_t portion, uint64_t now_ns) {
    engine *e = context;
    assembler_sample sample;
    while (assembler_give_up(e->on_demand, portion, &sample)) {
        end_waiting(e, &sample, now_ns);
    }
    while (e->layout.stages > 1 && assembler_give_up_stages(e->streamed, portion, &sample)) {
        add_ready(e, &sample, false, now_ns);
    }
}

/* What the parts ask of the engine. */

/* Streamed samples leave a row of a batch that takes long to whatever is answered before it begins: that would find it
 * full, and run it inside the call. */
static bool takes_streamed(const engine *e) {
    return e->batch.count + 1 < READY_BATCH_ROWS || (e->batch.count + 1 == READY_BATCH_ROWS && !batch_takes_long(e));
}

static bool has_room(void *context) {
    return takes_streamed(context);
}

static bool take_streamed(void *context, const assembler_sample *sample, uint64_t now_ns) {
    engine *e = context;
    add_ready(e, sample, false, now_ns);
    return takes_streamed(e);
}

static void send_refine_request(void *context, uint32_t portion, const Fewbit__RefineRequest *request) {
    engine *e = context;
    if (request->on_demand) {
        on_demand_count_frame(&e->requests, request->first, TRAFFIC_OUT, message_frame_size(&request->base));
    }
    responders_expect(e->responders, portion, MESSAGE_REFINEMENT);
    engine_host_send(&e->host, portion, MESSAGE_REFINE_REQUEST, &request->base);
}

static void take_stage(void *context, uint32_t portion, const refine_note *note, bool gone, uint64_t bits,
                       uint64_t now_ns) {
    engine *e = context;
    assembler *of = note->on_demand ? e->on_demand : e->streamed;
    assembler_sample sample;
    assembler_outcome outcome;
    if (note->on_demand) {
        on_demand_count_frame(&e->requests, note->id, TRAFFIC_IN, e->frame_bytes);
    }
    assembler_set_model(of, note->model);
    if (gone) {
        outcome = assembler_skip_stage(of, note->id, portion, note->stage, &sample);
    } else {
        e->payload_bits[portion] += refinement_width(&e->layout.portion[portion], note->stage);
        outcome = assembler_add_stage(of, note->id, portion, note->stage, bits, &sample);
    }
    if (outcome == ASSEMBLER_COMPLETE) {
        add_ready(e, &sample, note->on_demand, now_ns);
    }
}

/* Whether no sample waits of the model that is not in use. */
static bool has_ended(const engine *e) {
    uint8_t other = !model_rollout_active(e->models);
    return assembler_waiting(e->streamed, other) == 0 && assembler_waiting(e->on_demand, other) == 0 &&
           (e->batch.count == 0 || e->batch.samples[0].model != other) && !stream_intake_has_backlog(e->intake, other);
}

/* Nodes. */

void engine_joined(engine *e, uint32_t portion) {
    model_rollout_joined(e->models, portion);
    responders_joined(e->responders, portion);
}

static void on_ready(engine *e, uint32_t portion, const Fewbit__Ready *r, uint64_t now_ns) {
    const served_model *active = model_rollout_model(e->models, model_rollout_active(e->models));
    if (responders_ready(e->responders) >> portion & 1 || r->step != active->commit->position.step) {
        engine_host_refuse(&e->host, portion, "Ready, but not for this model");
        return;
    }
    if (stream_intake_ready(e->intake, portion, r, now_ns)) {
        engine_host_refuse(&e->host, portion, err_text());
        return;
    }
    responders_set_ready(e->responders, portion, now_ns);
    model_rollout_ready(e->models, portion);
}

void engine_left(engine *e, uint32_t portion, uint64_t now_ns) {
    if (!responders_left(e->responders, portion)) {
        return;
    }
    give_up(e, portion, now_ns);
    if (e->layout.stages > 1) {
        refine_left(e->refine, portion);
        ready_batch_drop_acks(&e->batch, portion);
    }
    stream_intake_left(e->intake, portion, now_ns);
    model_rollout_left(e->models, portion, now_ns);
}

/* Codes. */

static bool fits(const engine *e, uint32_t portion, const Fewbit__Codes *c, uint64_t samples) {
    uint64_t bits = samples * codeword_unasked_bits(&e->layout, portion);
    return samples <= FRAME_PAYLOAD_MAX && c->first <= UINT64_MAX - samples && c->bits.len == pack_bytes(bits) &&
           pack_tail_is_clear(c->bits.data, bits);
}

static void take_answer(engine *e, uint32_t portion, const Fewbit__Codes *c, uint8_t model, uint64_t now_ns) {
    assembler_sample sample;
    uint64_t code = pack_get(c->bits.data, 0, codeword_unasked_bits(&e->layout, portion));
    on_demand_count_frame(&e->requests, c->first, TRAFFIC_IN, message_frame_size(&c->base));
    assembler_set_model(e->on_demand, model);
    if (assembler_add(e->on_demand, c->first, portion, code, now_ns, &sample) == ASSEMBLER_COMPLETE) {
        end_waiting(e, &sample, now_ns);
    }
}

/* Why codes are refused; NULL: they are in order, and counted as come. */
static const char *check_codes(engine *e, uint32_t portion, const Fewbit__Codes *c, bool is_answer, uint64_t now_ns) {
    if (!fits(e, portion, c, (uint64_t)c->more + 1) || (is_answer && c->more > 0)) {
        return "codes that do not fit";
    }
    if (!is_answer) {
        return stream_intake_check(e->intake, portion, c, now_ns) ? err_text() : NULL;
    }
    return responders_answered(e->responders, portion, c->first, now_ns) ? NULL : "more answers than were asked for";
}

static void on_codes(engine *e, uint32_t portion, const Fewbit__Codes *c, bool is_answer, uint64_t now_ns) {
    uint8_t model;
    bool is_gone;
    const char *wrong = check_codes(e, portion, c, is_answer, now_ns);
    bool is_probe = is_answer && c->first >= ON_DEMAND_IDS;
    if (wrong) {
        engine_host_refuse(&e->host, portion, wrong);
    } else if (is_probe) {
        return;
    } else if (model_rollout_find(e->models, c->model, &model, &is_gone)) {
        e->payload_bits[portion] += code_decoder_payload_bits(c, codeword_unasked_bits(&e->layout, portion));
        if (is_answer) {
            take_answer(e, portion, c, model, now_ns);
        } else {
            stream_intake_take(e->intake, portion, c, model, now_ns);
        }
    } else if (!is_gone) {
        e->host.drop(e->host.context, portion, FEWBIT__REASON__REASON_MODEL, "codes of another model");
    } else if (!is_answer) {
        stream_intake_take_late(e->intake, portion, c, now_ns);
    }
}

static void on_request_error(engine *e, uint32_t portion, const Fewbit__RequestError *error, uint64_t now_ns) {
    assembler_sample sample;
    if (!responders_answered(e->responders, portion, error->id, now_ns)) {
        engine_host_refuse(&e->host, portion, "more answers than were asked for");
    } else if (on_demand_take_error(&e->requests, portion, error, e->on_demand, &e->host, &sample)) {
        end_waiting(e, &sample, now_ns);
    }
}

static void on_refinement(engine *e, uint32_t portion, const Fewbit__Refinement *reply, uint64_t now_ns) {
    e->frame_bytes = message_frame_size(&reply->base);
    if (refine_receive(e->refine, portion, reply, now_ns)) {
        engine_host_refuse(&e->host, portion, err_text());
        return;
    }
    responders_received(e->responders, portion, MESSAGE_REFINEMENT, refine_is_awaited(e->refine, portion));
}

void engine_receive(engine *e, uint32_t portion, const message *m, uint64_t now_ns) {
    bool is_ready = responders_ready(e->responders) >> portion & 1;
    responders_read_clock(e->responders, now_ns);
    if (m->type == MESSAGE_READY) {
        on_ready(e, portion, m->body.ready, now_ns);
    } else if (is_ready && (m->type == MESSAGE_ANSWER || m->type == MESSAGE_CODES)) {
        on_codes(e, portion, m->body.codes, m->type == MESSAGE_ANSWER, now_ns);
    } else if (is_ready && m->type == MESSAGE_REFINEMENT) {
        on_refinement(e, portion, m->body.refinement, now_ns);
    } else if (is_ready && m->type == MESSAGE_REQUEST_ERROR) {
        on_request_error(e, portion, m->body.request_error, now_ns);
    } else if (is_ready && m->type == MESSAGE_STREAM_END) {
        if (stream_intake_ended(e->intake, portion, now_ns)) {
            engine_host_refuse(&e->host, portion, err_text());
        }
    } else if (m->type != MESSAGE_PREPARED || !model_rollout_prepared(e->models, portion, m->body.prepared, now_ns)) {
        engine_host_refuse(&e->host, portion, "a message out of turn");
    }
}

/* Requests. */

void engine_classify(engine *e, uint64_t request, const question *q, uint64_t now_ns) {
    uint64_t expected = responders_taking_part(e->responders) & question_portions(q, portions_of(e));
    uint64_t id = on_demand_next_id(&e->requests);
    responders_read_clock(e->responders, now_ns);
    if (expected == 0 || e->is_stopping) {
        on_demand_refuse(request, e->is_stopping ? CLASSIFICATION_STOPPING : CLASSIFICATION_NO_NODES, &e->host);
        return;
    }
    assembler_set_model(e->on_demand, model_rollout_active(e->models));
    if (!assembler_open(e->on_demand, id, expected, now_ns)) {
        on_demand_refuse(request, CLASSIFICATION_BUSY, &e->host);
        return;
    }
    on_demand_begin(&e->requests, id, request, expected);
    on_demand_ask(&e->requests, id, q, e->responders, &e->host);
}

/* Time. */

static bool has_due(const engine *e, const assembler *a, uint64_t now_ns) {
    const predictor *p = predictor_of(e, model_rollout_active(e->models));
    return assembler_next_deadline(a) <= now_ns &&
           (results_may_block(e->results) || predictor_may_take_long(p, assembler_count(a)->waiting));
}

bool engine_is_full(const engine *e) {
    return !takes_streamed(e);
}

bool engine_has_long_work(const engine *e, uint64_t now_ns) {
    return (batch_start_ns(e) <= now_ns && batch_takes_long(e)) || has_due(e, e->streamed, now_ns) ||
           has_due(e, e->on_demand, now_ns);
}

int64_t engine_poll(engine *e, uint64_t now_ns) {
    uint64_t intake_next, responders_next;
    expire(e, now_ns);
    if (batch_start_ns(e) <= now_ns) {
        run_batch(e, now_ns);
    }
    if (stream_intake_poll(e->intake, responders_ready(e->responders), now_ns, &intake_next)) {
        intake_next = now_ns;
    }
    model_rollout_poll(e->models, has_ended(e), now_ns);
    responders_next = responders_poll(e->responders, now_ns);
    const uint64_t times[] = {intake_next,
                              responders_next,
                              batch_start_ns(e),
                              model_rollout_next_ns(e->models),
                              assembler_next_deadline(e->streamed),
                              assembler_next_deadline(e->on_demand)};
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        next = times[i] < next ? times[i] : next;
    }
    return next == UINT64_MAX ? -1 : next <= now_ns ? 0 : (int64_t)((next - now_ns) / 1000 + 1);
}

void engine_swap_model(engine *e, served_model *m, uint64_t now_ns) {
    model_rollout_begin(e->models, m, now_ns);
}

void engine_stop(engine *e, uint64_t now_ns) {
    e->is_stopping = true;
    assembler_close(e->streamed);
    stream_intake_hurry(e->intake);
    engine_poll(e, now_ns);
}

bool engine_is_idle(const engine *e) {
    return e->batch.count == 0 && assembler_count(e->streamed)->waiting == 0 &&
           assembler_count(e->on_demand)->waiting == 0;
}

void engine_finish(engine *e, uint64_t now_ns) {
    assembler_sample sample;
    e->is_finishing = true;
    while (assembler_count(e->streamed)->waiting > 0 && assembler_expire(e->streamed, UINT64_MAX, &sample)) {
        add_ready(e, &sample, false, now_ns);
    }
    while (assembler_count(e->on_demand)->waiting > 0 && assembler_expire(e->on_demand, UINT64_MAX, &sample)) {
        end_waiting(e, &sample, now_ns);
    }
    run_batch(e, now_ns);
}

void engine_dismiss(engine *e, const char *text) {
    for (uint64_t left = responders_here(e->responders); left > 0; left &= left - 1) {
        e->host.drop(e->host.context, (uint32_t)__builtin_ctzll(left), FEWBIT__REASON__REASON_BUSY, text);
    }
}

/* For whoever watches. */

static void fill_table(const assembler *a, uint32_t capacity, stats_table *to) {
    const assembler_counters *c = assembler_count(a);
    *to = (stats_table){c->complete, c->expired, c->late,    c->duplicate, c->unknown,
                        c->mixed,    c->refused, c->waiting, capacity};
}

void engine_stats(const engine *e, stats *s) {
    fill_table(e->streamed, STREAM_INTAKE_CAPACITY, &s->streamed);
    fill_table(e->on_demand, ON_DEMAND_CAPACITY, &s->on_demand);
    s->ready = (uint32_t)__builtin_popcountll(responders_taking_part(e->responders));
    s->backlog_bytes = stream_intake_backlog_bytes(e->intake);
    s->results_lost = results_lost(e->results);
    s->refinement = e->answered;
    s->refinement.count = e->layout.stages;
    for (uint32_t k = 0; k < portions_of(e); k++) {
        responders_stats(e->responders, k, &s->nodes[k]);
        s->nodes[k].payload_bits[TRAFFIC_IN] = e->payload_bits[k];
    }
}

void engine_count_predictions(const engine *e, predictor_counters *out) {
    predictor_count(predictor_of(e, model_rollout_active(e->models)), out);
}

/* Making. */

static err make_parts(engine *e, const run_dir *r) {
    const engine_options *o = &e->options;
    responders_config responding = {.portions = portions_of(e),
                                    .deadline_ns = o->deadline_ns,
                                    .answer_timeout_ns = o->answer_timeout_ns,
                                    .first_probe = ON_DEMAND_IDS,
                                    .silent = give_up,
                                    .context = e};
    stream_intake_config streaming = {
        .streams = {.portions = portions_of(e),
                    .first_session = o->first_session,
                    .stall_timeout_ns = o->stall_timeout_ns,
                    .lag_ns = o->deadline_ns / 4},
        .deadline_ns = o->deadline_ns,
        .layout = &e->layout,
        .acks = e->layout.stages > 1,
    };
    for (uint32_t k = 0; k < portions_of(e); k++) {
        const experiment_portion *p = &r->experiment.portions[k];
        size_t bytes = portion_shape_bytes(&p->shape);
        responding.portion_bytes[k] = bytes < PROBE_BYTES_MAX ? bytes : PROBE_BYTES_MAX;
        responding.names[k] = streaming.streams.names[k] = p->name;
    }
    const stream_intake_events on_streams = {take_streamed, has_room, e};
    const refine_host on_refine = {send_refine_request, take_stage, e};
    const assembler_config on_demand = {ON_DEMAND_CAPACITY, portions_of(e), o->deadline_ns, false};
    e->batch = (ready_batch){portions_of(e), o->max_batch_delay_ns, o->deadline_ns, .count = 0};
    e->batch.codes = calloc((size_t)READY_BATCH_ROWS * portions_of(e), sizeof *e->batch.codes);
    if (!e->batch.codes) {
        return err_fail(ERR_MEMORY, "no memory for samples that are ready");
    }
    err failed = responders_new(&e->responders, &responding, &e->host);
    failed = failed ? failed : stream_intake_new(&e->intake, &streaming, &on_streams, &e->host);
    failed = failed ? failed : refine_new(&e->refine, &e->layout, &on_refine);
    failed = failed ? failed : assembler_new(&e->on_demand, &on_demand);
    e->streamed = failed ? NULL : stream_intake_samples(e->intake);
    return failed ? failed
                  : model_rollout_new(&e->models, r, &o->predictor, o->deadline_ns, e->responders, e->intake, &e->host);
}

err engine_new(engine **out, const run_dir *r, results *results, const engine_options *options,
               const engine_host *host) {
    engine *e = calloc(1, sizeof *e);
    if (!e) {
        return err_fail(ERR_MEMORY, "no memory to serve");
    }
    e->results = results;
    e->options = *options;
    e->options.predictor.by_stage = options->confidence > 0;
    e->host = *host;
    e->layout = predictor_layout_of(&r->experiment, &e->options.predictor);
    err failed = make_parts(e, r);
    if (!failed && options->confidence > 0 && e->layout.stages == 1) {
        failed = err_fail(ERR_USAGE,
                          "--confidence: the run's encoders have one stage of bits, so there is nothing to ask for");
    }
    if (failed) {
        engine_free(e);
        return failed;
    }
    *out = e;
    return ERR_OK;
}

void engine_free(engine *e) {
    if (e) {
        model_rollout_free(e->models);
        responders_free(e->responders);
        stream_intake_free(e->intake);
        assembler_free(e->on_demand);
        refine_free(e->refine);
        free(e->batch.codes);
        free(e);
    }
}
