#include "encoder_node/job.h"

#include "base/rng.h"
#include "bits/pack.h"
#include "data/augment.h"
#include "data/normalize.h"
#include "nn/rows.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static err check_data(const experiment *e, const partition *s, const portion *data) {
    const portion_info *info = portion_about(data);
    uint32_t shape[3];
    partition_portion_shape(s, shape);
    if (strcmp(e->data.set, info->dataset) != 0 || strcmp(partition_name(s->kind), info->partition) != 0 ||
        s->portions != info->portions || memcmp(shape, info->shape, sizeof shape) != 0) {
        return err_fail(ERR_INPUT,
                        "the experiment wants %s parted in %u %s of %ux%ux%u, this node's data is %s parted in %u %s "
                        "of %ux%ux%u",
                        e->data.set, s->portions, partition_name(s->kind), shape[0], shape[1], shape[2], info->dataset,
                        info->portions, info->partition, info->shape[0], info->shape[1], info->shape[2]);
    }
    return ERR_OK;
}

err job_check(const char *text, const portion *data, experiment *e) {
    partition s;
    uint32_t classes;
    size_t length = strlen(text);
    err failed = length <= EXPERIMENT_TEXT_MAX
                     ? experiment_parse("the server's experiment", text, length, e)
                     : err_fail(ERR_INPUT, "the server's experiment has %zu bytes, more than a resolved one", length);
    failed = failed ? failed : experiment_partition(e, &s, &classes);
    return failed ? failed : check_data(e, &s, data);
}

typedef struct buffer_sizes {
    size_t inputs, gradients, soft, packed, kept, seen, all;
} buffer_sizes;

static buffer_sizes measure_buffers(const job *j) {
    size_t bits = j->experiment.encoder.bits;
    buffer_sizes b = {
        .inputs = j->net_rows * j->elements * sizeof(float),
        .gradients = j->net_rows * bits * sizeof(float),
        .soft = j->max_rows * bits * sizeof(float),
        .packed = pack_bytes(j->max_rows * bits),
        .kept = pack_bytes(j->kept.room * bits),
    };
    b.seen = j->view_count > 1 ? b.inputs : 0;
    b.all = arena_rounded(b.inputs) + arena_rounded(b.gradients) + arena_rounded(b.soft) + arena_rounded(b.packed) +
            arena_rounded(j->elements) + arena_rounded(b.kept) + arena_rounded(b.seen);
    return b;
}

static err take_buffers(job *j, const buffer_sizes *b) {
    err failed = arena_init(&j->buffers, b->all);
    if (!failed) {
        j->inputs = arena_take(&j->buffers, b->inputs);
        j->gradients = arena_take(&j->buffers, b->gradients);
        j->soft = arena_take(&j->buffers, b->soft);
        j->packed = arena_take(&j->buffers, b->packed);
        j->distorted = arena_take(&j->buffers, j->elements);
        j->kept.bits = arena_take(&j->buffers, b->kept);
        j->seen = arena_take(&j->buffers, b->seen);
    }
    return failed;
}

/* The net, and the buffers around it. */
static err take_memory(job *j, const job_config *config) {
    const experiment *e = &j->experiment;
    nn_spec spec;
    experiment_describe_encoder(e, &j->partition, &spec);
    j->max_rows = e->training.batch > JOB_ROWS ? e->training.batch : JOB_ROWS;
    j->net_rows = nn_rows_at_once(&spec, e->training.batch, JOB_ROWS);
    buffer_sizes b = measure_buffers(j);
    size_t most = config->max_memory;
    if (most > 0 && b.all >= most) {
        return err_fail(ERR_FULL, "batches of %u samples take %zu MiB of memory, %zu MiB are left for them",
                        e->training.batch, (b.all >> 20) + 1, most >> 20);
    }
    nn_net_options options = {.max_rows = j->net_rows,
                              .max_bytes = most > 0 ? most - b.all : 0,
                              .training = j->trains,
                              .average = e->training.average > 0,
                              .pool = config->pool,
                              .precision = e->training.precision};
    err failed = nn_net_new(&j->net, &spec, &options);
    failed = failed ? failed : take_buffers(j, &b);
    j->coded_rows = j->max_rows < CODE_COMPRESSOR_ROWS_MAX ? (uint32_t)j->max_rows : CODE_COMPRESSOR_ROWS_MAX;
    return failed ? failed : code_compressor_new(&j->codes, e->encoder.bits, j->coded_rows);
}

static err open_store(job *j, const job_config *config) {
    const portion_info *info = portion_about(j->data);
    store_config where = {
        .state = config->state,
        .quota = config->quota,
        .run = j->run,
        .training = j->training,
        .portion = info->index,
        .experiment = &j->experiment,
        .portion_digest = info->digest,
    };
    err failed = store_open(&j->store, &where);
    return failed || !j->trains ? failed : store_claim(&j->store);
}

err job_new(job **out, const experiment *e, const job_config *config) {
    const portion_info *info = portion_about(config->data);
    partition s;
    uint32_t classes;
    err failed = experiment_partition(e, &s, &classes);
    if (failed) {
        return failed;
    }
    job *j = calloc(1, sizeof *j);
    if (!j) {
        return err_fail(ERR_MEMORY, "no memory for a job");
    }
    j->experiment = *e;
    j->refinement = experiment_refinement(e);
    j->unasked = j->refinement.count;
    j->run = config->run;
    j->training = config->training;
    j->trains = config->trains;
    j->partition = s;
    j->data = config->data;
    j->view_count = tta_views(e->tta.flip, e->tta.shift, j->views);
    j->elements = (size_t)info->shape[0] * info->shape[1] * info->shape[2];
    uint32_t test = info->samples[DATASET_TEST], held_back = e->data.validation;
    j->kept.room = !j->trains ? 0 : test > held_back ? test : held_back;
    failed = open_store(j, config);
    failed = failed || j->view_count <= 1 ? failed : partition_find_box(&s, info->index, &j->box);
    failed = failed ? failed : take_memory(j, config);
    if (failed) {
        job_free(j);
        return failed;
    }
    *out = j;
    return ERR_OK;
}

