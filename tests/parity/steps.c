/* The project's half of the parity tests: joint training steps from given weights on given batches.
 *
 *     parity_steps EXPERIMENT WEIGHTS BATCHES OUT [--stops]
 *
 * WEIGHTS holds the checkpoint parts encoder.K.safetensors and head.safetensors of run 0 and step `first`, with
 * optimiser state unless that is 0. BATCHES is a safetensors file with the metadata "first", "steps" and "samples"
 * (which may be 0), and
 *
 *     "portion.K"    [steps, rows, elements]    what encoder K sees; rows: the experiment's batch
 *     "labels"       [steps, rows]
 *     "fresh.K"      [samples, elements]        what it sees once the steps are done
 *
 * Prints the loss of each step, and leaves in OUT the parts after the last one and codes.safetensors (with --stops
 * after each one, before it prints the loss, and then waits for a line):
 *
 *     "trained"      [steps, rows, code bits]   what the head saw
 *     "soft", "bits" [samples, code bits]       what the encoders make of the fresh samples; the decisions on it
 *     "dropout.K.L"  [steps, rows, numbers]     0 or the scale: what layer L of encoder K multiplied by */
#include "base/file.h"
#include "base/options.h"
#include "base/rng.h"
#include "bits/binarize.h"
#include "decoder_server/train/head_trainer.h"
#include "experiment/derive.h"
#include "experiment/experiment.h"
#include "experiment/load.h"
#include "model/checkpoint.h"
#include "model/safetensors.h"
#include "nn/net.h"
#include "nn/shape_infer.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SAMPLES = 100000, MOST_DROPOUTS = 4 };

typedef struct system_of {
    experiment e;
    partition parts;
    uint32_t portions, bits, rows, first, steps, samples;
    uint32_t elements; /* of a portion */
    head_trainer *head;
    nn_net *encoders[PARTITION_PORTIONS_MAX];
    nn_optimiser optimisers[PARTITION_PORTIONS_MAX];
    float *portions_in[PARTITION_PORTIONS_MAX], *fresh[PARTITION_PORTIONS_MAX];
    float *labels;  /* [steps, rows] */
    float *trained; /* [steps, rows, portions * bits] */
    float *soft, *hard;
    nn_spec encoder; /* the same for every portion */
} system_of;

static void must(err e) {
    if (e) {
        fprintf(stderr, "parity_steps: %s\n", err_text());
        exit(err_exit_code(e));
    }
}

static float *floats(size_t n) {
    float *numbers = calloc(n ? n : 1, sizeof *numbers);
    must(numbers ? ERR_OK : err_fail(ERR_MEMORY, "no memory for %zu numbers", n));
    return numbers;
}

static const char *path_in(const char *folder, const char *part) {
    static char path[FILE_PATH_MAX];
    must(file_path(path, sizeof path, "%s/%s.safetensors", folder, part));
    return path;
}

static checkpoint_id part_of(uint32_t portion, uint64_t step, bool is_head) {
    checkpoint_id id = {.run = 0, .step = step};
    if (is_head) {
        snprintf(id.part, sizeof id.part, "head");
    } else {
        snprintf(id.part, sizeof id.part, "encoder.%u", portion);
    }
    return id;
}

static uint32_t count_in(const safetensors *file, const char *key) {
    const char *text = safetensors_metadata(file, key);
    int64_t count = 0;
    must(text ? options_number(text, key, 0, MOST_SAMPLES, &count) : err_fail(ERR_INPUT, "no metadata %s", key));
    return (uint32_t)count;
}

static float *tensor(const safetensors *file, const char *name, uint32_t rank, const uint32_t *shape) {
    size_t count = 1;
    for (uint32_t i = 0; i < rank; i++) {
        count *= shape[i];
    }
    float *values = floats(count);
    must(safetensors_copy(file, name, rank, shape, values));
    return values;
}

static void load_batches(system_of *s, const char *path) {
    uint32_t classes;
    must(experiment_partition(&s->e, &s->parts, &classes));
    s->portions = s->parts.portions;
    s->bits = s->e.encoder.bits;
    s->rows = s->e.training.batch_size;
    s->elements = (uint32_t)partition_portion_elements(&s->parts);
    safetensors *file;
    must(safetensors_open(&file, path));
    s->first = count_in(file, "first");
    s->steps = count_in(file, "steps");
    s->samples = count_in(file, "samples");
    const uint32_t trained[] = {s->steps, s->rows, s->elements}, fresh[] = {s->samples, s->elements};
    for (uint32_t k = 0; k < s->portions; k++) {
        char name[32];
        snprintf(name, sizeof name, "portion.%u", k);
        s->portions_in[k] = tensor(file, name, 3, trained);
        snprintf(name, sizeof name, "fresh.%u", k);
        s->fresh[k] = tensor(file, name, 2, fresh);
    }
    s->labels = tensor(file, "labels", 2, trained);
    s->trained = floats((size_t)s->steps * s->rows * s->portions * s->bits);
    s->soft = floats((size_t)s->samples * s->portions * s->bits);
    s->hard = floats((size_t)s->samples * s->portions * s->bits);
    safetensors_close(file);
}

