#include "encoder_node/encoder.h"

#include "base/log_limit.h"
#include "bits/pack.h"
#include "encoder_node/batch.h"
#include "encoder_node/held.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In a shorter frame coding saves less than its number and check cost. */
enum { CODED_BITS_MIN = 512 };
enum { REQUESTS_AT_ONCE = 64 };
enum { KEEP_MAX = 8 }; /* steps that a Committed keeps; servers keep two */

struct encoder {
    encoder_config config;
    encoder_host host;
    store_quota quota;
    size_t elements; /* of the portion */
    Fewbit__Mode mode;
    uint32_t heartbeat_ms;
    job *job;             /* NULL before the first Welcome */
    job *next;            /* the model to come, beside the one in use; NULL: none */
    bool is_switching;    /* live requests are for `next`, and so is what is pushed from `switch_from` on */
    uint64_t switch_from; /* a sample's id */
    own_stream stream;    /* what it pushes */
    held *held;           /* codes of which more may be asked for; NULL: none yet */
    uint64_t streamed;    /* samples streamed since Ready, */
    uint64_t acked;       /* and of those, answered for good */
    bool is_welcome, is_ready;
    bool has_trained;      /* since the weights were restored or saved */
    bool codes;            /* the server takes compressed codes, and this node sends them */
    uint32_t pending_rows; /* of the batch whose gradients are awaited; 0: none */
    /* Requests that are not answered yet; their portions are the first input rows of `asked_of`. */
    uint64_t asked[REQUESTS_AT_ONCE];
    uint32_t asked_count;
    job *asked_of;
};

err encoder_new(encoder **out, const encoder_config *config, const encoder_host *host) {
    encoder *e = calloc(1, sizeof *e);
    if (!e) {
        return err_fail(ERR_MEMORY, "no memory for an encoder");
    }
    e->config = *config;
    e->host = *host;
    e->quota.max_bytes = config->max_state ? config->max_state : UINT64_MAX;
    const portion_info *info = portion_about(config->data);
    e->stream.exists = config->streams;
    e->elements = (size_t)info->shape[0] * info->shape[1] * info->shape[2];
    *out = e;
    return ERR_OK;
}

static void drop_next(encoder *e) {
    job_free(e->next);
    e->next = NULL;
    e->is_switching = false;
}

static void drop_jobs(encoder *e) {
    drop_next(e);
    job_free(e->job);
    e->job = NULL;
}

/* The model to come is the one in use. */
static void end_switch(encoder *e) {
    job_free(e->job);
    e->job = e->next;
    e->next = NULL;
    e->is_switching = false;
}

void encoder_free(encoder *e) {
    if (e) {
        drop_jobs(e);
        held_free(e->held);
        free(e);
    }
}

static void tell(encoder *e, message_type type, const ProtobufCMessage *body) {
    e->host.send(e->host.context, type, body);
}

void encoder_connected(encoder *e) {
    const portion_info *info = portion_about(e->config.data);
    uint32_t shape[3];
    memcpy(shape, info->shape, sizeof shape);
    Fewbit__Hello hello = FEWBIT__HELLO__INIT;
    hello.protocol = MESSAGE_PROTOCOL;
    hello.name = (char *)(uintptr_t)e->config.name;
    hello.portion = info->index;
    hello.dataset = (char *)(uintptr_t)info->dataset;
    hello.partition = (char *)(uintptr_t)info->partition;
    hello.portions = info->portions;
    hello.n_shape = 3;
    hello.shape = shape;
    hello.train_samples = info->samples[DATASET_TRAIN];
    hello.test_samples = info->samples[DATASET_TEST];
    hello.digest = (char *)(uintptr_t)info->digest;
    hello.coding = e->config.coding;
    tell(e, MESSAGE_HELLO, &hello.base);
}

void encoder_disconnected(encoder *e) {
    e->asked_count = 0; /* nobody waits any more */
    if (e->is_switching) {
        end_switch(e);
    }
    drop_next(e);
    e->is_welcome = e->is_ready = false;
    own_stream_disconnected(&e->stream);
    e->pending_rows = 0;
    e->heartbeat_ms = 0;
    if (e->held) {
        held_clear(e->held);
    }
}

