#include "encoder_node/node_protocol.h"

#include "base/log_limit.h"
#include "encoder_node/node_align.h"
#include "encoder_node/node_train.h"
#include "experiment/serialize.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Multiply-adds that take about 10 milliseconds. What takes less is not worth two changes of threads: a node has one
 * server, which waits for it. */
enum { LONG_MACS = 200 << 20 };

struct node_protocol {
    node_protocol_config config;
    encoder_model_config models; /* of every model, but for whose it is */
    checkpoint_store_quota quota;
    Fewbit__Mode mode;
    uint32_t heartbeat_ms;
    bool is_welcome;
    code_sender sender;
    node_align *align;
    node_train train;
    node_serve serve; /* has the models */
    request_input *input;
    offered_ids offered;
};

err node_protocol_new(node_protocol **out, const node_protocol_config *config, const node_host *host) {
    node_protocol *p = calloc(1, sizeof *p);
    if (!p) {
        return err_fail(ERR_MEMORY, "no memory for a node");
    }
    p->config = *config;
    p->models = (encoder_model_config){.data = config->data,
                                       .state = config->state,
                                       .quota = &p->quota,
                                       .max_memory = config->max_memory,
                                       .pool = config->pool};
    p->quota.max_bytes = config->max_state ? config->max_state : UINT64_MAX;
    p->sender.host = *host;
    p->train.sender = p->serve.sender = &p->sender;
    p->serve.stream.exists = config->streams;
    offered_ids_choose(&p->offered, config->data, config->offers_listed);
    err e = request_input_new(&p->input, config->data);
    p->serve.input = p->input;
    const portion_info *info = portion_get_info(config->data);
    const sample_ids *ids = portion_get_ids(config->data);
    e = e ? e : node_align_new(&p->align, ids, info->samples, config->pool, &p->sender.host);
    if (e) {
        node_protocol_free(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

void node_protocol_free(node_protocol *p) {
    if (p) {
        node_serve_free(&p->serve);
        code_sender_free(&p->sender);
        request_input_free(p->input);
        node_align_free(p->align);
        free(p);
    }
}

void node_protocol_connected(node_protocol *p) {
    const portion_info *info = portion_get_info(p->config.data);
    uint32_t shape[PORTION_RANK_MAX];
    memcpy(shape, info->shape.dims, sizeof shape);
    Fewbit__Hello hello = FEWBIT__HELLO__INIT;
    hello.protocol = MESSAGE_PROTOCOL;
    hello.name = (char *)(uintptr_t)p->config.name;
    hello.portion = (char *)(uintptr_t)info->name;
    hello.dataset = (char *)(uintptr_t)info->dataset;
    hello.type = (char *)(uintptr_t)portion_type_name(info->shape.type);
    hello.n_shape = info->shape.rank;
    hello.shape = shape;
    hello.train_samples = info->samples[DATASET_TRAIN];
    hello.validation_samples = info->validation;
    hello.test_samples = info->samples[DATASET_TEST];
    hello.ids_digest = (char *)(uintptr_t)info->ids_digest;
    hello.digest = (char *)(uintptr_t)info->digest;
    hello.coding = p->config.coding;
    node_host_send(&p->sender.host, MESSAGE_HELLO, &hello.base);
}

void node_protocol_disconnected(node_protocol *p) {
    node_serve_disconnected(&p->serve);
    code_sender_disconnected(&p->sender);
    node_align_disconnected(p->align);
    if (p->serve.model) {
        encoder_model_set_rows(p->serve.model, NULL);
    }
    p->train.pending_rows = 0;
    p->is_welcome = false;
    p->heartbeat_ms = 0;
}

/* Tells the server why, and stops. */
static node_protocol_verdict refuse(node_protocol *p, Fewbit__Reason reason) {
    Fewbit__Refusal refusal = FEWBIT__REFUSAL__INIT;
    refusal.reason = reason;
    refusal.text = (char *)(uintptr_t)err_text();
    node_host_send(&p->sender.host, MESSAGE_REFUSAL, &refusal.base);
    return reason == FEWBIT__REASON__REASON_PROTOCOL ? NODE_PROTOCOL_RECONNECT : NODE_PROTOCOL_REFUSED;
}

static node_protocol_verdict refuse_out_of_turn(node_protocol *p, const char *name) {
    node_host_out_of_turn(name);
    return refuse(p, FEWBIT__REASON__REASON_PROTOCOL);
}

static err take_model(node_protocol *p, const experiment *described, const Fewbit__Welcome *w) {
    encoder_model *m = NULL;
    node_serve_set_model(&p->serve, NULL);
    encoder_model_config config = p->models;
    config.run = w->run;
    config.training = w->training;
    config.trains = w->mode == FEWBIT__MODE__MODE_TRAIN;
    err e = encoder_model_new(&m, described, &config);
    node_serve_set_model(&p->serve, m);
    return e;
}

static void agree_on_coding(node_protocol *p, const Fewbit__Welcome *w) {
    bool is_wanted = p->config.coding == FEWBIT__CODING__CODING_RANGE;
    p->sender.compresses = is_wanted && w->coding == FEWBIT__CODING__CODING_RANGE;
    encoder_model_reset_compressor(p->serve.model);
    if (is_wanted && !p->sender.compresses) {
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
    const encoder_model *here = p->serve.model;
    if (here && p->mode == w->mode && encoder_model_get_info(here)->run == w->run &&
        encoder_model_get_info(here)->training == w->training &&
        experiment_compare(&encoder_model_get_info(here)->experiment, &described, &is_known)) {
        return refuse(p, FEWBIT__REASON__REASON_DATA);
    }
    p->mode = w->mode;
    p->serve.offered = p->mode == FEWBIT__MODE__MODE_SERVE ? &p->offered : NULL;
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

static node_protocol_verdict on_restore(node_protocol *p, const Fewbit__Restore *r) {
    encoder_model *m = p->serve.model;
    if (node_align_is_under_way(p->align)) {
        return refuse_out_of_turn(p, "Restore");
    }
    p->serve.is_ready = false;
    p->train.pending_rows = 0;
    p->train.has_trained = false;
    node_serve_drop_next(&p->serve);
    if (r->fresh && p->mode == FEWBIT__MODE__MODE_TRAIN) {
        encoder_model_init(m);
        encoder_model_set_step(m, r->step);
    } else if (encoder_model_load(m, r->step, r->digest.len == SHA256_BYTES ? r->digest.data : NULL)) {
        return refuse(p, FEWBIT__REASON__REASON_MODEL);
    }
    if (code_sender_take_stages(&p->sender, m, r->stages, &p->serve.initial_stages)) {
        return refuse(p, FEWBIT__REASON__REASON_PROTOCOL);
    }
    encoder_model_set_number(m, r->model ? r->model : (uint32_t)r->step);
    node_serve_restored(&p->serve);
    return NODE_PROTOCOL_GO_ON;
}

/* Before the weights are there. */
static err receive_to_align(node_protocol *p, const message *got) {
    if (p->mode != FEWBIT__MODE__MODE_TRAIN || p->serve.is_ready) {
        return node_host_out_of_turn(message_name((uint8_t)got->type));
    }
    if (got->type == MESSAGE_ALIGN_REQUEST) {
        return node_align_request(p->align, got->body.align_request);
    }
    err e = node_align_take(p->align, got->body.aligned);
    encoder_model_set_rows(p->serve.model, node_align_rows(p->align));
    return e;
}

/* What both modes know, once there is a model with its weights. */
static err receive_in_any(node_protocol *p, const message *got) {
    if (got->type == MESSAGE_REFINE_REQUEST && !p->train.pending_rows) {
        return code_sender_refine(&p->sender, p->serve.model, got->body.refine_request);
    }
    if (got->type == MESSAGE_ACK) {
        node_serve_ack(&p->serve, got->body.ack);
        return ERR_OK;
    }
    if (got->type == MESSAGE_STREAM_HOLD) {
        node_serve_hold(&p->serve, got->body.stream_hold);
        return ERR_OK;
    }
    return node_host_out_of_turn(message_name((uint8_t)got->type));
}

static err receive_in_training(node_protocol *p, const message *got) {
    encoder_model *m = p->serve.model;
    switch (got->type) {
    case MESSAGE_BATCH:
        return node_train_batch(&p->train, m, got->body.batch);
    case MESSAGE_GRADIENTS:
        return node_train_gradients(&p->train, m, got->body.gradients);
    case MESSAGE_SAVE:
        return node_train_save(&p->train, m, got->body.save);
    case MESSAGE_COMMITTED:
        return node_train_commit(m, got->body.committed);
    default:
        return receive_in_any(p, got);
    }
}

static err receive_in_serving(node_protocol *p, const message *got) {
    encoder_model_config config = p->models;
    switch (got->type) {
    case MESSAGE_REQUEST:
        node_serve_request(&p->serve, got->body.request);
        return ERR_OK;
    case MESSAGE_BEGIN:
        return node_serve_begin(&p->serve, got->body.begin);
    case MESSAGE_PREPARE:
        config.run = got->body.prepare->run;
        return node_serve_prepare(&p->serve, got->body.prepare, &config);
    case MESSAGE_SWITCH:
        return node_serve_switch(&p->serve, got->body.switch_to);
    default:
        return receive_in_any(p, got);
    }
}

bool node_protocol_is_long(const node_protocol *p, const message *m) {
    switch (m->type) {
    case MESSAGE_WELCOME:
    case MESSAGE_RESTORE:
    case MESSAGE_SAVE:
    case MESSAGE_PREPARE:
    case MESSAGE_ALIGN_REQUEST:
    case MESSAGE_ALIGNED:
        return true;
    case MESSAGE_REQUEST:
        return node_serve_request_macs(&p->serve) > LONG_MACS;
    case MESSAGE_BATCH:
        return p->serve.is_ready && m->body.batch->count * encoder_model_get_info(p->serve.model)->macs > LONG_MACS;
    case MESSAGE_GRADIENTS:
        return p->serve.is_ready &&
               p->train.pending_rows * 2 * encoder_model_get_info(p->serve.model)->macs > LONG_MACS;
    default:
        return node_protocol_flush_is_long(p);
    }
}

bool node_protocol_flush_is_long(const node_protocol *p) {
    return node_serve_flush_macs(&p->serve) > LONG_MACS;
}

bool node_protocol_stream_is_long(const node_protocol *p, uint32_t count) {
    return node_serve_stream_macs(&p->serve, count) > LONG_MACS;
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
        node_serve_flush(&p->serve); /* nothing overtakes a request */
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
    if (p->is_welcome && (got->type == MESSAGE_ALIGN_REQUEST || got->type == MESSAGE_ALIGNED)) {
        return receive_to_align(p, got) ? refuse(p, FEWBIT__REASON__REASON_PROTOCOL) : NODE_PROTOCOL_GO_ON;
    }
    if (!p->serve.is_ready) {
        return refuse_out_of_turn(p, message_name((uint8_t)got->type));
    }
    err e = p->mode == FEWBIT__MODE__MODE_TRAIN ? receive_in_training(p, got) : receive_in_serving(p, got);
    return e ? refuse(p, FEWBIT__REASON__REASON_PROTOCOL) : NODE_PROTOCOL_GO_ON;
}

node_serve *node_protocol_serve(node_protocol *p) {
    return &p->serve;
}

uint32_t node_protocol_heartbeat_ms(const node_protocol *p) {
    return p->heartbeat_ms;
}