static void load_nets(system_of *s, const char *weights) {
    experiment_describe_encoder(&s->e, 0, &s->encoder);
    nn_net_options options = {.max_rows = s->rows, .training = true};
    for (uint32_t k = 0; k < s->portions; k++) {
        checkpoint_id id = part_of(k, s->first, false);
        must(nn_net_new(&s->encoders[k], &s->encoder, &options));
        s->optimisers[k] = experiment_optimiser(&s->e, s->steps * s->rows);
        nn_optimiser *o = s->first > 0 ? &s->optimisers[k] : NULL;
        must(checkpoint_load(path_in(weights, id.part), &id, s->encoders[k], o, NULL));
    }
    checkpoint_id id = part_of(0, s->first, true);
    must(head_trainer_new(&s->head, &s->e, 10, s->rows, s->steps * s->rows, NULL));
    head_trainer_init(s->head, 0);
    nn_optimiser *o = s->first > 0 ? head_trainer_optimiser(s->head) : NULL;
    must(checkpoint_load(path_in(weights, "head"), &id, head_trainer_net(s->head), o, NULL));
}

/* Puts one portion's numbers into its columns of all portions' (`into`), or takes them out. */
static void columns(const system_of *s, uint32_t k, float *one, float *all, size_t rows, bool into) {
    size_t width = (size_t)s->portions * s->bits;
    for (size_t row = 0; row < rows; row++) {
        float *part = one + row * s->bits, *whole = all + row * width + k * s->bits;
        memcpy(into ? whole : part, into ? part : whole, s->bits * sizeof(float));
    }
}

/* The draws of encoder K's dropout at step `at` of this run. */
static void set_draws(const system_of *s, nn_net *net, uint32_t k, uint32_t at) {
    nn_net_set_step(net, s->e.training.seed, rng_stream(RNG_DROPOUT, k), s->first + at);
}

static double train_once(system_of *s, uint32_t at, uint8_t *labels, float *one, float *gradients) {
    size_t width = (size_t)s->portions * s->bits;
    float *all = s->trained + at * s->rows * width;
    for (uint32_t k = 0; k < s->portions; k++) {
        const float *x = s->portions_in[k] + (size_t)at * s->rows * s->elements;
        set_draws(s, s->encoders[k], k, at);
        memcpy(one, nn_net_forward(s->encoders[k], x, s->rows, NN_TRAIN), s->rows * s->bits * sizeof(float));
        columns(s, k, one, all, s->rows, true);
    }
    for (uint32_t row = 0; row < s->rows; row++) {
        labels[row] = (uint8_t)s->labels[at * s->rows + row];
    }
    double loss = 0;
    size_t correct = 0;
    memcpy(gradients, head_trainer_train(s->head, all, NULL, labels, s->rows, &loss, &correct),
           s->rows * width * sizeof(float));
    head_trainer_update_begin(s->head);
    for (size_t task = 0; task < head_trainer_update_tasks(s->head); task++) {
        head_trainer_update_task(s->head, task);
    }
    head_trainer_update_finish(s->head);
    for (uint32_t k = 0; k < s->portions; k++) {
        columns(s, k, one, gradients, s->rows, false);
        nn_net_backward(s->encoders[k], one);
        nn_optimiser_begin(&s->optimisers[k]);
        nn_net_update(s->encoders[k], &s->optimisers[k]);
    }
    return loss;
}

static void encode_fresh(system_of *s) {
    size_t width = (size_t)s->portions * s->bits;
    for (uint32_t k = 0; k < s->portions; k++) {
        for (uint32_t first = 0; first < s->samples; first += s->rows) {
            uint32_t rows = s->samples - first < s->rows ? s->samples - first : s->rows;
            const float *x = s->fresh[k] + (size_t)first * s->elements;
            const float *soft = nn_net_forward(s->encoders[k], x, rows, NN_EVALUATE);
            columns(s, k, (float *)(uintptr_t)soft, s->soft + first * width, rows, true);
        }
    }
    for (size_t i = 0; i < s->samples * width; i++) {
        s->hard[i] = binarize(s->soft[i]);
    }
}

/* What dropout layer `layer` of encoder K multiplied by, [steps, rows, width]. Its draws depend on the seed, the
 * stream, the step and its place only: a net of as many layers that do nothing in front of it has the same. */
