#include "decoder_server/train/step.h"

#include "base/arena.h"
#include "base/rng.h"
#include "nn/loss.h"

#include <stdlib.h>
#include <string.h>

struct step {
    nn_net *head;
    nn_optimiser optimiser;
    experiment experiment;
    uint32_t classes, code_bits;
    arena buffers;
    float *logits_gradient; /* [rows, classes] */
    float *soft_gradient;   /* [rows, code_bits] */
};

err step_new(step **out, const experiment *e, size_t rows, lanes *l) {
    step *s = calloc(1, sizeof *s);
    if (!s) {
        return err_fail(ERR_MEMORY, "no memory for a training step");
    }
    s->experiment = *e;
    s->code_bits = e->encoder.bits * e->data.portions;
    s->optimiser = experiment_optimiser(e);
    split parts;
    err failed = experiment_split(e, &parts, &s->classes);
    nn_spec spec;
    if (!failed) {
        experiment_describe_head(e, &parts, s->classes, &spec);
        nn_net_options options = {.max_rows = rows, .training = true, .input_gradient = true, .lanes = l};
        failed = nn_net_new(&s->head, &spec, &options);
    }
    size_t logits = rows * s->classes * sizeof(float), soft = rows * s->code_bits * sizeof(float);
    failed = failed ? failed : arena_init(&s->buffers, arena_rounded(logits) + arena_rounded(soft));
    if (failed) {
        step_free(s);
        return failed;
    }
    s->logits_gradient = arena_take(&s->buffers, logits);
    s->soft_gradient = arena_take(&s->buffers, soft);
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
    s->optimiser = experiment_optimiser(&s->experiment);
    nn_net_init(s->head, seed, rng_stream(RNG_INIT_HEAD, 0));
}

nn_net *step_head(step *s) {
    return s->head;
}

nn_optimiser *step_optimiser(step *s) {
    return &s->optimiser;
}

const float *step_train(step *s, const float *soft, const uint8_t *labels, size_t rows, double *loss, size_t *correct) {
    const float *logits = nn_net_forward(s->head, soft, rows, NN_TRAIN);
    *loss = loss_cross_entropy(logits, labels, rows, s->classes, s->logits_gradient, correct);
    const float *gradient = nn_net_backward(s->head, s->logits_gradient);
    float alpha = s->experiment.loss.quantization;
    size_t numbers = rows * s->code_bits;
    memcpy(s->soft_gradient, gradient, numbers * sizeof(float));
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
}

size_t step_evaluate(step *s, const float *codes, const uint8_t *labels, size_t rows) {
    const float *logits = nn_net_forward(s->head, codes, rows, NN_EVALUATE);
    size_t correct = 0;
    loss_cross_entropy(logits, labels, rows, s->classes, NULL, &correct);
    return correct;
}
