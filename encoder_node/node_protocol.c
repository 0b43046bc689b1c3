#include "encoder_node/node_protocol.h"

#include "base/log_limit.h"
#include "bits/pack.h"
#include "encoder_node/batch.h"
#include "encoder_node/refinement_buffer.h"
#include "experiment/serialize.h"
#include "nn/ema.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In a shorter frame coding saves less than its number and check cost. */
enum { CODED_BITS_MIN = 512 };
enum { REQUESTS_AT_ONCE = 64 };
/* Multiply-adds that take about 100 microseconds, and about a millisecond. */
enum { LONG_SERVING_MACS = 2 << 20, LONG_TRAINING_MACS = 20 << 20 };
enum { KEEP_MAX = 8 }; /* steps that a Committed keeps; servers keep two */

struct node_protocol {
    node_protocol_config config;
    node_protocol_host host;
    checkpoint_store_quota quota;
    size_t elements; /* of the portion */
    Fewbit__Mode mode;
    uint32_t heartbeat_ms;
    encoder_model *model;           /* NULL before the first Welcome */
    encoder_model *next;            /* the model to come, beside the one in use; NULL: none */
    bool is_switching;              /* live requests are for `next`, and so is what is streamed from `switch_from` on */
    uint64_t switch_from;           /* a sample's id */
    node_stream stream;             /* what it streams */
    refinement_buffer *refinements; /* codes of which more may be asked for; NULL: none yet */
    uint64_t streamed;              /* samples streamed since Ready, */
    uint64_t acked;                 /* and of those, answered for good */
    bool is_welcome, is_ready;
    bool has_trained;      /* since the weights were restored or saved */
    bool codes;            /* the server takes compressed codes, and this node sends them */
    uint32_t pending_rows; /* of the batch whose gradients are awaited; 0: none */
    /* Requests that are not answered yet; their portions are the first input rows of `asked_of`. */
    uint64_t asked[REQUESTS_AT_ONCE];
    uint32_t asked_count;
    encoder_model *asked_of;
};

err node_protocol_new(node_protocol **out, const node_protocol_config *config, const node_protocol_host *host) {
    node_protocol *p = calloc(1, sizeof *p);
    if (!p) {
        return err_fail(ERR_MEMORY, "no memory for a node");
    }
    p->config = *config;
    p->host = *host;
    p->quota.max_bytes = config->max_state ? config->max_state : UINT64_MAX;
    const portion_info *info = portion_get_info(config->data);
    p->stream.exists = config->streams;
    p->elements = (size_t)info->shape[0] * info->shape[1] * info->shape[2];
    *out = p;
    return ERR_OK;
}

static void drop_next(node_protocol *p) {
    encoder_model_free(p->next);
    p->next = NULL;
    p->is_switching = false;
}

static void drop_models(node_protocol *p) {
    drop_next(p);
    encoder_model_free(p->model);
    p->model = NULL;
}

/* The model to come is the one in use. */
static void end_switch(node_protocol *p) {
    encoder_model_free(p->model);
    p->model = p->next;
    p->next = NULL;
    p->is_switching = false;
}

void node_protocol_free(node_protocol *p) {
    if (p) {
        drop_models(p);
        refinement_buffer_free(p->refinements);
        free(p);
    }
}

static void tell(node_protocol *p, message_type type, const ProtobufCMessage *body) {
    p->host.send(p->host.context, type, body);
}

void node_protocol_connected(node_protocol *p) {
    const portion_info *info = portion_get_info(p->config.data);
    uint32_t shape[3];
    memcpy(shape, info->shape, sizeof shape);
    Fewbit__Hello hello = FEWBIT__HELLO__INIT;
    hello.protocol = MESSAGE_PROTOCOL;
    hello.name = (char *)(uintptr_t)p->config.name;
    hello.portion = info->index;
    hello.dataset = (char *)(uintptr_t)info->dataset;
    hello.partition = (char *)(uintptr_t)info->partition;
    hello.portions = info->portions;
    hello.n_shape = 3;
    hello.shape = shape;
    hello.train_samples = info->samples[DATASET_TRAIN];
    hello.test_samples = info->samples[DATASET_TEST];
    hello.digest = (char *)(uintptr_t)info->digest;
    hello.coding = p->config.coding;
    tell(p, MESSAGE_HELLO, &hello.base);
}

