#include "encoder_node/encoder_model.h"

#include "base/rng.h"
#include "bits/pack.h"
#include "experiment/derive.h"
#include "experiment/load.h"
#include "nn/ema.h"
#include "nn/shape_infer.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The bits of samples `first` to `first` + `count` - 1 of a split, as the weights of now decide them. */
typedef struct kept_bits {
    enum dataset_split split;
    uint32_t first, count;
    uint8_t *bits; /* [room, bits] packed */
    uint32_t room;
} kept_bits;

struct encoder_model {
    encoder_model_info info;
    partition partition;     /* where nothing is distorted or turned, nobody looks at it */
    const portion *data;     /* borrowed */
    const sample_rows *rows; /* of the samples; NULL: those of the folder, in its order */
    bool trains;
    checkpoint_store store;
    nn_net *net;
    nn_optimiser optimiser;
    arena buffers;
    float *inputs;      /* [net_rows, elements] */
    float *seen;        /* [net_rows, elements], where there is more than one tta_view */
    float *gradients;   /* [net_rows, bits] */
    float *soft;        /* [max_rows, bits]: what an evaluation put out */
    uint8_t *packed;    /* [max_rows * bits] bits */
    uint8_t *distorted; /* one portion */
    kept_bits kept;
    code_compressor *compressor; /* for frames of up to `compressor_rows` */
    uint32_t compressor_rows;
    tta_view views[TTA_VIEWS_MAX];
    uint32_t view_count;
    partition_box box;       /* of the portion, where there is more than one tta_view */
    checkpoint_input input;  /* of the data, then of the checkpoint that was loaded */
    portion_scaling scaling; /* the input's, or else the experiment's */
    float mean, std;         /* of the experiment */
    float temperature;
    uint32_t number; /* that its codes carry in serving */
};

/* *k: which of the experiment's portions the data is of. */
static err find_portion(const experiment *e, const portion *data, uint32_t *k) {
    const portion_info *info = portion_get_info(data);
    const experiment_portion *wanted = experiment_find_portion(e, info->name, k);
    char ours[PORTION_SHAPE_TEXT], theirs[PORTION_SHAPE_TEXT];
    if (!wanted) {
        return err_fail(ERR_INPUT, "the experiment has no portion %s, which this node's data is", info->name);
    }
    if (strcmp(e->dataset.name, info->dataset) == 0 && portion_shape_equals(&wanted->shape, &info->shape)) {
        return ERR_OK;
    }
    return err_fail(ERR_INPUT, "the experiment wants portion %s of %s, %s, this node's data is of %s, %s", info->name,
                    e->dataset.name, portion_shape_text(&wanted->shape, theirs), info->dataset,
                    portion_shape_text(&info->shape, ours));
}

err encoder_model_check(const char *text, const portion *data, experiment *e) {
    uint32_t k;
    err failed = experiment_parse_sent(text, e);
    return failed ? failed : find_portion(e, data, &k);
}

typedef struct buffer_sizes {
    size_t inputs, gradients, soft, packed, kept, seen, all;
} buffer_sizes;

static buffer_sizes measure_buffers(const encoder_model *m) {
    size_t bits = m->info.bits;
    buffer_sizes b = {
        .inputs = m->info.net_rows * m->info.elements * sizeof(float),
        .gradients = m->info.net_rows * bits * sizeof(float),
        .soft = m->info.max_rows * bits * sizeof(float),
        .packed = pack_bytes(m->info.max_rows * bits),
        .kept = pack_bytes(m->kept.room * bits),
    };
    b.seen = m->view_count > 1 ? b.inputs : 0;
    b.all = arena_rounded(b.inputs) + arena_rounded(b.gradients) + arena_rounded(b.soft) + arena_rounded(b.packed) +
            arena_rounded(m->info.elements) + arena_rounded(b.kept) + arena_rounded(b.seen);
    return b;
}

static err take_buffers(encoder_model *m, const buffer_sizes *b) {
    err failed = arena_init(&m->buffers, b->all);
    if (!failed) {
        m->inputs = arena_take(&m->buffers, b->inputs);
        m->gradients = arena_take(&m->buffers, b->gradients);
        m->soft = arena_take(&m->buffers, b->soft);
        m->packed = arena_take(&m->buffers, b->packed);
        m->distorted = arena_take(&m->buffers, m->info.elements);
        m->kept.bits = arena_take(&m->buffers, b->kept);
        m->seen = arena_take(&m->buffers, b->seen);
    }
    return failed;
}