/* Tells the server why, and stops. */
static encoder_verdict refuse(encoder *e, Fewbit__Reason reason) {
    Fewbit__Refusal refusal = FEWBIT__REFUSAL__INIT;
    refusal.reason = reason;
    refusal.text = (char *)(uintptr_t)err_text();
    tell(e, MESSAGE_REFUSAL, &refusal.base);
    return reason == FEWBIT__REASON__REASON_PROTOCOL ? ENCODER_RECONNECT : ENCODER_REFUSED;
}

static encoder_verdict refuse_out_of_turn(encoder *e, const char *name) {
    err_fail(ERR_INPUT, "the server sent %s out of turn", name);
    return refuse(e, FEWBIT__REASON__REASON_PROTOCOL);
}

static job_config config_for(encoder *e, uint64_t run, uint64_t training, bool trains) {
    return (job_config){
        .data = e->config.data,
        .state = e->config.state,
        .quota = &e->quota,
        .max_memory = e->config.max_memory,
        .pool = e->config.pool,
        .run = run,
        .training = training,
        .trains = trains,
    };
}

static err take_job(encoder *e, const experiment *described, const Fewbit__Welcome *w) {
    drop_jobs(e);
    job_config config = config_for(e, w->run, w->training, w->mode == FEWBIT__MODE__MODE_TRAIN);
    return job_new(&e->job, described, &config);
}

static void agree_on_coding(encoder *e, const Fewbit__Welcome *w) {
    bool is_wanted = e->config.coding == FEWBIT__CODING__CODING_RANGE;
    e->codes = is_wanted && w->coding == FEWBIT__CODING__CODING_RANGE;
    code_compressor_reset(e->job->codes);
    if (is_wanted && !e->codes) {
        log_limited(LOG_WARN, 0, "the server does not take range-compressed codes: they are sent packed");
    }
}

static encoder_verdict on_welcome(encoder *e, const Fewbit__Welcome *w) {
    if (e->is_welcome) {
        return refuse_out_of_turn(e, "Welcome");
    }
    if (w->protocol != MESSAGE_PROTOCOL) {
        err_fail(ERR_INPUT, "the server speaks protocol %u, this node %d", w->protocol, MESSAGE_PROTOCOL);
        return refuse(e, FEWBIT__REASON__REASON_VERSION);
    }
    experiment described;
    if (job_check(w->experiment, e->config.data, &described)) {
        return refuse(e, FEWBIT__REASON__REASON_DATA);
    }
    bool is_known = false;
    if (e->job && e->job->run == w->run && e->job->training == w->training && e->mode == w->mode &&
        experiment_compare(&e->job->experiment, &described, &is_known)) {
        return refuse(e, FEWBIT__REASON__REASON_DATA);
    }
    e->mode = w->mode;
    if (!is_known && take_job(e, &described, w)) {
        return refuse(e, FEWBIT__REASON__REASON_STORAGE);
    }
    e->heartbeat_ms = message_heartbeat_ms(w);
    e->is_welcome = true;
    agree_on_coding(e, w);
    log_limited(LOG_INFO, 0, "welcome to run %016" PRIx64 " (%s), %s", w->run, described.name,
                w->mode == FEWBIT__MODE__MODE_TRAIN ? "training" : "serving");
    return ENCODER_GO_ON;
}

/* How many stages of its codes a job sends unasked, as the server says: 0 is all. Those it keeps back need a place. */
static err take_stages(encoder *e, uint32_t asked, uint32_t *unasked, const job *j) {
    if (asked > j->refinement.count) {
        return err_fail(ERR_INPUT, "the server asks for %u stages of bits, there are %u", asked, j->refinement.count);
    }
    *unasked = asked ? asked : j->refinement.count;
    return *unasked == j->refinement.count || e->held ? ERR_OK : held_new(&e->held);
}