void node_protocol_disconnected(node_protocol *p) {
    p->asked_count = 0; /* nobody waits any more */
    if (p->is_switching) {
        end_switch(p);
    }
    drop_next(p);
    p->is_welcome = p->is_ready = false;
    node_stream_disconnected(&p->stream);
    p->pending_rows = 0;
    p->heartbeat_ms = 0;
    if (p->refinements) {
        refinement_buffer_clear(p->refinements);
    }
}

/* Tells the server why, and stops. */
static node_protocol_verdict refuse(node_protocol *p, Fewbit__Reason reason) {
    Fewbit__Refusal refusal = FEWBIT__REFUSAL__INIT;
    refusal.reason = reason;
    refusal.text = (char *)(uintptr_t)err_text();
    tell(p, MESSAGE_REFUSAL, &refusal.base);
    return reason == FEWBIT__REASON__REASON_PROTOCOL ? NODE_PROTOCOL_RECONNECT : NODE_PROTOCOL_REFUSED;
}

static node_protocol_verdict refuse_out_of_turn(node_protocol *p, const char *name) {
    err_fail(ERR_INPUT, "the server sent %s out of turn", name);
    return refuse(p, FEWBIT__REASON__REASON_PROTOCOL);
}

static encoder_model_config config_for(node_protocol *p, uint64_t run, uint64_t training, bool trains) {
    return (encoder_model_config){
        .data = p->config.data,
        .state = p->config.state,
        .quota = &p->quota,
        .max_memory = p->config.max_memory,
        .pool = p->config.pool,
        .run = run,
        .training = training,
        .trains = trains,
    };
}

static err take_model(node_protocol *p, const experiment *described, const Fewbit__Welcome *w) {
    drop_models(p);
    encoder_model_config config = config_for(p, w->run, w->training, w->mode == FEWBIT__MODE__MODE_TRAIN);
    return encoder_model_new(&p->model, described, &config);
}

static void agree_on_coding(node_protocol *p, const Fewbit__Welcome *w) {
    bool is_wanted = p->config.coding == FEWBIT__CODING__CODING_RANGE;
    p->codes = is_wanted && w->coding == FEWBIT__CODING__CODING_RANGE;
    code_compressor_reset(p->model->codes);
    if (is_wanted && !p->codes) {
        log_limited(LOG_WARN, "codes_sent_packed", 0,
                    "the server does not take range-compressed codes: they are sent packed");
    }
}

static node_protocol_verdict on_welcome(node_protocol *p, const Fewbit__Welcome *w) {
    if (p->is_welcome) {
        return refuse_out_of_turn(p, "Welcome");
    }
    if (w->protocol != MESSAGE_PROTOCOL) {
        err_fail(ERR_INPUT, "the server speaks protocol %u, this node %d", w->protocol, MESSAGE_PROTOCOL);
        return refuse(p, FEWBIT__REASON__REASON_VERSION);
    }
    experiment described;
    if (encoder_model_check(w->experiment, p->config.data, &described)) {
        return refuse(p, FEWBIT__REASON__REASON_DATA);
    }
    bool is_known = false;
    if (p->model && p->model->run == w->run && p->model->training == w->training && p->mode == w->mode &&
        experiment_compare(&p->model->experiment, &described, &is_known)) {
        return refuse(p, FEWBIT__REASON__REASON_DATA);
    }
    p->mode = w->mode;
    if (!is_known && take_model(p, &described, w)) {
        return refuse(p, FEWBIT__REASON__REASON_STORAGE);
    }
    p->heartbeat_ms = message_heartbeat_ms(w);
    p->is_welcome = true;
    agree_on_coding(p, w);
    log_limited(LOG_INFO, "welcomed", 0, "welcome to run %016" PRIx64 " (%s), %s", w->run, described.name,
                w->mode == FEWBIT__MODE__MODE_TRAIN ? "training" : "serving");
    return NODE_PROTOCOL_GO_ON;
}