void job_free(job *j) {
    if (j) {
        store_close(&j->store);
        nn_net_free(j->net);
        code_compressor_free(j->codes);
        arena_free(&j->buffers);
        free(j);
    }
}

size_t job_bytes(const job *j) {
    return nn_net_bytes(j->net) + j->buffers.capacity;
}

static nn_optimiser fresh_optimiser(const job *j) {
    uint32_t samples = portion_about(j->data)->samples[DATASET_TRAIN];
    return experiment_optimiser(&j->experiment, experiment_train_samples(&j->experiment, samples));
}

void job_set_step(job *j, uint64_t step) {
    uint32_t samples = portion_about(j->data)->samples[DATASET_TRAIN];
    j->step = step;
    j->temperature = experiment_temperature(&j->experiment, step, experiment_train_samples(&j->experiment, samples));
    nn_net_set_temperature(j->net, j->temperature);
    j->kept.count = 0;
}

err job_load(job *j, uint64_t step, const uint8_t *digest) {
    j->optimiser = fresh_optimiser(j);
    err failed = store_load(&j->store, step, j->net, j->trains ? &j->optimiser : NULL, digest);
    if (!failed && !j->trains) {
        nn_net_freeze(j->net);
    }
    if (!failed) {
        job_set_step(j, step);
    }
    return failed;
}

void job_init(job *j) {
    j->optimiser = fresh_optimiser(j);
    nn_net_init(j->net, j->experiment.training.seed, rng_stream(RNG_INIT_ENCODER, portion_about(j->data)->index));
}

size_t job_piece(const job *j, size_t left) {
    return left < j->net_rows ? left : j->net_rows;
}

void job_load_inputs(job *j, size_t row, const uint8_t *portions, size_t count) {
    normalize(portions, j->inputs + row * j->elements, count * j->elements, j->experiment.data.mean,
              j->experiment.data.deviation);
}

void job_load_training_input(job *j, uint32_t step, size_t row, const uint8_t *portion) {
    const augmentation *how = &j->experiment.augment;
    if (augment_is_any(how)) {
        augment_map map = augment_draw(how, &j->partition, j->experiment.training.seed, step, (uint32_t)row);
        augment_portion(&j->partition, portion_about(j->data)->index, &map, portion, j->distorted);
        portion = j->distorted;
    }
    job_load_inputs(j, row, portion, 1);
}

/* Within what a float tells of a sigmoid on both its sides alike: +-16.6. */
static float logit(float s) {
    const float least = FLT_EPSILON / 2, most = 1 - least;
    float inside = s < least ? least : s > most ? most : s;
    return logf(inside) - log1pf(-inside);
}

/* Puts sigmoid(z / T) of the input rows into `soft`, z the mean of the logits of all views, by their weights. */
static void evaluate_looks(job *j, float *soft, size_t count) {
    size_t numbers = count * j->experiment.encoder.bits;
    memset(soft, 0, numbers * sizeof *soft);
    nn_net_set_temperature(j->net, 1);
    for (uint32_t l = 0; l < j->view_count; l++) {
        tta_apply(&j->views[l], &j->box, j->inputs, count, j->seen);
        const float *said = nn_net_forward(j->net, j->seen, count, NN_EVALUATE);
        for (size_t i = 0; i < numbers; i++) {
            soft[i] += j->views[l].weight * logit(said[i]);
        }
    }
    nn_net_set_temperature(j->net, j->temperature);
    for (size_t i = 0; i < numbers; i++) {
        soft[i] = 1 / (1 + expf(-soft[i] / j->temperature));
    }
}

void job_evaluate(job *j, size_t done, size_t count) {
    size_t bits = j->experiment.encoder.bits;
    float *soft = j->soft + done * bits;
    if (j->view_count > 1) {
        evaluate_looks(j, soft, count);
    } else {
        memcpy(soft, nn_net_forward(j->net, j->inputs, count, NN_EVALUATE), count * bits * sizeof *soft);
    }
}

void job_keep(job *j, enum dataset_split split, uint32_t first, uint32_t count) {
    uint32_t bits = j->experiment.encoder.bits;
    job_kept *k = &j->kept;
    if (k->split != split || k->first + k->count != first) {
        k->split = split;
        k->first = first;
        k->count = 0;
    }
    if (count > k->room - k->count) {
        k->count = 0;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        pack_put(k->bits, (size_t)(k->count + i) * bits, bits, pack_code(j->soft + (size_t)i * bits, bits));
    }
    k->count += count;
}

bool job_recall(job *j, enum dataset_split split, uint32_t first, uint32_t count) {
    uint32_t bits = j->experiment.encoder.bits;
    const job_kept *k = &j->kept;
    if (k->split != split || first < k->first || first - k->first > k->count || count > k->count - (first - k->first)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t code = pack_get(k->bits, (size_t)(first - k->first + i) * bits, bits);
        for (uint32_t bit = 0; bit < bits; bit++) {
            j->soft[(size_t)i * bits + bit] = (float)(code >> bit & 1);
        }
    }
    return true;
}
