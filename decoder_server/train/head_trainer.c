#include "decoder_server/train/head_trainer.h"

#include "base/arena.h"
#include "base/machine.h"
#include "base/rng.h"
#include "decoder_server/train/portion_dropout.h"
#include "decoder_server/train/refinement_batch.h"
#include "experiment/derive.h"
#include "nn/ema.h"
#include "nn/loss.h"
#include "nn/shape_infer.h"

#include <stdlib.h>
#include <string.h>

struct head_trainer {
    nn_net *head;
    nn_optimiser optimiser;
    experiment experiment;
    uint32_t train_samples, classes;
    size_t inputs;
    double row_macs; /* multiply-adds of a step, a row */
    size_t max_rows; /* of the net; a longer evaluation is cut into pieces of that */
    arena buffers;
    float *logits_gradient; /* [max_rows, classes] */
    float *soft_gradient;   /* [max_rows, inputs]; NULL: nobody wants it */
    portion_dropout dropout;
    uint64_t number;                      /* of the step */
    uint64_t *have;                       /* [max_rows] */
    float *seen;                          /* [max_rows, inputs]; NULL: no portion is ever missing */
    codeword layout;                      /* of the inputs, where these are codes */
    float weights[REFINEMENT_STAGES_MAX]; /* of each stage's loss */
    float *spread;                        /* [max_rows, inputs]; NULL: all bits come in one stage */
    bool is_weighted;                     /* by the class of each sample: */
    float class_weights[DATASET_CLASSES_MAX];
};

/* The head's dropout; portions count from 0 and never get there. */
enum { HEAD_STREAM = 0xffff };

static err make_head(head_trainer *s, size_t rows, thread_pool *l) {
    const experiment *e = &s->experiment;
    nn_spec spec;
    experiment_describe_head(e, s->classes, &spec);
    s->inputs = spec.inputs;
    size_t batch = (size_t)e->training.batch_size * s->layout.stages;
    s->row_macs = nn_spec_step_macs(&spec, s->layout.stages, !experiment_is_classifier_alone(e));
    s->max_rows = nn_rows_at_once(&spec, batch, rows);
    nn_net_options options = {
        .max_rows = s->max_rows,
        .max_bytes = machine_memory(),
        .training = true,
        .ema = e->training.ema_decay > 0,
        .input_gradient = !experiment_is_classifier_alone(e),
        .pool = l,
        .precision = e->training.precision,
    };
    err failed = nn_net_new(&s->head, &spec, &options);
    return err_prefix(failed, "decoder and classifier for %zu rows a step (training.batch_size%s)", s->max_rows,
                      s->layout.stages > 1 ? " x encoder.refinement" : "");
}

static err plan_buffers(head_trainer *s) {
    size_t logits = s->max_rows * s->classes * sizeof(float);
    size_t soft = experiment_is_classifier_alone(&s->experiment) ? 0 : s->max_rows * s->inputs * sizeof(float);
    bool may_lack = s->dropout.rate > 0 || s->experiment.dataset.missing == EXPERIMENT_MISSING_TRAIN;
    size_t seen = may_lack ? soft : 0, have = s->max_rows * sizeof(uint64_t);
    size_t spread = s->layout.stages > 1 ? soft : 0;
    err e = arena_init(&s->buffers, arena_rounded(logits) + arena_rounded(soft) + arena_rounded(seen) +
                                        arena_rounded(have) + arena_rounded(spread));
    if (!e) {
        s->logits_gradient = arena_take(&s->buffers, logits);
        s->soft_gradient = soft > 0 ? arena_take(&s->buffers, soft) : NULL;
        s->seen = seen > 0 ? arena_take(&s->buffers, seen) : NULL;
        s->have = arena_take(&s->buffers, have);
        s->spread = spread > 0 ? arena_take(&s->buffers, spread) : NULL;
    }
    return e;
}

err head_trainer_new(head_trainer **out, const experiment *e, uint32_t classes, size_t rows, uint32_t train_samples,
                     thread_pool *l) {
    head_trainer *s = calloc(1, sizeof *s);
    if (!s) {
        return err_fail(ERR_MEMORY, "no memory for a training step");
    }
    s->experiment = *e;
    s->classes = classes;
    s->train_samples = train_samples;
    s->optimiser = experiment_optimiser(e, train_samples);
    s->layout = experiment_codeword(e);
    s->dropout = (portion_dropout){e->training.portion_dropout, e->training.seed, &s->layout};
    experiment_refinement_weights(e, s->weights);
    err failed = make_head(s, rows, l);
    failed = failed ? failed : plan_buffers(s);
    if (failed) {
        head_trainer_free(s);
        return failed;
    }
    *out = s;
    return ERR_OK;
}