static encoder_verdict on_restore(encoder *e, const Fewbit__Restore *r) {
    e->pending_rows = 0;
    e->is_ready = e->has_trained = false;
    drop_next(e);
    if (r->fresh && e->job->trains) {
        job_init(e->job);
        job_set_step(e->job, r->step);
    } else if (job_load(e->job, r->step, r->digest.len == SHA256_BYTES ? r->digest.data : NULL)) {
        return refuse(e, FEWBIT__REASON__REASON_MODEL);
    }
    if (take_stages(e, r->stages, &e->job->unasked, e->job)) {
        return refuse(e, FEWBIT__REASON__REASON_PROTOCOL);
    }
    e->streamed = e->acked = 0;
    e->job->model = r->model ? r->model : (uint32_t)r->step;
    e->is_ready = true;
    Fewbit__Ready ready = FEWBIT__READY__INIT;
    ready.step = e->job->step;
    own_stream_describe(&e->stream, &ready);
    tell(e, MESSAGE_READY, &ready.base);
    return ENCODER_GO_ON;
}

/* Another model. */

static err load_next(encoder *e, const Fewbit__Prepare *p) {
    experiment described;
    job_config config = config_for(e, p->run, 0, false);
    err failed = job_check(p->experiment, e->config.data, &described);
    if (!failed && config.max_memory > 0) { /* both are there at a time */
        size_t here = job_bytes(e->job);
        config.max_memory = here < config.max_memory ? config.max_memory - here : 1;
    }
    failed = failed ? failed : job_new(&e->next, &described, &config);
    failed = failed ? failed : job_load(e->next, p->step, p->digest.len == SHA256_BYTES ? p->digest.data : NULL);
    failed = failed ? failed : take_stages(e, p->stages, &e->next->unasked, e->next);
    if (failed) {
        drop_next(e);
        return failed;
    }
    e->next->model = p->model;
    return ERR_OK;
}

static encoder_verdict on_prepare(encoder *e, const Fewbit__Prepare *p) {
    if (e->job->trains || (e->next && !e->is_switching)) {
        return refuse_out_of_turn(e, "Prepare");
    }
    if (e->is_switching) {
        end_switch(e);
    }
    Fewbit__Prepared prepared = FEWBIT__PREPARED__INIT;
    prepared.model = p->model;
    prepared.next = e->stream.next;
    if (load_next(e, p)) {
        log_limited(LOG_ERROR, 0, "the model to come cannot be loaded: %s", err_text());
        prepared.error = (char *)(uintptr_t)err_text();
    }
    tell(e, MESSAGE_PREPARED, &prepared.base);
    return ENCODER_GO_ON;
}

static encoder_verdict on_switch(encoder *e, const Fewbit__Switch *s) {
    bool is_back = s->model == e->job->model;
    if (e->job->trains || (!is_back && (!e->next || s->model != e->next->model))) {
        return refuse_out_of_turn(e, "Switch");
    }
    if (is_back) {
        drop_next(e);
        return ENCODER_GO_ON;
    }
    if (!e->is_switching) {
        log_limited(LOG_INFO, 0, "changing to step %" PRIu64 " of run %016" PRIx64, e->next->step, e->next->run);
    }
    e->is_switching = true;
    e->switch_from = s->from;
    if (e->stream.next >= s->from) {
        end_switch(e);
    }
    return ENCODER_GO_ON;
}

static uint32_t number_of(const job *j) {
    return j->trains ? (uint32_t)j->step : j->model;
}

/* The first stages of each code; the whole of it is kept for what may be asked. Returns the bits. */
static size_t pack_first_rounds(encoder *e, const job *j, bool live, uint64_t first, const float *soft, uint32_t rows,
                                uint32_t unasked) {
    uint32_t width = j->experiment.encoder.bits, upto = j->refinement.upto[unasked - 1];
    memset(j->packed, 0, pack_bytes((size_t)rows * upto));
    for (uint32_t i = 0; i < rows; i++) {
        uint64_t code = pack_code(soft + (size_t)i * width, width);
        pack_put(j->packed, (size_t)i * upto, upto, refinement_prefix(&j->refinement, unasked - 1, code));
        held_put(e->held, live, first + i, number_of(j), unasked, code);
    }
    return (size_t)rows * upto;
}