/* How many stages of its codes a model sends unasked, as the server says: 0 is all. Those it keeps back need a place.
 */
static err take_stages(node_protocol *p, uint32_t asked, uint32_t *unasked, const encoder_model *m) {
    if (asked > m->refinement.count) {
        return err_fail(ERR_INPUT, "the server asks for %u stages of bits, there are %u", asked, m->refinement.count);
    }
    *unasked = asked ? asked : m->refinement.count;
    return *unasked == m->refinement.count || p->refinements ? ERR_OK : refinement_buffer_new(&p->refinements);
}

static node_protocol_verdict on_restore(node_protocol *p, const Fewbit__Restore *r) {
    p->pending_rows = 0;
    p->is_ready = p->has_trained = false;
    drop_next(p);
    if (r->fresh && p->model->trains) {
        encoder_model_init(p->model);
        encoder_model_set_step(p->model, r->step);
    } else if (encoder_model_load(p->model, r->step, r->digest.len == SHA256_BYTES ? r->digest.data : NULL)) {
        return refuse(p, FEWBIT__REASON__REASON_MODEL);
    }
    if (take_stages(p, r->stages, &p->model->unasked, p->model)) {
        return refuse(p, FEWBIT__REASON__REASON_PROTOCOL);
    }
    p->streamed = p->acked = 0;
    p->model->model = r->model ? r->model : (uint32_t)r->step;
    p->is_ready = true;
    Fewbit__Ready ready = FEWBIT__READY__INIT;
    ready.step = p->model->step;
    node_stream_describe(&p->stream, &ready);
    tell(p, MESSAGE_READY, &ready.base);
    return NODE_PROTOCOL_GO_ON;
}

/* Another model. */

static err load_next(node_protocol *p, const Fewbit__Prepare *prepare) {
    experiment described;
    encoder_model_config config = config_for(p, prepare->run, 0, false);
    err failed = encoder_model_check(prepare->experiment, p->config.data, &described);
    if (!failed && config.max_memory > 0) { /* both are there at a time */
        size_t here = encoder_model_bytes(p->model);
        config.max_memory = here < config.max_memory ? config.max_memory - here : 1;
    }
    failed = failed ? failed : encoder_model_new(&p->next, &described, &config);
    failed = failed ? failed
                    : encoder_model_load(p->next, prepare->step,
                                         prepare->digest.len == SHA256_BYTES ? prepare->digest.data : NULL);
    failed = failed ? failed : take_stages(p, prepare->stages, &p->next->unasked, p->next);
    if (failed) {
        drop_next(p);
        return failed;
    }
    p->next->model = prepare->model;
    return ERR_OK;
}

static node_protocol_verdict on_prepare(node_protocol *p, const Fewbit__Prepare *prepare) {
    if (p->model->trains || (p->next && !p->is_switching)) {
        return refuse_out_of_turn(p, "Prepare");
    }
    if (p->is_switching) {
        end_switch(p);
    }
    Fewbit__Prepared prepared = FEWBIT__PREPARED__INIT;
    prepared.model = prepare->model;
    prepared.next = p->stream.next;
    if (load_next(p, prepare)) {
        log_limited(LOG_ERROR, "model_load_failed", 0, "the model to come cannot be loaded: %s", err_text());
        prepared.error = (char *)(uintptr_t)err_text();
    }
    tell(p, MESSAGE_PREPARED, &prepared.base);
    return NODE_PROTOCOL_GO_ON;
}

