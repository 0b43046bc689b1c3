#include "encoder_node/encoder.h"

#include "base/cursor.h"
#include "base/log.h"
#include "base/rng.h"
#include "bits/pack.h"
#include "data/inputs.h"
#include "encoder_node/store.h"
#include "experiment/experiment.h"
#include "nn/rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct encoder {
    encoder_config config;
    encoder_host host;
    size_t elements; /* of the portion */
    experiment job;
    split split;
    uint64_t run;
    Fewbit__Mode mode;
    uint32_t heartbeat_ms;
    store store;
    nn_net *net; /* NULL before the first Welcome */
    nn_optimiser optimiser;
    size_t net_rows; /* what the net takes at once; a longer evaluation is cut into pieces of that */
    size_t max_rows; /* of a message */
    arena buffers;
    float *inputs;      /* [net_rows, elements] */
    float *gradients;   /* [net_rows, bits] */
    float *soft;        /* [max_rows, bits]: what an evaluation put out */
    uint8_t *packed;    /* [max_rows * bits] bits */
    uint8_t *distorted; /* one portion */
    uint64_t step;      /* of the weights */
    bool is_welcome, is_ready, has_begun;
    uint32_t pending_rows; /* of the batch whose gradients are awaited; 0: none */
};

err encoder_new(encoder **out, const encoder_config *config, const encoder_host *host) {
    encoder *e = calloc(1, sizeof *e);
    if (!e) {
        return err_fail(ERR_MEMORY, "no memory for an encoder");
    }
    e->config = *config;
    e->host = *host;
    const portion_info *info = portion_about(config->data);
    e->elements = (size_t)info->shape[0] * info->shape[1] * info->shape[2];
    *out = e;
    return ERR_OK;
}

static void drop_net(encoder *e) {
    nn_net_free(e->net);
    arena_free(&e->buffers);
    e->net = NULL;
}