/* The net, and the buffers around it. */
static err take_memory(encoder_model *m, const encoder_model_config *config) {
    const experiment *e = &m->info.experiment;
    nn_spec spec;
    experiment_describe_encoder(e, m->info.portion, &spec);
    m->info.max_rows = e->training.batch_size > EXPERIMENT_NODE_ROWS ? e->training.batch_size : EXPERIMENT_NODE_ROWS;
    nn_net_options options = experiment_encoder_options(e, &spec, m->trains);
    m->info.net_rows = options.max_rows;
    m->info.macs = nn_spec_row_macs(&spec) * m->view_count;
    buffer_sizes b = measure_buffers(m);
    size_t most = config->max_memory;
    if (most > 0 && b.all >= most) {
        return err_fail(ERR_FULL, "batches of %u samples take %zu MiB of memory, %zu MiB are left for them",
                        e->training.batch_size, (b.all >> 20) + 1, most >> 20);
    }
    options.max_bytes = most > 0 ? most - b.all : 0;
    options.pool = config->pool;
    err failed = nn_net_new(&m->net, &spec, &options);
    failed = failed ? failed : take_buffers(m, &b);
    m->compressor_rows =
        m->info.max_rows < CODE_COMPRESSOR_ROWS_MAX ? (uint32_t)m->info.max_rows : CODE_COMPRESSOR_ROWS_MAX;
    return failed ? failed : code_compressor_new(&m->compressor, m->info.bits, m->compressor_rows);
}

static err open_store(encoder_model *m, const encoder_model_config *config) {
    const portion_info *info = portion_get_info(m->data);
    checkpoint_store_config where = {
        .state = config->state,
        .quota = config->quota,
        .run = m->info.run,
        .training = m->info.training,
        .portion = m->info.portion,
        .experiment = &m->info.experiment,
        .portion_digest = info->digest,
        .input = &m->input,
    };
    err failed = checkpoint_store_open(&m->store, &where);
    return failed || !m->trains ? failed : checkpoint_store_claim(&m->store);
}

/* What the input says wins over the experiment. */
static void use_input(encoder_model *m) {
    const checkpoint_input *i = &m->input;
    m->scaling = i->is_scaled ? (portion_scaling){i->channels, i->mean, i->std}
                              : (portion_scaling){m->std > 0 ? 1 : 0, &m->mean, &m->std};
}

static err take_input(encoder_model *m) {
    const portion_scaling *of_data = portion_get_scaling(m->data);
    uint32_t channels = portion_shape_channels(&m->info.shape);
    m->mean = m->info.experiment.dataset.mean;
    m->std = m->info.experiment.dataset.std;
    float *both = calloc((size_t)channels * 2, sizeof *both);
    if (!both) {
        return err_fail(ERR_MEMORY, "no memory for the scaling of %u channels", channels);
    }
    m->input = (checkpoint_input){channels, of_data != NULL, both, both + channels, portion_get_columns_text(m->data)};
    if (of_data) {
        memcpy(m->input.mean, of_data->mean, channels * sizeof *both);
        memcpy(m->input.std, of_data->std, channels * sizeof *both);
    }
    use_input(m);
    return ERR_OK;
}

err encoder_model_new(encoder_model **out, const experiment *e, const encoder_model_config *config) {
    const portion_info *info = portion_get_info(config->data);
    uint32_t k;
    err failed = find_portion(e, config->data, &k);
    if (failed) {
        return failed;
    }
    encoder_model *m = calloc(1, sizeof *m);
    if (!m) {
        return err_fail(ERR_MEMORY, "no memory for an encoder");
    }
    m->info = (encoder_model_info){
        .experiment = *e,
        .portion = k,
        .refinement = experiment_refinement(e, k),
        .run = config->run,
        .training = config->training,
        .bits = e->portions[k].encoder.bits,
        .shape = info->shape,
        .elements = portion_shape_elements(&info->shape),
        .bytes = portion_shape_bytes(&info->shape),
    };
    m->trains = config->trains;
    m->data = config->data;
    m->view_count = tta_views(e->tta.flip, e->tta.shift, m->views);
    uint32_t test = info->samples[DATASET_TEST], held_back = e->dataset.validation;
    m->kept.room = !m->trains ? 0 : test > held_back ? test : held_back;
    failed = experiment_lists_portions(e) ? ERR_OK : experiment_partition(e, &m->partition, NULL);
    failed = failed ? failed : open_store(m, config);
    failed = failed ? failed : take_input(m);
    failed = failed || m->view_count <= 1 ? failed : partition_find_box(&m->partition, k, &m->box);
    failed = failed ? failed : take_memory(m, config);
    if (failed) {
        encoder_model_free(m);
        return failed;
    }
    *out = m;
    return ERR_OK;
}