static node_protocol_verdict on_switch(node_protocol *p, const Fewbit__Switch *s) {
    bool is_back = s->model == p->model->model;
    if (p->model->trains || (!is_back && (!p->next || s->model != p->next->model))) {
        return refuse_out_of_turn(p, "Switch");
    }
    if (is_back) {
        drop_next(p);
        return NODE_PROTOCOL_GO_ON;
    }
    if (!p->is_switching) {
        log_limited(LOG_INFO, "model_changing", 0, "changing to step %" PRIu64 " of run %016" PRIx64, p->next->step,
                    p->next->run);
    }
    p->is_switching = true;
    p->switch_from = s->from;
    if (p->stream.next >= s->from) {
        end_switch(p);
    }
    return NODE_PROTOCOL_GO_ON;
}

static uint32_t number_of(const encoder_model *m) {
    return m->trains ? (uint32_t)m->step : m->model;
}

/* The first stages of each code; the whole of it is kept for what may be asked. Returns the bits. */
static size_t pack_first_rounds(node_protocol *p, const encoder_model *m, bool live, uint64_t first, const float *soft,
                                uint32_t rows, uint32_t unasked) {
    uint32_t width = m->experiment.encoder.bits, upto = m->refinement.upto[unasked - 1];
    memset(m->packed, 0, pack_bytes((size_t)rows * upto));
    for (uint32_t i = 0; i < rows; i++) {
        uint64_t code = pack_code(soft + (size_t)i * width, width);
        pack_put(m->packed, (size_t)i * upto, upto, refinement_prefix(&m->refinement, unasked - 1, code));
        refinement_buffer_put(p->refinements, live, first + i, number_of(m), unasked, code);
    }
    return (size_t)rows * upto;
}

static void send_codes(node_protocol *p, const encoder_model *m, message_type type, uint64_t first, const float *soft,
                       uint32_t rows, uint32_t unasked) {
    size_t bits = (size_t)rows * m->experiment.encoder.bits;
    if (unasked < m->refinement.count) {
        bits = pack_first_rounds(p, m, type == MESSAGE_ANSWER, first, soft, rows, unasked);
    } else {
        pack_soft(soft, bits, m->packed);
    }
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    codes.model = number_of(m);
    codes.first = first;
    codes.more = rows - 1;
    if (p->codes && type == MESSAGE_CODES && unasked == m->refinement.count && bits >= CODED_BITS_MIN &&
        rows <= m->coded_rows) {
        code_compressor_frame f = {.model = codes.model, .first = first, .rows = rows};
        code_compressor_encode(m->codes, m->packed, &f);
        codes.sequence = f.sequence;
        codes.coded = (ProtobufCBinaryData){f.length, (uint8_t *)(uintptr_t)f.coded};
        codes.check = f.check;
    } else {
        codes.bits = (ProtobufCBinaryData){pack_bytes(bits), m->packed};
    }
    tell(p, type, &codes.base);
}

static void send_activations(node_protocol *p, const Fewbit__Batch *b, const float *soft) {
    size_t numbers = (size_t)b->count * p->model->experiment.encoder.bits;
    Fewbit__Activations a = FEWBIT__ACTIVATIONS__INIT;
    a.step = b->step;
    a.phase = b->phase;
    a.count = b->count;
    if (b->phase == FEWBIT__PHASE__PHASE_TRAIN && p->model->experiment.encoder.binarize == PRESET_STRAIGHT_THROUGH) {
        pack_soft(soft, numbers, p->model->packed);
        a.bits = (ProtobufCBinaryData){pack_bytes(numbers), p->model->packed};
    } else {
        a.soft = (ProtobufCBinaryData){numbers * sizeof(float), (uint8_t *)(uintptr_t)soft};
    }
    tell(p, MESSAGE_ACTIVATIONS, &a.base);
}