static void send_codes(encoder *e, const job *j, message_type type, uint64_t first, const float *soft, uint32_t rows,
                       uint32_t unasked) {
    size_t bits = (size_t)rows * j->experiment.encoder.bits;
    if (unasked < j->refinement.count) {
        bits = pack_first_rounds(e, j, type == MESSAGE_ANSWER, first, soft, rows, unasked);
    } else {
        pack_soft(soft, bits, j->packed);
    }
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    codes.model = number_of(j);
    codes.first = first;
    codes.more = rows - 1;
    if (e->codes && type == MESSAGE_CODES && unasked == j->refinement.count && bits >= CODED_BITS_MIN &&
        rows <= j->coded_rows) {
        code_compressor_frame f = {.model = codes.model, .first = first, .rows = rows};
        code_compressor_encode(j->codes, j->packed, &f);
        codes.sequence = f.sequence;
        codes.coded = (ProtobufCBinaryData){f.length, (uint8_t *)(uintptr_t)f.coded};
        codes.check = f.check;
    } else {
        codes.bits = (ProtobufCBinaryData){pack_bytes(bits), j->packed};
    }
    tell(e, type, &codes.base);
}

static void send_activations(encoder *e, const Fewbit__Batch *b, const float *soft) {
    size_t numbers = (size_t)b->count * e->job->experiment.encoder.bits;
    Fewbit__Activations a = FEWBIT__ACTIVATIONS__INIT;
    a.step = b->step;
    a.phase = b->phase;
    a.count = b->count;
    if (b->phase == FEWBIT__PHASE__PHASE_TRAIN && e->job->experiment.encoder.decision == ZOO_STRAIGHT_THROUGH) {
        pack_soft(soft, numbers, e->job->packed);
        a.bits = (ProtobufCBinaryData){pack_bytes(numbers), e->job->packed};
    } else {
        a.soft = (ProtobufCBinaryData){numbers * sizeof(float), (uint8_t *)(uintptr_t)soft};
    }
    tell(e, MESSAGE_ACTIVATIONS, &a.base);
}

static encoder_verdict on_batch(encoder *e, const Fewbit__Batch *b) {
    bool trains = b->phase == FEWBIT__PHASE__PHASE_TRAIN;
    if (e->pending_rows || e->mode != FEWBIT__MODE__MODE_TRAIN || (trains && b->step != e->job->step)) {
        return refuse_out_of_turn(e, "Batch");
    }
    uint32_t unasked = 0;
    if (batch_check(e->job, b) || take_stages(e, b->stages, &unasked, e->job)) {
        return refuse(e, FEWBIT__REASON__REASON_PROTOCOL);
    }
    if (trains) {
        send_activations(e, b, batch_train(e->job, b));
        e->pending_rows = b->count;
        return ENCODER_GO_ON;
    }
    batch_evaluate(e->job, b);
    if (b->phase == FEWBIT__PHASE__PHASE_HARD) {
        send_codes(e, e->job, MESSAGE_CODES, b->first, e->job->soft, b->count, unasked);
    } else {
        send_activations(e, b, e->job->soft);
    }
    return ENCODER_GO_ON;
}

static encoder_verdict on_gradients(encoder *e, const Fewbit__Gradients *g) {
    size_t bytes = (size_t)e->pending_rows * e->job->experiment.encoder.bits * sizeof(float);
    if (!e->pending_rows || g->step != e->job->step || g->count != e->pending_rows || g->values.len != bytes) {
        return refuse_out_of_turn(e, "Gradients");
    }
    memcpy(e->job->gradients, g->values.data, bytes);
    nn_net_backward(e->job->net, e->job->gradients);
    nn_optimiser_begin(&e->job->optimiser);
    nn_net_update(e->job->net, &e->job->optimiser);
    job_set_step(e->job, e->job->step + 1);
    if (e->job->experiment.training.average > 0) {
        nn_net_average(e->job->net, e->job->experiment.training.average, e->job->step);
    }
    e->pending_rows = 0;
    e->has_trained = true;
    return ENCODER_GO_ON;
}

