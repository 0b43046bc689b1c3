/* The project's half of the parity tests: joint training steps from given weights on given batches.
 *
 *     parity_steps EXPERIMENT WEIGHTS BATCHES OUT
 *
 * WEIGHTS holds the checkpoint parts encoder.K.safetensors and head.safetensors of run 0 and step `first`, with
 * optimiser state unless that is 0. BATCHES is a safetensors file with the metadata "first", "steps" and "samples"
 * (which may be 0), and
 *
 *     "portion.K"    [steps, rows, elements]    what encoder K sees; rows: the experiment's batch
 *     "labels"       [steps, rows]
 *     "fresh.K"      [samples, elements]        what it sees once the steps are done
 *
 * Prints the loss of each step, and leaves in OUT the parts after the last one and codes.safetensors:
 *
 *     "trained"      [steps, rows, code bits]   what the head saw
 *     "soft", "bits" [samples, code bits]       what the encoders make of the fresh samples; the decisions on it */
#include "base/file.h"
#include "base/options.h"
#include "bits/decision.h"
#include "decoder_server/train/step.h"
#include "experiment/experiment.h"
#include "model/checkpoint.h"
#include "model/safetensors.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SAMPLES = 100000 };

typedef struct system_of {
    experiment e;
    split parts;
    uint32_t portions, bits, rows, first, steps, samples;
    uint32_t elements; /* of a portion */
    step *head;
    nn_net *encoders[SPLIT_PORTIONS_MAX];
    nn_optimiser optimisers[SPLIT_PORTIONS_MAX];
    float *portions_in[SPLIT_PORTIONS_MAX], *fresh[SPLIT_PORTIONS_MAX];
    float *labels;  /* [steps, rows] */
    float *trained; /* [steps, rows, portions * bits] */
    float *soft, *hard;
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
    must(experiment_split(&s->e, &s->parts, &classes));
    s->portions = s->parts.portions;
    s->bits = s->e.encoder.bits;
    s->rows = s->e.training.batch;
    s->elements = (uint32_t)split_portion_elements(&s->parts);
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
    nn_spec spec;
    experiment_describe_encoder(&s->e, &s->parts, &spec);
    nn_net_options options = {.max_rows = s->rows, .training = true};
    for (uint32_t k = 0; k < s->portions; k++) {
        checkpoint_id id = part_of(k, s->first, false);
        must(nn_net_new(&s->encoders[k], &spec, &options));
        s->optimisers[k] = experiment_optimiser(&s->e);
        nn_optimiser *o = s->first > 0 ? &s->optimisers[k] : NULL;
        must(checkpoint_load(path_in(weights, id.part), &id, s->encoders[k], o, NULL));
    }
    checkpoint_id id = part_of(0, s->first, true);
    must(step_new(&s->head, &s->e, s->rows, NULL));
    step_init(s->head, 0);
    nn_optimiser *o = s->first > 0 ? step_optimiser(s->head) : NULL;
    must(checkpoint_load(path_in(weights, "head"), &id, step_head(s->head), o, NULL));
}

/* Puts one portion's numbers into its columns of all portions' (`into`), or takes them out. */
static void columns(const system_of *s, uint32_t k, float *one, float *all, size_t rows, bool into) {
    size_t width = (size_t)s->portions * s->bits;
    for (size_t row = 0; row < rows; row++) {
        float *part = one + row * s->bits, *whole = all + row * width + k * s->bits;
        memcpy(into ? whole : part, into ? part : whole, s->bits * sizeof(float));
    }
}

static double train_once(system_of *s, uint32_t at, uint8_t *labels, float *one, float *gradients) {
    size_t width = (size_t)s->portions * s->bits;
    float *all = s->trained + at * s->rows * width;
    for (uint32_t k = 0; k < s->portions; k++) {
        const float *x = s->portions_in[k] + (size_t)at * s->rows * s->elements;
        memcpy(one, nn_net_forward(s->encoders[k], x, s->rows, NN_TRAIN), s->rows * s->bits * sizeof(float));
        columns(s, k, one, all, s->rows, true);
    }
    for (uint32_t row = 0; row < s->rows; row++) {
        labels[row] = (uint8_t)s->labels[at * s->rows + row];
    }
    double loss = 0;
    size_t correct = 0;
    memcpy(gradients, step_train(s->head, all, labels, s->rows, &loss, &correct), s->rows * width * sizeof(float));
    step_update_begin(s->head);
    for (size_t task = 0; task < step_update_tasks(s->head); task++) {
        step_update_task(s->head, task);
    }
    step_update_finish(s->head);
    for (uint32_t k = 0; k < s->portions; k++) {
        columns(s, k, one, gradients, s->rows, false);
        nn_net_backward(s->encoders[k], one);
        nn_optimiser_begin(&s->optimisers[k]);
        nn_net_update(s->encoders[k], &s->optimisers[k]);
    }
    return loss;
}

static void train(system_of *s) {
    float *one = floats((size_t)s->rows * s->bits), *gradients = floats((size_t)s->rows * s->portions * s->bits);
    uint8_t *labels = calloc(s->rows, 1);
    must(labels ? ERR_OK : err_fail(ERR_MEMORY, "no memory for labels"));
    for (uint32_t at = 0; at < s->steps; at++) {
        printf("%.9g\n", train_once(s, at, labels, one, gradients));
    }
    free(one);
    free(gradients);
    free(labels);
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
        s->hard[i] = decision_round(s->soft[i]);
    }
}

static void save(system_of *s, const char *out) {
    uint8_t digest[DIGEST_BYTES];
    for (uint32_t k = 0; k < s->portions; k++) {
        checkpoint_id id = part_of(k, s->first + s->steps, false);
        must(checkpoint_save(path_in(out, id.part), &id, s->encoders[k], &s->optimisers[k], digest));
    }
    checkpoint_id id = part_of(0, s->first + s->steps, true);
    must(checkpoint_save(path_in(out, id.part), &id, step_head(s->head), step_optimiser(s->head), digest));
    const uint32_t width = s->portions * s->bits, trained[] = {s->steps, s->rows, width}, fresh[] = {s->samples, width};
    const safetensors_entry entries[] = {
        {"trained", 3, trained, s->trained},
        {"soft", 2, fresh, s->soft},
        {"bits", 2, fresh, s->hard},
    };
    must(safetensors_write(path_in(out, "codes"), entries, 3, NULL, 0, NULL));
}

static void release(system_of *s) {
    for (uint32_t k = 0; k < s->portions; k++) {
        nn_net_free(s->encoders[k]);
        free(s->portions_in[k]);
        free(s->fresh[k]);
    }
    step_free(s->head);
    free(s->labels);
    free(s->trained);
    free(s->soft);
    free(s->hard);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: parity_steps EXPERIMENT WEIGHTS BATCHES OUT\n");
        return 2;
    }
    openblas_set_num_threads(1); /* as the programs do */
    static system_of s;
    must(experiment_load(argv[1], &s.e));
    load_batches(&s, argv[3]);
    load_nets(&s, argv[2]);
    train(&s);
    encode_fresh(&s);
    save(&s, argv[4]);
    release(&s);
    return 0;
}
