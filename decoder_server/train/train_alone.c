#include "decoder_server/train/train.h"

#include "base/byte_reader.h"
#include "data/portion.h"
#include "decoder_server/train/progress.h"
#include "decoder_server/train/schedule.h"

#include <stdlib.h>

typedef struct alone {
    const experiment *e;
    const labels *labels;
    portion *data;
    thread_pool *pool;
    train_loop *loop;
    progress progress;
    size_t elements;    /* of a sample */
    uint8_t *distorted; /* one sample */
    bool has_batch;
    Fewbit__Batch batch; /* whose samples the loop waits for; its ids are the loop's until the next */
} alone;

static void ask(void *context, message_type type, const ProtobufCMessage *body, message_type answer) {
    alone *a = context;
    (void)answer;
    a->has_batch = type == MESSAGE_BATCH;
    if (a->has_batch) {
        a->batch = *(const Fewbit__Batch *)(const void *)body;
    }
}

static void restore_nobody(void *context, uint64_t step, const uint8_t (*digests)[SHA256_BYTES]) {
    (void)step, (void)digests;
    ((alone *)context)->has_batch = false;
}

static void show(void *context, const train_loop_progress *p) {
    progress_show(&((alone *)context)->progress, p);
}

static void let_nobody_go(void *context) {
    (void)context;
}

/* Sample `row` of the batch; distorted where it is trained on. */
static void load(alone *a, uint32_t row) {
    const Fewbit__Batch *b = &a->batch;
    const partition *shape = &a->labels->partition;
    enum dataset_split split = b->split == FEWBIT__SPLIT__SPLIT_TEST ? DATASET_TEST : DATASET_TRAIN;
    byte_reader ids = byte_reader_over(b->ids.data + 4 * row, b->ids.len > 0 ? 4 : 0);
    uint32_t id = b->ids.len > 0 ? byte_reader_u32_le(&ids) : (uint32_t)b->first + row;
    const void *sample = portion_sample(a->data, split, id);
    if (b->phase == FEWBIT__PHASE__PHASE_TRAIN && augment_is_any(&a->e->augment)) {
        augment_map map = augment_draw(&a->e->augment, shape, a->e->training.seed, (uint32_t)b->step, row);
        augment_portion(shape, 0, &map, sample, a->distorted);
        sample = a->distorted;
    }
    float mean = a->e->dataset.mean, std = a->e->dataset.std;
    const portion_scaling of_experiment = {std > 0 ? 1 : 0, &mean, &std};
    const portion_scaling *of_data = portion_get_scaling(a->data);
    portion_scaling_apply(of_data ? of_data : &of_experiment, &portion_get_info(a->data)->shape, sample, 1,
                          train_loop_inputs(a->loop) + row * a->elements);
}

static void answer(alone *a) {
    for (uint32_t row = 0; a->has_batch && row < a->batch.count; row++) {
        load(a, row);
    }
    train_loop_answered(a->loop);
}

static err prepare(alone *a, run_dir *r, const char *data, uint32_t threads) {
    train_loop_host host = {ask, restore_nobody, NULL, show, let_nobody_go, a};
    a->elements = partition_sample_elements(&a->labels->partition);
    a->distorted = malloc(a->elements);
    err e = a->distorted ? ERR_OK : err_fail(ERR_MEMORY, "no memory for a sample");
    e = e ? e : labels_open_portion(a->labels, data, "0", &a->data);
    e = e ? e : thread_pool_new(&a->pool, threads, true);
    return e ? e : train_loop_new(&a->loop, r, a->labels, NULL, a->pool, false, &host);
}

static err train(alone *a) {
    err outcome;
    train_loop_go_back(a->loop);
    while (!train_loop_is_over(a->loop, &outcome)) {
        err e = schedule_check_interrupt();
        if (e) {
            return e;
        }
        if (train_loop_has_work(a->loop)) {
            train_loop_work(a->loop);
        } else {
            answer(a);
        }
    }
    return outcome;
}

err train_alone_run(run_dir *r, const labels *l, const char *data, uint32_t threads) {
    alone a = {.e = &r->experiment, .labels = l};
    progress_start(&a.progress);
    err e = prepare(&a, r, data, threads);
    e = e ? e : train(&a);
    progress_end(&a.progress);
    train_loop_free(a.loop);
    thread_pool_free(a.pool);
    portion_close(a.data);
    free(a.distorted);
    return e;
}
