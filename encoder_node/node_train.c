#include "encoder_node/node_train.h"

#include "base/byte_reader.h"
#include "base/log_limit.h"
#include "bits/pack.h"

#include <inttypes.h>

enum { KEEP_MAX = 8 }; /* steps that a Committed keeps; servers keep two */

static enum dataset_split split_of(const Fewbit__Batch *b) {
    return b->split == FEWBIT__SPLIT__SPLIT_TEST ? DATASET_TEST : DATASET_TRAIN;
}

static err check_batch(const encoder_model *m, const Fewbit__Batch *b) {
    uint32_t samples = encoder_model_samples(m, split_of(b));
    size_t most = b->phase == FEWBIT__PHASE__PHASE_TRAIN ? encoder_model_get_info(m)->net_rows
                                                         : encoder_model_get_info(m)->max_rows;
    bool listed = b->ids.len > 0;
    if (b->count == 0 || b->count > most || (listed && b->ids.len != (size_t)b->count * 4) ||
        (!listed && (b->first > samples || b->count > samples - b->first))) {
        return err_fail(ERR_INPUT, "the server's batch of %u samples does not fit", b->count);
    }
    byte_reader ids = byte_reader_over(b->ids.data, b->ids.len);
    for (uint32_t i = 0; listed && i < b->count; i++) {
        uint32_t id = byte_reader_u32_le(&ids);
        if (id >= samples) {
            return err_fail(ERR_INPUT, "the server asks for sample %u of %u", id, samples);
        }
    }
    return ERR_OK;
}

/* Gathers `count` of the samples that a Batch names, from number `first` of it on, into the input buffer. */
static void gather(encoder_model *m, const Fewbit__Batch *b, size_t first, size_t count) {
    bool listed = b->ids.len > 0;
    byte_reader ids = byte_reader_over(b->ids.data, b->ids.len);
    byte_reader_bytes(&ids, listed ? 4 * first : 0);
    for (size_t i = 0; i < count; i++) {
        uint32_t id = listed ? byte_reader_u32_le(&ids) : b->first + (uint32_t)(first + i);
        encoder_model_load_sample(m, i, split_of(b), id, b->phase == FEWBIT__PHASE__PHASE_TRAIN);
    }
}

static void send_activations(node_train *t, encoder_model *m, const Fewbit__Batch *b, const float *soft) {
    const encoder_model_info *info = encoder_model_get_info(m);
    const preset_encoder *encoder = &info->experiment.portions[info->portion].encoder;
    size_t numbers = (size_t)b->count * info->bits;
    Fewbit__Activations a = FEWBIT__ACTIVATIONS__INIT;
    a.step = b->step;
    a.phase = b->phase;
    a.count = b->count;
    if (b->phase == FEWBIT__PHASE__PHASE_TRAIN && encoder->binarize == PRESET_STRAIGHT_THROUGH) {
        pack_soft(soft, numbers, encoder_model_packed(m));
        a.bits = (ProtobufCBinaryData){pack_bytes(numbers), encoder_model_packed(m)};
    } else {
        a.soft = (ProtobufCBinaryData){numbers * sizeof(float), (uint8_t *)(uintptr_t)soft};
    }
    node_host_send(&t->sender->host, MESSAGE_ACTIVATIONS, &a.base);
}

/* The outputs; where only bits are asked for, of what is known already they are those. */
static const float *evaluate(encoder_model *m, const Fewbit__Batch *b) {
    bool rounded = b->phase == FEWBIT__PHASE__PHASE_ROUNDED, listed = b->ids.len > 0;
    if (rounded && !listed && encoder_model_recall(m, split_of(b), b->first, b->count)) {
        return encoder_model_soft(m);
    }
    for (size_t done = 0, piece; done < b->count; done += piece) {
        piece = encoder_model_piece(m, b->count - done);
        gather(m, b, done, piece);
        encoder_model_evaluate(m, done, piece);
    }
    if (!listed) {
        encoder_model_keep(m, split_of(b), b->first, b->count);
    }
    return encoder_model_soft(m);
}

err node_train_batch(node_train *t, encoder_model *m, const Fewbit__Batch *b) {
    bool trains = b->phase == FEWBIT__PHASE__PHASE_TRAIN;
    if (t->pending_rows || (trains && b->step != encoder_model_get_info(m)->step)) {
        return node_host_out_of_turn("Batch");
    }
    uint32_t initial_stages = 0;
    err e = check_batch(m, b);
    e = e ? e : code_sender_take_stages(t->sender, m, b->stages, &initial_stages);
    if (e) {
        return e;
    }
    if (trains) {
        gather(m, b, 0, b->count);
        send_activations(t, m, b, encoder_model_forward(m, b->count));
        t->pending_rows = b->count;
        return ERR_OK;
    }
    const float *soft = evaluate(m, b);
    if (b->phase == FEWBIT__PHASE__PHASE_ROUNDED) {
        code_sender_send(t->sender, m, MESSAGE_CODES, b->first, soft, b->count, initial_stages);
    } else {
        send_activations(t, m, b, soft);
    }
    return ERR_OK;
}

err node_train_gradients(node_train *t, encoder_model *m, const Fewbit__Gradients *g) {
    size_t bytes = (size_t)t->pending_rows * encoder_model_get_info(m)->bits * sizeof(float);
    if (!t->pending_rows || g->step != encoder_model_get_info(m)->step || g->count != t->pending_rows ||
        g->values.len != bytes) {
        return node_host_out_of_turn("Gradients");
    }
    encoder_model_backward(m, g->values.data, t->pending_rows);
    t->pending_rows = 0;
    t->has_trained = true;
    return ERR_OK;
}

/* A server that saves without training writes nothing: what it would save is there, or was not trained. */
static err save(node_train *t, encoder_model *m, uint8_t digest[SHA256_BYTES]) {
    if (!t->has_trained && !encoder_model_is_saved(m)) {
        return err_fail(ERR_INPUT, "nothing was trained since step %" PRIu64 " was restored or saved",
                        encoder_model_get_info(m)->step);
    }
    err e = encoder_model_save(m, digest);
    t->has_trained = t->has_trained && e;
    return e;
}

err node_train_save(node_train *t, encoder_model *m, const Fewbit__Save *s) {
    if (s->step != encoder_model_get_info(m)->step) {
        return node_host_out_of_turn("Save");
    }
    uint8_t digest[SHA256_BYTES];
    Fewbit__Saved saved = FEWBIT__SAVED__INIT;
    saved.step = s->step;
    if (save(t, m, digest)) {
        log_limited(LOG_ERROR, "checkpoint_failed", 0, "checkpoint %" PRIu64 " is not written: %s", s->step,
                    err_text());
        saved.error = (char *)(uintptr_t)err_text();
    } else {
        saved.digest = (ProtobufCBinaryData){SHA256_BYTES, digest};
    }
    node_host_send(&t->sender->host, MESSAGE_SAVED, &saved.base);
    return ERR_OK;
}

err node_train_commit(const encoder_model *m, const Fewbit__Committed *c) {
    if (c->n_keep > KEEP_MAX) {
        return node_host_out_of_turn("Committed");
    }
    encoder_model_commit(m, c->keep, c->n_keep);
    return ERR_OK;
}