static node_protocol_verdict on_batch(node_protocol *p, const Fewbit__Batch *b) {
    bool trains = b->phase == FEWBIT__PHASE__PHASE_TRAIN;
    if (p->pending_rows || p->mode != FEWBIT__MODE__MODE_TRAIN || (trains && b->step != p->model->step)) {
        return refuse_out_of_turn(p, "Batch");
    }
    uint32_t unasked = 0;
    if (batch_check(p->model, b) || take_stages(p, b->stages, &unasked, p->model)) {
        return refuse(p, FEWBIT__REASON__REASON_PROTOCOL);
    }
    if (trains) {
        send_activations(p, b, batch_train(p->model, b));
        p->pending_rows = b->count;
        return NODE_PROTOCOL_GO_ON;
    }
    batch_evaluate(p->model, b);
    if (b->phase == FEWBIT__PHASE__PHASE_HARD) {
        send_codes(p, p->model, MESSAGE_CODES, b->first, p->model->soft, b->count, unasked);
    } else {
        send_activations(p, b, p->model->soft);
    }
    return NODE_PROTOCOL_GO_ON;
}

static node_protocol_verdict on_gradients(node_protocol *p, const Fewbit__Gradients *g) {
    size_t bytes = (size_t)p->pending_rows * p->model->experiment.encoder.bits * sizeof(float);
    if (!p->pending_rows || g->step != p->model->step || g->count != p->pending_rows || g->values.len != bytes) {
        return refuse_out_of_turn(p, "Gradients");
    }
    memcpy(p->model->gradients, g->values.data, bytes);
    nn_net_backward(p->model->net, p->model->gradients);
    nn_optimiser_begin(&p->model->optimiser);
    nn_net_update(p->model->net, &p->model->optimiser);
    encoder_model_set_step(p->model, p->model->step + 1);
    if (p->model->experiment.training.ema_decay > 0) {
        nn_net_update_ema(p->model->net, p->model->experiment.training.ema_decay, p->model->step);
    }
    p->pending_rows = 0;
    p->has_trained = true;
    return NODE_PROTOCOL_GO_ON;
}

/* A server that saves without training writes nothing: what it would save is there, or was not trained. */
static err save_model(node_protocol *p, uint8_t digest[SHA256_BYTES]) {
    encoder_model *m = p->model;
    if (!p->has_trained && !checkpoint_store_has(&m->store, m->step)) {
        return err_fail(ERR_INPUT, "nothing was trained since step %" PRIu64 " was restored or saved", m->step);
    }
    err failed = checkpoint_store_save(&m->store, m->step, m->net, &m->optimiser, digest);
    p->has_trained = p->has_trained && failed;
    return failed;
}

static node_protocol_verdict on_save(node_protocol *p, const Fewbit__Save *s) {
    if (s->step != p->model->step || p->mode != FEWBIT__MODE__MODE_TRAIN) {
        return refuse_out_of_turn(p, "Save");
    }
    uint8_t digest[SHA256_BYTES];
    Fewbit__Saved saved = FEWBIT__SAVED__INIT;
    saved.step = s->step;
    if (save_model(p, digest)) {
        log_limited(LOG_ERROR, "checkpoint_failed", 0, "checkpoint %" PRIu64 " is not written: %s", s->step,
                    err_text());
        saved.error = (char *)(uintptr_t)err_text();
    } else {
        saved.digest = (ProtobufCBinaryData){SHA256_BYTES, digest};
    }
    tell(p, MESSAGE_SAVED, &saved.base);
    return NODE_PROTOCOL_GO_ON;
}

static node_protocol_verdict on_committed(node_protocol *p, const Fewbit__Committed *c) {
    if (p->mode != FEWBIT__MODE__MODE_TRAIN || c->n_keep > KEEP_MAX) {
        return refuse_out_of_turn(p, "Committed");
    }
    checkpoint_store_commit(&p->model->store, c->keep, c->n_keep);
    return NODE_PROTOCOL_GO_ON;
}

static node_protocol_verdict on_request(node_protocol *p, const Fewbit__Request *r) {
    if (p->mode != FEWBIT__MODE__MODE_SERVE || r->portion.len != p->elements) {
        return refuse_out_of_turn(p, "Request");
    }
    p->asked_of = p->is_switching ? p->next : p->model;
    encoder_model_load_inputs(p->asked_of, p->asked_count, r->portion.data, 1);
    p->asked[p->asked_count++] = r->id;
    if (p->asked_count == REQUESTS_AT_ONCE || p->asked_count == p->asked_of->net_rows) {
        node_protocol_flush(p);
    }
    return NODE_PROTOCOL_GO_ON;
}

