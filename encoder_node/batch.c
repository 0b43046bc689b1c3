#include "encoder_node/batch.h"

#include "base/byte_reader.h"
#include "base/rng.h"
#include "nn/ema.h"

static enum dataset_split split_of(const Fewbit__Batch *b) {
    return b->split == FEWBIT__SPLIT__SPLIT_TEST ? DATASET_TEST : DATASET_TRAIN;
}

err batch_check(const encoder_model *m, const Fewbit__Batch *b) {
    uint32_t samples = portion_get_info(m->data)->samples[split_of(b)];
    size_t most = b->phase == FEWBIT__PHASE__PHASE_TRAIN ? m->net_rows : m->max_rows;
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
        const uint8_t *portion = portion_sample(m->data, split_of(b), id);
        if (b->phase == FEWBIT__PHASE__PHASE_TRAIN) {
            encoder_model_load_training_input(m, (uint32_t)b->step, i, portion);
        } else {
            encoder_model_load_inputs(m, i, portion, 1);
        }
    }
}

const float *batch_train(encoder_model *m, const Fewbit__Batch *b) {
    nn_net_use_ema(m->net, false);
    gather(m, b, 0, b->count);
    nn_net_set_step(m->net, m->experiment.training.seed, rng_stream(RNG_DROPOUT, portion_get_info(m->data)->index),
                    (uint32_t)b->step);
    return nn_net_forward(m->net, m->inputs, b->count, NN_TRAIN);
}

void batch_evaluate(encoder_model *m, const Fewbit__Batch *b) {
    bool hard = b->phase == FEWBIT__PHASE__PHASE_HARD, listed = b->ids.len > 0;
    if (hard && !listed && encoder_model_recall(m, split_of(b), b->first, b->count)) {
        return;
    }
    nn_net_use_ema(m->net, true);
    for (size_t done = 0, piece; done < b->count; done += piece) {
        piece = encoder_model_piece(m, b->count - done);
        gather(m, b, done, piece);
        encoder_model_evaluate(m, done, piece);
    }
    if (!listed) {
        encoder_model_keep(m, split_of(b), b->first, b->count);
    }
}
