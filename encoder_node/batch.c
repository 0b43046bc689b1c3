#include "encoder_node/batch.h"

#include "base/byte_reader.h"
#include "base/rng.h"

static enum dataset_split split_of(const Fewbit__Batch *b) {
    return b->split == FEWBIT__SPLIT__SPLIT_TEST ? DATASET_TEST : DATASET_TRAIN;
}

err batch_check(const job *j, const Fewbit__Batch *b) {
    uint32_t samples = portion_about(j->data)->samples[split_of(b)];
    size_t most = b->phase == FEWBIT__PHASE__PHASE_TRAIN ? j->net_rows : j->max_rows;
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
static void gather(job *j, const Fewbit__Batch *b, size_t first, size_t count) {
    bool listed = b->ids.len > 0;
    byte_reader ids = byte_reader_over(b->ids.data, b->ids.len);
    byte_reader_bytes(&ids, listed ? 4 * first : 0);
    for (size_t i = 0; i < count; i++) {
        uint32_t id = listed ? byte_reader_u32_le(&ids) : b->first + (uint32_t)(first + i);
        const uint8_t *portion = portion_sample(j->data, split_of(b), id);
        if (b->phase == FEWBIT__PHASE__PHASE_TRAIN) {
            job_load_training_input(j, (uint32_t)b->step, i, portion);
        } else {
            job_load_inputs(j, i, portion, 1);
        }
    }
}

const float *batch_train(job *j, const Fewbit__Batch *b) {
    nn_net_use_average(j->net, false);
    gather(j, b, 0, b->count);
    nn_net_set_step(j->net, j->experiment.training.seed, rng_stream(RNG_DROPOUT, portion_about(j->data)->index),
                    (uint32_t)b->step);
    return nn_net_forward(j->net, j->inputs, b->count, NN_TRAIN);
}

void batch_evaluate(job *j, const Fewbit__Batch *b) {
    bool hard = b->phase == FEWBIT__PHASE__PHASE_HARD, listed = b->ids.len > 0;
    if (hard && !listed && job_recall(j, split_of(b), b->first, b->count)) {
        return;
    }
    nn_net_use_average(j->net, true);
    for (size_t done = 0, piece; done < b->count; done += piece) {
        piece = job_piece(j, b->count - done);
        gather(j, b, done, piece);
        job_evaluate(j, done, piece);
    }
    if (!listed) {
        job_keep(j, split_of(b), b->first, b->count);
    }
}