void encoder_model_free(encoder_model *m) {
    if (m) {
        checkpoint_store_close(&m->store);
        nn_net_free(m->net);
        code_compressor_free(m->compressor);
        arena_free(&m->buffers);
        free(m->input.mean);
        free(m);
    }
}

size_t encoder_model_bytes(const encoder_model *m) {
    return nn_net_bytes(m->net) + m->buffers.capacity;
}

const encoder_model_info *encoder_model_get_info(const encoder_model *m) {
    return &m->info;
}

void encoder_model_set_rows(encoder_model *m, const sample_rows *rows) {
    m->rows = rows;
    m->kept.count = 0;
}

uint32_t encoder_model_samples(const encoder_model *m, enum dataset_split split) {
    return m->rows ? m->rows->samples[split] : portion_get_info(m->data)->samples[split];
}

/* Those that are not held back. */
static uint32_t trained_samples(const encoder_model *m) {
    return m->rows ? m->rows->samples[DATASET_TRAIN] - m->rows->validation
                   : experiment_train_samples(&m->info.experiment, portion_get_info(m->data)->samples[DATASET_TRAIN]);
}

uint32_t encoder_model_number(const encoder_model *m) {
    return m->trains ? (uint32_t)m->info.step : m->number;
}

void encoder_model_set_number(encoder_model *m, uint32_t number) {
    m->number = number;
}

float *encoder_model_soft(const encoder_model *m) {
    return m->soft;
}

uint8_t *encoder_model_packed(const encoder_model *m) {
    return m->packed;
}

code_compressor *encoder_model_compressor(const encoder_model *m, uint32_t rows) {
    return rows <= m->compressor_rows ? m->compressor : NULL;
}

void encoder_model_reset_compressor(encoder_model *m) {
    code_compressor_reset(m->compressor);
}

err encoder_model_save(encoder_model *m, uint8_t digest[SHA256_BYTES]) {
    return checkpoint_store_save(&m->store, m->info.step, m->net, &m->optimiser, digest);
}

bool encoder_model_is_saved(const encoder_model *m) {
    return checkpoint_store_has(&m->store, m->info.step);
}

void encoder_model_commit(const encoder_model *m, const uint64_t *keep, size_t count) {
    checkpoint_store_commit(&m->store, keep, count);
}

static nn_optimiser fresh_optimiser(const encoder_model *m) {
    return experiment_optimiser(&m->info.experiment, trained_samples(m));
}

void encoder_model_set_step(encoder_model *m, uint64_t step) {
    m->info.step = step;
    m->temperature = experiment_temperature(&m->info.experiment, m->info.portion, step, trained_samples(m));
    nn_net_set_temperature(m->net, m->temperature);
    m->kept.count = 0;
}

err encoder_model_load(encoder_model *m, uint64_t step, const uint8_t *digest) {
    m->optimiser = fresh_optimiser(m);
    err failed = checkpoint_store_load(&m->store, step, m->net, m->trains ? &m->optimiser : NULL, digest);
    use_input(m);
    if (!failed && !m->trains) {
        nn_net_freeze(m->net);
    }
    if (!failed) {
        encoder_model_set_step(m, step);
    }
    return failed;
}

void encoder_model_init(encoder_model *m) {
    m->optimiser = fresh_optimiser(m);
    nn_net_init(m->net, m->info.experiment.training.seed, rng_stream(RNG_INIT_ENCODER, m->info.portion));
}

size_t encoder_model_piece(const encoder_model *m, size_t left) {
    return left < m->info.net_rows ? left : m->info.net_rows;
}

void encoder_model_load_inputs(encoder_model *m, size_t row, const void *portions, size_t count) {
    portion_scaling_apply(&m->scaling, &m->info.shape, portions, count, m->inputs + row * m->info.elements);
}