/* A server that saves without training writes nothing: what it would save is there, or was not trained. */
static err save_job(encoder *e, uint8_t digest[SHA256_BYTES]) {
    job *j = e->job;
    if (!e->has_trained && !store_has(&j->store, j->step)) {
        return err_fail(ERR_INPUT, "nothing was trained since step %" PRIu64 " was restored or saved", j->step);
    }
    err failed = store_save(&j->store, j->step, j->net, &j->optimiser, digest);
    e->has_trained = e->has_trained && failed;
    return failed;
}

static encoder_verdict on_save(encoder *e, const Fewbit__Save *s) {
    if (s->step != e->job->step || e->mode != FEWBIT__MODE__MODE_TRAIN) {
        return refuse_out_of_turn(e, "Save");
    }
    uint8_t digest[SHA256_BYTES];
    Fewbit__Saved saved = FEWBIT__SAVED__INIT;
    saved.step = s->step;
    if (save_job(e, digest)) {
        log_limited(LOG_ERROR, 0, "checkpoint %" PRIu64 " is not written: %s", s->step, err_text());
        saved.error = (char *)(uintptr_t)err_text();
    } else {
        saved.digest = (ProtobufCBinaryData){SHA256_BYTES, digest};
    }
    tell(e, MESSAGE_SAVED, &saved.base);
    return ENCODER_GO_ON;
}

static encoder_verdict on_committed(encoder *e, const Fewbit__Committed *c) {
    if (e->mode != FEWBIT__MODE__MODE_TRAIN || c->n_keep > KEEP_MAX) {
        return refuse_out_of_turn(e, "Committed");
    }
    store_commit(&e->job->store, c->keep, c->n_keep);
    return ENCODER_GO_ON;
}

static encoder_verdict on_request(encoder *e, const Fewbit__Request *r) {
    if (e->mode != FEWBIT__MODE__MODE_SERVE || r->portion.len != e->elements) {
        return refuse_out_of_turn(e, "Request");
    }
    e->asked_of = e->is_switching ? e->next : e->job;
    job_load_inputs(e->asked_of, e->asked_count, r->portion.data, 1);
    e->asked[e->asked_count++] = r->id;
    if (e->asked_count == REQUESTS_AT_ONCE || e->asked_count == e->asked_of->net_rows) {
        encoder_settle(e);
    }
    return ENCODER_GO_ON;
}

static encoder_verdict on_refine_request(encoder *e, const Fewbit__RefineRequest *a) {
    if (!e->held || e->pending_rows) {
        return refuse_out_of_turn(e, "RefineRequest");
    }
    Fewbit__Refinement reply = FEWBIT__REFINEMENT__INIT;
    if (held_answer(e->held, a, &e->job->refinement, &reply)) {
        return refuse(e, FEWBIT__REASON__REASON_PROTOCOL);
    }
    tell(e, MESSAGE_REFINEMENT, &reply.base);
    return ENCODER_GO_ON;
}

static encoder_verdict on_begin(encoder *e, const Fewbit__Begin *b) {
    bool fits = e->mode == FEWBIT__MODE__MODE_SERVE && own_stream_begin(&e->stream, b);
    return fits ? ENCODER_GO_ON : refuse_out_of_turn(e, "Begin");
}

static encoder_verdict on_ack(encoder *e, const Fewbit__Ack *s) {
    uint64_t most = e->streamed - e->acked; /* untrusted */
    e->acked += s->samples < most ? s->samples : most;
    return ENCODER_GO_ON;
}

void encoder_settle(encoder *e) {
    if (e->asked_count == 0) {
        return;
    }
    job *j = e->asked_of;
    job_evaluate(j, 0, e->asked_count);
    for (uint32_t i = 0; i < e->asked_count; i++) {
        send_codes(e, j, MESSAGE_ANSWER, e->asked[i], j->soft + (size_t)i * j->experiment.encoder.bits, 1, j->unasked);
    }
    e->asked_count = 0;
}

static encoder_verdict on_refusal(const Fewbit__Refusal *r) {
    err_fail(ERR_REFUSED, "the server says: %s", r->text);
    switch (r->reason) {
    case FEWBIT__REASON__REASON_PORTION_TAKEN:
    case FEWBIT__REASON__REASON_BUSY:
    case FEWBIT__REASON__REASON_PROTOCOL:
        return ENCODER_RECONNECT;
    case FEWBIT__REASON__REASON_OVER:
        return ENCODER_OVER;
    default:
        return ENCODER_REFUSED;
    }
}