static node_protocol_verdict on_refine_request(node_protocol *p, const Fewbit__RefineRequest *a) {
    if (!p->refinements || p->pending_rows) {
        return refuse_out_of_turn(p, "RefineRequest");
    }
    Fewbit__Refinement reply = FEWBIT__REFINEMENT__INIT;
    if (refinement_buffer_answer(p->refinements, a, &p->model->refinement, &reply)) {
        return refuse(p, FEWBIT__REASON__REASON_PROTOCOL);
    }
    tell(p, MESSAGE_REFINEMENT, &reply.base);
    return NODE_PROTOCOL_GO_ON;
}

static node_protocol_verdict on_begin(node_protocol *p, const Fewbit__Begin *b) {
    bool fits = p->mode == FEWBIT__MODE__MODE_SERVE && node_stream_begin(&p->stream, b);
    return fits ? NODE_PROTOCOL_GO_ON : refuse_out_of_turn(p, "Begin");
}

static node_protocol_verdict on_ack(node_protocol *p, const Fewbit__Ack *s) {
    uint64_t most = p->streamed - p->acked; /* untrusted */
    p->acked += s->samples < most ? s->samples : most;
    return NODE_PROTOCOL_GO_ON;
}

void node_protocol_flush(node_protocol *p) {
    if (p->asked_count == 0) {
        return;
    }
    encoder_model *m = p->asked_of;
    encoder_model_evaluate(m, 0, p->asked_count);
    for (uint32_t i = 0; i < p->asked_count; i++) {
        send_codes(p, m, MESSAGE_ANSWER, p->asked[i], m->soft + (size_t)i * m->experiment.encoder.bits, 1, m->unasked);
    }
    p->asked_count = 0;
}

bool node_protocol_samples_are_long(const node_protocol *p, uint32_t count) {
    return p->model && count * encoder_model_macs(p->model) > LONG_SERVING_MACS;
}

bool node_protocol_flush_is_long(const node_protocol *p) {
    return p->asked_count > 0 && p->asked_count * encoder_model_macs(p->asked_of) > LONG_SERVING_MACS;
}

static bool request_is_long(const node_protocol *p) {
    const encoder_model *m = p->is_switching ? p->next : p->model;
    uint32_t count = p->asked_count + 1;
    bool is_full = count == REQUESTS_AT_ONCE || count == m->net_rows;
    return is_full && count * encoder_model_macs(m) > LONG_SERVING_MACS;
}

bool node_protocol_is_long(const node_protocol *p, const message *m) {
    switch (m->type) {
    case MESSAGE_WELCOME:
    case MESSAGE_RESTORE:
    case MESSAGE_SAVE:
    case MESSAGE_COMMITTED:
    case MESSAGE_PREPARE:
        return true;
    case MESSAGE_REQUEST:
        return p->is_ready && request_is_long(p);
    case MESSAGE_BATCH:
        return p->is_ready && m->body.batch->count * encoder_model_macs(p->model) > LONG_TRAINING_MACS;
    case MESSAGE_GRADIENTS:
        return p->is_ready && p->pending_rows * 2 * encoder_model_macs(p->model) > LONG_TRAINING_MACS;
    default:
        return node_protocol_flush_is_long(p);
    }
}

static node_protocol_verdict on_refusal(const Fewbit__Refusal *r) {
    err_fail(ERR_REFUSED, "the server says: %s", r->text);
    switch (r->reason) {
    case FEWBIT__REASON__REASON_PORTION_TAKEN:
    case FEWBIT__REASON__REASON_BUSY:
    case FEWBIT__REASON__REASON_PROTOCOL:
        return NODE_PROTOCOL_RECONNECT;
    case FEWBIT__REASON__REASON_OVER:
        return NODE_PROTOCOL_OVER;
    default:
        return NODE_PROTOCOL_REFUSED;
    }
}