void head_trainer_free(head_trainer *s) {
    if (s) {
        nn_net_free(s->head);
        arena_free(&s->buffers);
        free(s);
    }
}

void head_trainer_weigh_classes(head_trainer *s, const float *weights) {
    s->is_weighted = true;
    memcpy(s->class_weights, weights, s->classes * sizeof *weights);
}

void head_trainer_init(head_trainer *s, uint64_t seed) {
    s->optimiser = experiment_optimiser(&s->experiment, s->train_samples);
    nn_net_init(s->head, seed, rng_stream(RNG_INIT_HEAD, 0));
}

nn_net *head_trainer_net(head_trainer *s) {
    return s->head;
}

nn_optimiser *head_trainer_optimiser(head_trainer *s) {
    return &s->optimiser;
}

size_t head_trainer_inputs(const head_trainer *s) {
    return s->inputs;
}

void head_trainer_place(const head_trainer *s, uint32_t portion, const float *from, size_t rows, float *inputs) {
    uint32_t bits = codeword_portion_bits(&s->layout, portion);
    for (size_t row = 0; row < rows; row++) {
        memcpy(inputs + row * s->inputs + s->layout.offset[portion], from + row * bits, bits * sizeof(float));
    }
}

void head_trainer_take(const head_trainer *s, uint32_t portion, const float *gradient, size_t rows, float *to) {
    uint32_t bits = codeword_portion_bits(&s->layout, portion);
    for (size_t row = 0; row < rows; row++) {
        memcpy(to + row * bits, gradient + row * s->inputs + s->layout.offset[portion], bits * sizeof(float));
    }
}

double head_trainer_step_macs(const head_trainer *s, size_t rows) {
    return s->row_macs * (double)rows;
}

void head_trainer_set_number(head_trainer *s, uint64_t number) {
    s->number = number;
    nn_net_set_step(s->head, s->experiment.training.seed, rng_stream(RNG_DROPOUT, HEAD_STREAM), (uint32_t)number);
}

/* What the head sees of what the encoders put out: a row a sample, a stage after the other. */
static const float *see(head_trainer *s, const float *soft, const uint64_t *have, size_t rows) {
    const float *seen = soft;
    if (s->seen) {
        portion_dropout_draw(&s->dropout, s->number, have, rows, s->have);
        portion_dropout_fill(&s->dropout, s->have, rows, soft, s->seen);
        seen = s->seen;
    }
    if (s->spread) {
        refinement_batch_spread(&s->layout, seen, rows, s->spread);
        seen = s->spread;
    }
    return seen;
}

static double cross_entropy(const head_trainer *s, const float *logits, const uint8_t *labels, size_t rows,
                            float *gradient, size_t *correct) {
    float smoothing = s->experiment.loss.label_smoothing;
    return s->is_weighted ? loss_weighted_cross_entropy(logits, labels, rows, s->classes, smoothing, s->class_weights,
                                                        gradient, correct)
                          : loss_cross_entropy(logits, labels, rows, s->classes, smoothing, gradient, correct);
}

/* Each stage's loss with its weight; the gradient on all their logits is in logits_gradient. */
static double losses(head_trainer *s, const float *logits, const uint8_t *labels, size_t rows, size_t *correct) {
    uint32_t count = s->layout.stages;
    size_t numbers = rows * s->classes;
    double loss = 0;
    for (uint32_t stage = 0; stage < count; stage++) {
        float *gradient = s->logits_gradient + stage * numbers;
        size_t right = 0;
        loss += (double)s->weights[stage] * cross_entropy(s, logits + stage * numbers, labels, rows, gradient, &right);
        for (size_t i = 0; i < numbers && count > 1; i++) {
            gradient[i] *= s->weights[stage];
        }
        *correct += stage + 1 == count ? right : 0;
    }
    return loss;
}

static bool has_even_portions(const codeword *c) {
    bool is_even = true;
    for (uint32_t k = 0; k < c->portions; k++) {
        is_even = is_even && codeword_portion_bits(c, k) == codeword_portion_bits(c, 0);
    }
    return is_even;
}

static bool is_there(const uint64_t *have, size_t row, uint32_t portion) {
    return !have || (have[row] >> portion & 1);
}

static size_t count_there(const codeword *c, const uint64_t *have, size_t rows) {
    size_t count = 0;
    for (size_t row = 0; row < rows; row++) {
        for (uint32_t k = 0; k < c->portions; k++) {
            count += is_there(have, row, k);
        }
    }
    return count;
}