void encoder_model_load_sample(encoder_model *m, size_t row, enum dataset_split split, uint32_t id, bool trains) {
    const augmentation *how = &m->info.experiment.augment;
    uint32_t number = m->rows ? m->rows->rows[split][id] : id;
    if (m->rows && number == SAMPLE_ROWS_MISSING) {
        memset(m->inputs + row * m->info.elements, 0, m->info.elements * sizeof *m->inputs);
        return;
    }
    const void *portion = portion_sample(m->data, split, number);
    if (trains && augment_is_any(how)) {
        augment_map map =
            augment_draw(how, &m->partition, m->info.experiment.training.seed, (uint32_t)m->info.step, (uint32_t)row);
        augment_portion(&m->partition, m->info.portion, &map, portion, m->distorted);
        portion = m->distorted;
    }
    encoder_model_load_inputs(m, row, portion, 1);
}

const float *encoder_model_forward(encoder_model *m, size_t count) {
    nn_net_use_ema(m->net, false);
    nn_net_set_step(m->net, m->info.experiment.training.seed, rng_stream(RNG_DROPOUT, m->info.portion),
                    (uint32_t)m->info.step);
    return nn_net_forward(m->net, m->inputs, count, NN_TRAIN);
}

void encoder_model_backward(encoder_model *m, const void *gradients, size_t count) {
    memcpy(m->gradients, gradients, count * m->info.bits * sizeof(float));
    nn_net_backward(m->net, m->gradients);
    nn_optimiser_begin(&m->optimiser);
    nn_net_update(m->net, &m->optimiser);
    encoder_model_set_step(m, m->info.step + 1);
    if (m->info.experiment.training.ema_decay > 0) {
        nn_net_update_ema(m->net, m->info.experiment.training.ema_decay, m->info.step);
    }
}

/* Within what a float tells of a sigmoid on both its sides alike: +-16.6. */
static float logit(float s) {
    const float least = FLT_EPSILON / 2, most = 1 - least;
    float inside = s < least ? least : s > most ? most : s;
    return logf(inside) - log1pf(-inside);
}

/* Puts sigmoid(z / T) of the input rows into `soft`, z the mean of the logits of all views, by their weights. */
static void evaluate_views(encoder_model *m, float *soft, size_t count) {
    size_t numbers = count * m->info.bits;
    memset(soft, 0, numbers * sizeof *soft);
    nn_net_set_temperature(m->net, 1);
    for (uint32_t l = 0; l < m->view_count; l++) {
        tta_apply(&m->views[l], &m->box, m->inputs, count, m->seen);
        const float *said = nn_net_forward(m->net, m->seen, count, NN_EVALUATE);
        for (size_t i = 0; i < numbers; i++) {
            soft[i] += m->views[l].weight * logit(said[i]);
        }
    }
    nn_net_set_temperature(m->net, m->temperature);
    for (size_t i = 0; i < numbers; i++) {
        soft[i] = 1 / (1 + expf(-soft[i] / m->temperature));
    }
}

void encoder_model_evaluate(encoder_model *m, size_t done, size_t count) {
    size_t bits = m->info.bits;
    float *soft = m->soft + done * bits;
    nn_net_use_ema(m->net, m->trains);
    if (m->view_count > 1) {
        evaluate_views(m, soft, count);
    } else {
        memcpy(soft, nn_net_forward(m->net, m->inputs, count, NN_EVALUATE), count * bits * sizeof *soft);
    }
}

void encoder_model_keep(encoder_model *m, enum dataset_split split, uint32_t first, uint32_t count) {
    uint32_t bits = m->info.bits;
    kept_bits *k = &m->kept;
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
        pack_put(k->bits, (size_t)(k->count + i) * bits, bits, pack_code(m->soft + (size_t)i * bits, bits));
    }
    k->count += count;
}

bool encoder_model_recall(encoder_model *m, enum dataset_split split, uint32_t first, uint32_t count) {
    uint32_t bits = m->info.bits;
    const kept_bits *k = &m->kept;
    if (k->split != split || first < k->first || first - k->first > k->count || count > k->count - (first - k->first)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t code = pack_get(k->bits, (size_t)(first - k->first + i) * bits, bits);
        for (uint32_t bit = 0; bit < bits; bit++) {
            m->soft[(size_t)i * bits + bit] = (float)(code >> bit & 1);
        }
    }
    return true;
}