node_protocol_verdict node_protocol_receive(node_protocol *p, const message *got) {
    if (got->type != MESSAGE_REQUEST) {
        node_protocol_flush(p); /* nothing overtakes a request */
    }
    if (got->type == MESSAGE_REFUSAL) {
        return on_refusal(got->body.refusal);
    }
    if (got->type == MESSAGE_WELCOME) {
        return on_welcome(p, got->body.welcome);
    }
    if (got->type == MESSAGE_RESTORE && p->is_welcome) {
        return on_restore(p, got->body.restore);
    }
    if (!p->is_ready) {
        return refuse_out_of_turn(p, message_name((uint8_t)got->type));
    }
    switch (got->type) {
    case MESSAGE_BATCH:
        return on_batch(p, got->body.batch);
    case MESSAGE_GRADIENTS:
        return on_gradients(p, got->body.gradients);
    case MESSAGE_SAVE:
        return on_save(p, got->body.save);
    case MESSAGE_COMMITTED:
        return on_committed(p, got->body.committed);
    case MESSAGE_REQUEST:
        return on_request(p, got->body.request);
    case MESSAGE_REFINE_REQUEST:
        return on_refine_request(p, got->body.refine_request);
    case MESSAGE_ACK:
        return on_ack(p, got->body.ack);
    case MESSAGE_BEGIN:
        return on_begin(p, got->body.begin);
    case MESSAGE_STREAM_HOLD:
        node_stream_hold(&p->stream, got->body.stream_hold);
        return NODE_PROTOCOL_GO_ON;
    case MESSAGE_PREPARE:
        return on_prepare(p, got->body.prepare);
    case MESSAGE_SWITCH:
        return on_switch(p, got->body.switch_to);
    default:
        return refuse_out_of_turn(p, message_name((uint8_t)got->type));
    }
}

uint32_t node_protocol_heartbeat_ms(const node_protocol *p) {
    return p->heartbeat_ms;
}

bool node_protocol_may_stream(const node_protocol *p) {
    bool awaits_switch = p->next && !p->is_switching;
    bool is_far_ahead = p->is_ready && p->model->unasked < p->model->refinement.count &&
                        p->streamed > p->acked + (REFINEMENT_BUFFER_STREAMED - NODE_PROTOCOL_ROWS);
    return p->is_ready && node_stream_may_send(&p->stream) && !awaits_switch && !is_far_ahead;
}

const node_stream *node_protocol_stream(const node_protocol *p) {
    return &p->stream;
}

void node_protocol_end_stream(node_protocol *p) {
    if (node_stream_end(&p->stream)) {
        Fewbit__StreamEnd over = FEWBIT__STREAM_END__INIT;
        tell(p, MESSAGE_STREAM_END, &over.base);
    }
}

bool node_protocol_may_be_refined(const node_protocol *p) {
    return p->is_ready && p->refinements && p->model->unasked < p->model->refinement.count && p->acked < p->streamed;
}

static void encode_and_send(node_protocol *p, encoder_model *m, const uint8_t *portions, uint32_t count) {
    for (size_t done = 0, piece; done < count; done += piece) {
        piece = encoder_model_piece(m, count - done);
        encoder_model_load_inputs(m, 0, portions + done * p->elements, piece);
        encoder_model_evaluate(m, done, piece);
    }
    send_codes(p, m, MESSAGE_CODES, p->stream.next, m->soft, count, m->unasked);
    p->stream.next += count;
    p->streamed += count;
}

void node_protocol_send_samples(node_protocol *p, const uint8_t *portions, uint32_t count) {
    node_protocol_flush(p);
    if (p->is_switching && p->stream.next < p->switch_from) {
        uint64_t left = p->switch_from - p->stream.next;
        uint32_t before = left < count ? (uint32_t)left : count;
        encode_and_send(p, p->model, portions, before);
        portions += before * p->elements;
        count -= before;
    }
    if (p->is_switching && p->stream.next >= p->switch_from) {
        end_switch(p);
    }
    if (count > 0) {
        encode_and_send(p, p->model, portions, count);
    }
}
