#include "decoder_server/train/step.h"

#include "base/arena.h"
#include "base/rng.h"
#include "decoder_server/train/missing.h"
#include "nn/loss.h"
#include "nn/rows.h"

#include <stdlib.h>
#include <string.h>

struct step {
    nn_net *head;
    nn_optimiser optimiser;
    experiment experiment;
    uint32_t train_samples, classes;
    size_t inputs;
    size_t max_rows; /* of the net; a longer evaluation is cut into pieces of that */
    arena buffers;
    float *logits_gradient; /* [max_rows, classes] */
    float *soft_gradient;   /* [max_rows, inputs]; NULL: nobody wants it */
    missing missing;
    uint64_t number; /* of the step */
    uint64_t *have;  /* [max_rows] */
    float *seen;     /* [max_rows, inputs]; NULL: no portion is ever missing */
};

/* The head's dropout; portions count from 0 and never get there. */
enum { HEAD_STREAM = 0xffff };

static err make_head(step *s, size_t rows, lanes *l) {
    const experiment *e = &s->experiment;
    split parts;
    err failed = experiment_split(e, &parts, &s->classes);
    if (failed) {
        return failed;
    }
    nn_spec spec;
    experiment_describe_head(e, &parts, s->classes, &spec);
    s->inputs = spec.inputs;
    s->max_rows = nn_rows_at_once(&spec, e->training.batch, rows);
    nn_net_options options = {
        .max_rows = s->max_rows,
        .training = true,
        .average = e->training.average > 0,
        .input_gradient = !experiment_is_classifier_alone(e),
        .lanes = l,
        .precision = e->training.precision,
    };
    return nn_net_new(&s->head, &spec, &options);
}

static err plan_buffers(step *s) {
    size_t logits = s->max_rows * s->classes * sizeof(float);
    size_t soft = experiment_is_classifier_alone(&s->experiment) ? 0 : s->max_rows * s->inputs * sizeof(float);
    size_t seen = s->missing.rate > 0 ? soft : 0, have = s->max_rows * sizeof(uint64_t);
    err e = arena_init(&s->buffers,
                       arena_rounded(logits) + arena_rounded(soft) + arena_rounded(seen) + arena_rounded(have));
    if (!e) {
        s->logits_gradient = arena_take(&s->buffers, logits);
        s->soft_gradient = soft > 0 ? arena_take(&s->buffers, soft) : NULL;
        s->seen = seen > 0 ? arena_take(&s->buffers, seen) : NULL;
        s->have = arena_take(&s->buffers, have);
    }
    return e;
}

err step_new(step **out, const experiment *e, size_t rows, uint32_t train_samples, lanes *l) {
    step *s = calloc(1, sizeof *s);
    if (!s) {
        return err_fail(ERR_MEMORY, "no memory for a training step");
    }
    s->experiment = *e;
    s->train_samples = train_samples;
    s->optimiser = experiment_optimiser(e, train_samples);
    s->missing = (missing){e->training.portion_dropout, e->training.seed, e->data.portions, e->encoder.bits};
    err failed = make_head(s, rows, l);
    failed = failed ? failed : plan_buffers(s);
    if (failed) {
        step_free(s);
        return failed;
    }
    *out = s;
    return ERR_OK;
}

void step_free(step *s) {
    if (s) {
        nn_net_free(s->head);
        arena_free(&s->buffers);
        free(s);
    }
}

void step_init(step *s, uint64_t seed) {
    s->optimiser = experiment_optimiser(&s->experiment, s->train_samples);
    nn_net_init(s->head, seed, rng_stream(RNG_INIT_HEAD, 0));
}

nn_net *step_head(step *s) {
    return s->head;
}

nn_optimiser *step_optimiser(step *s) {
    return &s->optimiser;
}

size_t step_inputs(const step *s) {
    return s->inputs;
}

void step_set_number(step *s, uint64_t number) {
    s->number = number;
    nn_net_set_step(s->head, s->experiment.training.seed, rng_stream(RNG_DROPOUT, HEAD_STREAM), (uint32_t)number);
}

/* What the head sees of what the encoders put out. */
static const float *see(step *s, const float *soft, size_t rows) {
    if (!s->seen) {
        return soft;
    }
    missing_draw(&s->missing, s->number, rows, s->have);
    missing_fill(&s->missing, s->have, rows, soft, s->seen);
    return s->seen;
}

const float *step_train(step *s, const float *soft, const uint8_t *labels, size_t rows, double *loss, size_t *correct) {
    nn_net_use_average(s->head, false);
    const float *logits = nn_net_forward(s->head, see(s, soft, rows), rows, NN_TRAIN);
    *loss = loss_cross_entropy(logits, labels, rows, s->classes, s->experiment.loss.label_smoothing, s->logits_gradient,
                               correct);
    const float *gradient = nn_net_backward(s->head, s->logits_gradient);
    if (!s->soft_gradient) {
        return NULL;
    }
    float alpha = s->experiment.loss.quantization;
    size_t numbers = rows * s->inputs;
    memcpy(s->soft_gradient, gradient, numbers * sizeof(float));
    if (s->seen) {
        missing_clear(&s->missing, s->have, rows, s->soft_gradient);
    }
    if (alpha > 0) {
        /* all encoders have as many outputs, so the mean of their means is the mean over all */
        *loss += (double)alpha * loss_quantization(soft, numbers, alpha, s->soft_gradient);
    }
    return s->soft_gradient;
}

size_t step_update_tasks(const step *s) {
    return nn_net_update_tasks(s->head);
}

void step_update_begin(step *s) {
    nn_optimiser_begin(&s->optimiser);
}

void step_update_task(step *s, size_t task) {
    nn_net_update_task(s->head, &s->optimiser, task);
}

void step_update_finish(step *s) {
    nn_net_update_finish(s->head, &s->optimiser);
    if (s->experiment.training.average > 0) {
        nn_net_average(s->head, s->experiment.training.average, s->optimiser.step);
    }
}

size_t step_evaluate(step *s, const float *codes, const uint8_t *labels, size_t rows) {
    size_t correct = 0;
    nn_net_use_average(s->head, true);
    for (size_t first = 0; first < rows; first += s->max_rows) {
        size_t piece = rows - first < s->max_rows ? rows - first : s->max_rows;
        const float *logits = nn_net_forward(s->head, codes + first * s->inputs, piece, NN_EVALUATE);
        loss_cross_entropy(logits, labels + first, piece, s->classes, 0, NULL, &correct);
    }
    return correct;
}