/* The mean over the portions that there are of each one's mean; its gradient is added to soft_gradient. */
static double quantization(head_trainer *s, const float *soft, const uint64_t *have, size_t rows) {
    const codeword *c = &s->layout;
    float alpha = s->experiment.loss.quantization;
    if (!have && has_even_portions(c)) { /* then that is the mean over all */
        return loss_quantization(soft, rows * s->inputs, alpha, s->soft_gradient);
    }
    size_t parts = count_there(c, have, rows);
    double sum = 0;
    for (size_t row = 0; row < rows; row++) {
        for (uint32_t k = 0; k < c->portions; k++) {
            size_t at = row * s->inputs + c->offset[k], bits = is_there(have, row, k) ? codeword_portion_bits(c, k) : 0;
            sum += bits > 0 ? loss_quantization(soft + at, bits, alpha / (float)parts, s->soft_gradient + at) : 0;
        }
    }
    return sum / (double)parts;
}

const float *head_trainer_train(head_trainer *s, const float *soft, const uint64_t *have, const uint8_t *labels,
                                size_t rows, double *loss, size_t *correct) {
    nn_net_use_ema(s->head, false);
    const float *logits = nn_net_forward(s->head, see(s, soft, have, rows), rows * s->layout.stages, NN_TRAIN);
    *loss = losses(s, logits, labels, rows, correct);
    const float *gradient = nn_net_backward(s->head, s->logits_gradient);
    if (!s->soft_gradient) {
        return NULL;
    }
    float alpha = s->experiment.loss.quantization;
    if (s->spread) {
        refinement_batch_gather(&s->layout, gradient, rows, s->soft_gradient);
    } else {
        memcpy(s->soft_gradient, gradient, rows * s->inputs * sizeof(float));
    }
    if (s->seen) {
        portion_dropout_clear(&s->dropout, s->have, rows, s->soft_gradient);
    }
    if (alpha > 0) {
        *loss += (double)alpha * quantization(s, soft, have, rows);
    }
    return s->soft_gradient;
}

void head_trainer_hide(const head_trainer *s, const uint64_t *have, size_t rows, float *inputs) {
    portion_dropout_fill(&s->dropout, have, rows, inputs, inputs);
}

size_t head_trainer_update_tasks(const head_trainer *s) {
    return nn_net_update_tasks(s->head);
}

void head_trainer_update_begin(head_trainer *s) {
    nn_optimiser_begin(&s->optimiser);
}

void head_trainer_update_task(head_trainer *s, size_t task) {
    nn_net_update_task(s->head, &s->optimiser, task);
}

void head_trainer_update_finish(head_trainer *s) {
    nn_net_update_finish(s->head, &s->optimiser);
    if (s->experiment.training.ema_decay > 0) {
        nn_net_update_ema(s->head, s->experiment.training.ema_decay, s->optimiser.step);
    }
}

static void to_probabilities(const float *logits, size_t rows, size_t classes, float *to) {
    memcpy(to, logits, rows * classes * sizeof *to);
    for (size_t row = 0; row < rows; row++) {
        loss_softmax(to + row * classes, classes);
    }
}

size_t head_trainer_evaluate(head_trainer *s, const float *codes, const uint8_t *labels, size_t rows,
                             float *probabilities) {
    size_t correct = 0;
    nn_net_use_ema(s->head, true);
    for (size_t first = 0; first < rows; first += s->max_rows) {
        size_t piece = rows - first < s->max_rows ? rows - first : s->max_rows;
        const float *logits = nn_net_forward(s->head, codes + first * s->inputs, piece, NN_EVALUATE);
        loss_cross_entropy(logits, labels + first, piece, s->classes, 0, NULL, &correct);
        if (probabilities) {
            to_probabilities(logits, piece, s->classes, probabilities + first * s->classes);
        }
    }
    return correct;
}

void head_trainer_predict(head_trainer *s, const float *codes, size_t rows, float *confidences, uint8_t *classes) {
    nn_net_use_ema(s->head, true);
    for (size_t first = 0; first < rows; first += s->max_rows) {
        size_t piece = rows - first < s->max_rows ? rows - first : s->max_rows;
        const float *logits = nn_net_forward(s->head, codes + first * s->inputs, piece, NN_EVALUATE);
        for (size_t i = 0; i < piece; i++) {
            float row[DATASET_CLASSES_MAX];
            memcpy(row, logits + i * s->classes, s->classes * sizeof *row);
            loss_softmax(row, s->classes);
            size_t class = loss_largest(row, s->classes);
            confidences[first + i] = row[class];
            classes[first + i] = (uint8_t) class;
        }
    }
}