static float *dropped(const system_of *s, uint32_t k, size_t layer, uint32_t width) {
    nn_spec spec = {.inputs = width, .count = layer + 1};
    for (size_t i = 0; i < layer; i++) {
        spec.layers[i].kind = NN_RELU;
    }
    spec.layers[layer] = s->encoder.layers[layer];
    nn_net *net;
    nn_net_options options = {.max_rows = s->rows, .training = true};
    must(nn_net_new(&net, &spec, &options));
    size_t batch = (size_t)s->rows * width;
    float *ones = floats(batch), *masks = floats(s->steps * batch);
    for (size_t i = 0; i < batch; i++) {
        ones[i] = 1;
    }
    for (uint32_t at = 0; at < s->steps; at++) {
        set_draws(s, net, k, at);
        memcpy(masks + at * batch, nn_net_forward(net, ones, s->rows, NN_TRAIN), batch * sizeof(float));
    }
    nn_net_free(net);
    free(ones);
    return masks;
}

enum { MOST_ENTRIES = 3 + PARTITION_PORTIONS_MAX * MOST_DROPOUTS };

static size_t add_dropouts(const system_of *s, safetensors_entry *entries, size_t count) {
    static char names[MOST_ENTRIES][48];
    static uint32_t sizes[MOST_ENTRIES][3];
    nn_shape shapes[NN_LAYERS_MAX];
    must(shape_infer(&s->encoder, shapes));
    for (size_t i = 0; i < s->encoder.count; i++) {
        for (uint32_t k = 0; s->encoder.layers[i].kind == NN_DROPOUT && k < s->portions; k++) {
            uint32_t width = (uint32_t)nn_shape_elements(shapes[i]);
            snprintf(names[count], sizeof names[count], "dropout.%u.%zu", k, i);
            memcpy(sizes[count], (uint32_t[]){s->steps, s->rows, width}, sizeof sizes[count]);
            entries[count] = (safetensors_entry){names[count], 3, sizes[count], dropped(s, k, i, width)};
            count++;
        }
    }
    return count;
}

static void save_codes(const system_of *s, const char *out) {
    const uint32_t width = s->portions * s->bits, trained[] = {s->steps, s->rows, width}, fresh[] = {s->samples, width};
    safetensors_entry entries[MOST_ENTRIES] = {
        {"trained", 3, trained, s->trained},
        {"soft", 2, fresh, s->soft},
        {"bits", 2, fresh, s->hard},
    };
    size_t count = add_dropouts(s, entries, 3);
    must(safetensors_write(path_in(out, "codes"), entries, count, NULL, 0, NULL));
    for (size_t i = 3; i < count; i++) {
        free((float *)(uintptr_t)entries[i].values);
    }
}

/* The parts as they are after `done` of the steps. */
static void save(system_of *s, uint32_t done, const char *out) {
    uint8_t digest[SHA256_BYTES];
    for (uint32_t k = 0; k < s->portions; k++) {
        checkpoint_id id = part_of(k, s->first + done, false);
        must(checkpoint_save(path_in(out, id.part), &id, s->encoders[k], &s->optimisers[k], digest));
    }
    checkpoint_id id = part_of(0, s->first + done, true);
    must(checkpoint_save(path_in(out, id.part), &id, head_trainer_net(s->head), head_trainer_optimiser(s->head),
                         digest));
}

static void train(system_of *s, const char *stops) {
    float *one = floats((size_t)s->rows * s->bits), *gradients = floats((size_t)s->rows * s->portions * s->bits);
    uint8_t *labels = calloc(s->rows, 1);
    must(labels ? ERR_OK : err_fail(ERR_MEMORY, "no memory for labels"));
    for (uint32_t at = 0; at < s->steps; at++) {
        double loss = train_once(s, at, labels, one, gradients);
        if (stops) {
            save(s, at + 1, stops);
            save_codes(s, stops);
        }
        printf("%.9g\n", loss);
        fflush(stdout);
        if (stops && getchar() != '\n') {
            must(err_fail(ERR_INPUT, "no line to go on"));
        }
    }
    free(one);
    free(gradients);
    free(labels);
}

static void release(system_of *s) {
    for (uint32_t k = 0; k < s->portions; k++) {
        nn_net_free(s->encoders[k]);
        free(s->portions_in[k]);
        free(s->fresh[k]);
    }
    head_trainer_free(s->head);
    free(s->labels);
    free(s->trained);
    free(s->soft);
    free(s->hard);
}

int main(int argc, char **argv) {
    bool stops = argc == 6 && strcmp(argv[5], "--stops") == 0;
    if (argc != 5 && !stops) {
        fprintf(stderr, "usage: parity_steps EXPERIMENT WEIGHTS BATCHES OUT [--stops]\n");
        return 2;
    }
    openblas_set_num_threads(1); /* as the programs do */
    static system_of s;
    must(experiment_load(argv[1], &s.e));
    load_batches(&s, argv[3]);
    load_nets(&s, argv[2]);
    train(&s, stops ? argv[4] : NULL);
    encode_fresh(&s);
    save(&s, s.steps, argv[4]);
    save_codes(&s, argv[4]);
    release(&s);
    return 0;
}