void encoder_free(encoder *e) {
    if (e) {
        drop_net(e);
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
    hello.split = (char *)(uintptr_t)info->split;
    hello.portions = info->portions;
    hello.n_shape = 3;
    hello.shape = shape;
    hello.train_samples = info->samples[DATASET_TRAIN];
    hello.test_samples = info->samples[DATASET_TEST];
    hello.digest = (char *)(uintptr_t)info->digest;
    tell(e, MESSAGE_HELLO, &hello.base);
}

void encoder_disconnected(encoder *e) {
    e->is_welcome = e->is_ready = e->has_begun = false;
    e->pending_rows = 0;
    e->heartbeat_ms = 0;
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

static err check_job(const encoder *e, const experiment *job, const split *s) {
    const portion_info *info = portion_about(e->config.data);
    uint32_t shape[3];
    split_portion_shape(s, shape);
    if (strcmp(job->data.set, info->dataset) != 0 || strcmp(split_name(s->kind), info->split) != 0 ||
        s->portions != info->portions || memcmp(shape, info->shape, sizeof shape) != 0) {
        return err_fail(ERR_INPUT,
                        "the experiment wants %s parted in %u %s of %ux%ux%u, this node's data is %s parted in %u %s "
                        "of %ux%ux%u",
                        job->data.set, s->portions, split_name(s->kind), shape[0], shape[1], shape[2], info->dataset,
                        info->portions, info->split, info->shape[0], info->shape[1], info->shape[2]);
    }
    return ERR_OK;
}

static err plan_buffers(encoder *e) {
    size_t bits = e->job.encoder.bits;
    size_t inputs = e->net_rows * e->elements * sizeof(float), gradients = e->net_rows * bits * sizeof(float);
    size_t soft = e->max_rows * bits * sizeof(float), packed = pack_bytes(e->max_rows * bits);
    err failed = arena_init(&e->buffers, arena_rounded(inputs) + arena_rounded(gradients) + arena_rounded(soft) +
                                             arena_rounded(packed) + arena_rounded(e->elements));
    if (!failed) {
        e->inputs = arena_take(&e->buffers, inputs);
        e->gradients = arena_take(&e->buffers, gradients);
        e->soft = arena_take(&e->buffers, soft);
        e->packed = arena_take(&e->buffers, packed);
        e->distorted = arena_take(&e->buffers, e->elements);
    }
    return failed;
}

static err take_job(encoder *e, const experiment *job, const split *s, Fewbit__Mode mode) {
    drop_net(e);
    e->job = *job;
    e->split = *s;
    e->mode = mode;
    nn_spec spec;
    experiment_describe_encoder(job, s, &spec);
    e->max_rows = job->training.batch > ENCODER_ROWS ? job->training.batch : ENCODER_ROWS;
    e->net_rows = nn_rows_at_once(&spec, job->training.batch, ENCODER_ROWS);
    nn_net_options options = {
        .max_rows = e->net_rows,
        .training = mode == FEWBIT__MODE__MODE_TRAIN,
        .precision = job->training.precision,
    };
    err failed = nn_net_new(&e->net, &spec, &options);
    failed = failed ? failed : plan_buffers(e);
    return failed ? failed : store_open(&e->store, e->config.state, e->run, portion_about(e->config.data)->index);
}

static encoder_verdict on_welcome(encoder *e, const Fewbit__Welcome *w) {
    if (e->is_welcome) {
        return refuse_out_of_turn(e, "Welcome");
    }
    if (w->protocol != MESSAGE_PROTOCOL) {
        err_fail(ERR_INPUT, "the server speaks protocol %u, this node %d", w->protocol, MESSAGE_PROTOCOL);
        return refuse(e, FEWBIT__REASON__REASON_VERSION);
    }
    experiment job;
    split s;
    uint32_t classes;
    size_t length = strlen(w->experiment);
    err failed = length <= EXPERIMENT_TEXT_MAX
                     ? experiment_parse("the server's experiment", w->experiment, length, &job)
                     : err_fail(ERR_INPUT, "the server's experiment has %zu bytes, more than a resolved one", length);
    failed = failed ? failed : experiment_split(&job, &s, &classes);
    failed = failed ? failed : check_job(e, &job, &s);
    if (failed) {
        return refuse(e, FEWBIT__REASON__REASON_DATA);
    }
    bool is_known = e->net && e->run == w->run && e->mode == w->mode;
    e->run = w->run;
    failed = is_known ? ERR_OK : take_job(e, &job, &s, w->mode);
    if (failed) {
        drop_net(e);
        return refuse(e, FEWBIT__REASON__REASON_STORAGE);
    }
    e->heartbeat_ms = w->heartbeat_ms < 100 ? 100 : w->heartbeat_ms > 60000 ? 60000 : w->heartbeat_ms;
    e->is_welcome = true;
    log_info("welcome to run %016" PRIx64 " (%s), %s", e->run, job.name,
             w->mode == FEWBIT__MODE__MODE_TRAIN ? "training" : "serving");
    return ENCODER_GO_ON;
}

static encoder_verdict on_restore(encoder *e, const Fewbit__Restore *r) {
    e->pending_rows = 0;
    e->is_ready = false;
    bool trains = e->mode == FEWBIT__MODE__MODE_TRAIN;
    const portion_info *info = portion_about(e->config.data);
    e->optimiser = experiment_optimiser(&e->job, experiment_train_samples(&e->job, info->samples[DATASET_TRAIN]));
    if (r->fresh && trains) {
        nn_net_init(e->net, e->job.training.seed, rng_stream(RNG_INIT_ENCODER, info->index));
    } else {
        const uint8_t *digest = r->digest.len == DIGEST_BYTES ? r->digest.data : NULL;
        if (store_load(&e->store, r->step, e->net, trains ? &e->optimiser : NULL, digest)) {
            return refuse(e, FEWBIT__REASON__REASON_MODEL);
        }
    }
    if (!trains) {
        nn_net_freeze(e->net);
    }
    e->step = r->step;
    e->is_ready = true;
    Fewbit__Ready ready = FEWBIT__READY__INIT;
    ready.step = e->step;
    tell(e, MESSAGE_READY, &ready.base);
    return ENCODER_GO_ON;
}

/* portions [count, elements] -> input rows from `row` on, scaled as the experiment says. */
static void load_inputs(encoder *e, size_t row, const uint8_t *portions, size_t count) {
    inputs_from(portions, e->inputs + row * e->elements, count * e->elements, e->job.data.mean, e->job.data.deviation);
}

static enum dataset_part part_of(const Fewbit__Batch *b) {
    return b->part == FEWBIT__PART__PART_TEST ? DATASET_TEST : DATASET_TRAIN;
}

static err check_batch(const encoder *e, const Fewbit__Batch *b) {
    uint32_t samples = portion_about(e->config.data)->samples[part_of(b)];
    size_t most = b->phase == FEWBIT__PHASE__PHASE_TRAIN ? e->net_rows : e->max_rows;
    bool listed = b->ids.len > 0;
    if (b->count == 0 || b->count > most || (listed && b->ids.len != (size_t)b->count * 4) ||
        (!listed && (b->first > samples || b->count > samples - b->first))) {
        return err_fail(ERR_INPUT, "the server's batch of %u samples does not fit", b->count);
    }
    cursor ids = cursor_over(b->ids.data, b->ids.len);
    for (uint32_t i = 0; listed && i < b->count; i++) {
        uint32_t id = cursor_u32_le(&ids);
        if (id >= samples) {
            return err_fail(ERR_INPUT, "the server asks for sample %u of %u", id, samples);
        }
    }
    return ERR_OK;
}

/* Distorts the portion of one training sample, where the experiment says so, on its way into the input buffer. */
static void load_distorted(encoder *e, const Fewbit__Batch *b, size_t row, const uint8_t *portion) {
    augment_map map = augment_draw(&e->job.augment, &e->split, e->job.training.seed, (uint32_t)b->step, (uint32_t)row);
    augment_portion(&e->split, portion_about(e->config.data)->index, &map, portion, e->distorted);
    load_inputs(e, row, e->distorted, 1);
}

/* Gathers `count` of the samples that a Batch names, from number `first` of it on, into the input buffer. */
static void gather(encoder *e, const Fewbit__Batch *b, size_t first, size_t count) {
    bool listed = b->ids.len > 0;
    cursor ids = cursor_over(b->ids.data, b->ids.len);
    cursor_bytes(&ids, listed ? 4 * first : 0);
    for (size_t i = 0; i < count; i++) {
        uint32_t id = listed ? cursor_u32_le(&ids) : b->first + (uint32_t)(first + i);
        const uint8_t *portion = portion_sample(e->config.data, part_of(b), id);
        if (b->phase == FEWBIT__PHASE__PHASE_TRAIN && augment_is_any(&e->job.augment)) {
            load_distorted(e, b, i, portion);
        } else {
            load_inputs(e, i, portion, 1);
        }
    }
}

/* How many of `left` rows the net takes now. */
static size_t piece_of(const encoder *e, size_t left) {
    return left < e->net_rows ? left : e->net_rows;
}

/* Puts the soft outputs of what is in the input buffer behind the first `done` ones. */
static void evaluate(encoder *e, size_t done, size_t count) {
    size_t bits = e->job.encoder.bits;
    memcpy(e->soft + done * bits, nn_net_forward(e->net, e->inputs, count, NN_EVALUATE), count * bits * sizeof(float));
}

static void send_codes(encoder *e, message_type type, uint64_t first, const float *soft, uint32_t rows) {
    size_t bits = (size_t)rows * e->job.encoder.bits;
    pack_soft(soft, bits, e->packed);
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    codes.model = (uint32_t)e->step;
    codes.first = first;
    codes.more = rows - 1;
    codes.bits = (ProtobufCBinaryData){pack_bytes(bits), e->packed};
    tell(e, type, &codes.base);
}

static void send_activations(encoder *e, const Fewbit__Batch *b, const float *soft) {
    size_t numbers = (size_t)b->count * e->job.encoder.bits;
    Fewbit__Activations a = FEWBIT__ACTIVATIONS__INIT;
    a.step = b->step;
    a.phase = b->phase;
    a.count = b->count;
    if (b->phase == FEWBIT__PHASE__PHASE_TRAIN && e->job.encoder.decision == ZOO_STRAIGHT_THROUGH) {
        pack_soft(soft, numbers, e->packed);
        a.bits = (ProtobufCBinaryData){pack_bytes(numbers), e->packed};
    } else {
        a.soft = (ProtobufCBinaryData){numbers * sizeof(float), (uint8_t *)(uintptr_t)soft};
    }
    tell(e, MESSAGE_ACTIVATIONS, &a.base);
}

/* The first half of a step; the gradients bring the other. */
static void train_on(encoder *e, const Fewbit__Batch *b) {
    gather(e, b, 0, b->count);
    nn_net_set_step(e->net, e->job.training.seed, rng_stream(RNG_DROPOUT, portion_about(e->config.data)->index),
                    (uint32_t)b->step);
    send_activations(e, b, nn_net_forward(e->net, e->inputs, b->count, NN_TRAIN));
    e->pending_rows = b->count;
}

static encoder_verdict on_batch(encoder *e, const Fewbit__Batch *b) {
    bool trains = b->phase == FEWBIT__PHASE__PHASE_TRAIN;
    if (e->pending_rows || e->mode != FEWBIT__MODE__MODE_TRAIN || (trains && b->step != e->step)) {
        return refuse_out_of_turn(e, "Batch");
    }
    if (check_batch(e, b)) {
        return refuse(e, FEWBIT__REASON__REASON_PROTOCOL);
    }
    if (trains) {
        train_on(e, b);
        return ENCODER_GO_ON;
    }
    for (size_t done = 0, piece; done < b->count; done += piece) {
        piece = piece_of(e, b->count - done);
        gather(e, b, done, piece);
        evaluate(e, done, piece);
    }
    if (b->phase == FEWBIT__PHASE__PHASE_HARD) {
        send_codes(e, MESSAGE_CODES, b->first, e->soft, b->count);
    } else {
        send_activations(e, b, e->soft);
    }
    return ENCODER_GO_ON;
}

static encoder_verdict on_gradients(encoder *e, const Fewbit__Gradients *g) {
    size_t bytes = (size_t)e->pending_rows * e->job.encoder.bits * sizeof(float);
    if (!e->pending_rows || g->step != e->step || g->count != e->pending_rows || g->values.len != bytes) {
        return refuse_out_of_turn(e, "Gradients");
    }
    memcpy(e->gradients, g->values.data, bytes);
    nn_net_backward(e->net, e->gradients);
    nn_optimiser_begin(&e->optimiser);
    nn_net_update(e->net, &e->optimiser);
    e->step++;
    e->pending_rows = 0;
    return ENCODER_GO_ON;
}

static encoder_verdict on_save(encoder *e, const Fewbit__Save *s) {
    if (s->step != e->step || e->mode != FEWBIT__MODE__MODE_TRAIN) {
        return refuse_out_of_turn(e, "Save");
    }
    uint8_t digest[DIGEST_BYTES];
    Fewbit__Saved saved = FEWBIT__SAVED__INIT;
    saved.step = s->step;
    if (store_save(&e->store, s->step, e->net, &e->optimiser, digest)) {
        log_error("checkpoint %" PRIu64 " is not written: %s", s->step, err_text());
        saved.error = (char *)(uintptr_t)err_text();
    } else {
        saved.digest = (ProtobufCBinaryData){DIGEST_BYTES, digest};
    }
    tell(e, MESSAGE_SAVED, &saved.base);
    return ENCODER_GO_ON;
}

static encoder_verdict on_request(encoder *e, const Fewbit__Request *r) {
    if (e->mode != FEWBIT__MODE__MODE_SERVE || r->portion.len != e->elements) {
        return refuse_out_of_turn(e, "Request");
    }
    load_inputs(e, 0, r->portion.data, 1);
    send_codes(e, MESSAGE_ANSWER, r->id, nn_net_forward(e->net, e->inputs, 1, NN_EVALUATE), 1);
    return ENCODER_GO_ON;
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
        store_prune(&e->store, m->body.committed->keep, m->body.committed->n_keep);
        return ENCODER_GO_ON;
    case MESSAGE_REQUEST:
        return on_request(e, m->body.request);
    case MESSAGE_BEGIN:
        e->has_begun = true;
        return ENCODER_GO_ON;
    default:
        return refuse_out_of_turn(e, message_name((uint8_t)m->type));
    }
}

uint32_t encoder_heartbeat_ms(const encoder *e) {
    return e->heartbeat_ms;
}

bool encoder_may_push(const encoder *e) {
    return e->is_ready && e->has_begun && e->mode == FEWBIT__MODE__MODE_SERVE;
}

void encoder_push(encoder *e, uint64_t first, const uint8_t *portions, uint32_t count) {
    for (size_t done = 0, piece; done < count; done += piece) {
        piece = piece_of(e, count - done);
        load_inputs(e, 0, portions + done * e->elements, piece);
        evaluate(e, done, piece);
    }
    send_codes(e, MESSAGE_CODES, first, e->soft, count);
}