encoder_verdict encoder_receive(encoder *e, const message *m) {
    if (m->type != MESSAGE_REQUEST) {
        encoder_settle(e); /* nothing overtakes a request */
    }
    if (m->type == MESSAGE_REFUSAL) {
        return on_refusal(m->body.refusal);
    }
    if (m->type == MESSAGE_WELCOME) {
        return on_welcome(e, m->body.welcome);
    }
    if (m->type == MESSAGE_RESTORE && e->is_welcome) {
        return on_restore(e, m->body.restore);
    }
    if (!e->is_ready) {
        return refuse_out_of_turn(e, message_name((uint8_t)m->type));
    }
    switch (m->type) {
    case MESSAGE_BATCH:
        return on_batch(e, m->body.batch);
    case MESSAGE_GRADIENTS:
        return on_gradients(e, m->body.gradients);
    case MESSAGE_SAVE:
        return on_save(e, m->body.save);
    case MESSAGE_COMMITTED:
        return on_committed(e, m->body.committed);
    case MESSAGE_REQUEST:
        return on_request(e, m->body.request);
    case MESSAGE_REFINE_REQUEST:
        return on_refine_request(e, m->body.refine_request);
    case MESSAGE_ACK:
        return on_ack(e, m->body.ack);
    case MESSAGE_BEGIN:
        return on_begin(e, m->body.begin);
    case MESSAGE_STREAM_HOLD:
        own_stream_hold(&e->stream, m->body.stream_hold);
        return ENCODER_GO_ON;
    case MESSAGE_PREPARE:
        return on_prepare(e, m->body.prepare);
    case MESSAGE_SWITCH:
        return on_switch(e, m->body.switch_to);
    default:
        return refuse_out_of_turn(e, message_name((uint8_t)m->type));
    }
}

uint32_t encoder_heartbeat_ms(const encoder *e) {
    return e->heartbeat_ms;
}

bool encoder_may_push(const encoder *e) {
    bool awaits_switch = e->next && !e->is_switching;
    bool is_far_ahead = e->is_ready && e->job->unasked < e->job->refinement.count &&
                        e->streamed > e->acked + (HELD_PUSHED - ENCODER_ROWS);
    return e->is_ready && own_stream_may_push(&e->stream) && !awaits_switch && !is_far_ahead;
}

const own_stream *encoder_stream(const encoder *e) {
    return &e->stream;
}

void encoder_end_stream(encoder *e) {
    if (own_stream_end(&e->stream)) {
        Fewbit__StreamEnd over = FEWBIT__STREAM_END__INIT;
        tell(e, MESSAGE_STREAM_END, &over.base);
    }
}

bool encoder_may_be_asked(const encoder *e) {
    return e->is_ready && e->held && e->job->unasked < e->job->refinement.count && e->acked < e->streamed;
}

static void push_through(encoder *e, job *j, const uint8_t *portions, uint32_t count) {
    for (size_t done = 0, piece; done < count; done += piece) {
        piece = job_piece(j, count - done);
        job_load_inputs(j, 0, portions + done * e->elements, piece);
        job_evaluate(j, done, piece);
    }
    send_codes(e, j, MESSAGE_CODES, e->stream.next, j->soft, count, j->unasked);
    e->stream.next += count;
    e->streamed += count;
}

void encoder_push(encoder *e, const uint8_t *portions, uint32_t count) {
    encoder_settle(e);
    if (e->is_switching && e->stream.next < e->switch_from) {
        uint64_t left = e->switch_from - e->stream.next;
        uint32_t before = left < count ? (uint32_t)left : count;
        push_through(e, e->job, portions, before);
        portions += before * e->elements;
        count -= before;
    }
    if (e->is_switching && e->stream.next >= e->switch_from) {
        end_switch(e);
    }
    if (count > 0) {
        push_through(e, e->job, portions, count);
    }
}
