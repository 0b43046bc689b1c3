#include "decoder_server/serve/classifier.h"

#include "base/arena.h"
#include "nn/loss.h"
#include "nn/rows.h"

#include <stdlib.h>
#include <string.h>

struct classifier {
    nn_net *head;
    uint32_t portions, bits, classes;
    size_t net_rows; /* what the head takes at once */
    arena buffers;
    float *codes;         /* [CLASSIFIER_ROWS, portions * bits] */
    float *probabilities; /* [CLASSIFIER_ROWS, classes] */
};

static err plan_buffers(classifier *c) {
    size_t codes = (size_t)CLASSIFIER_ROWS * c->portions * c->bits * sizeof(float);
    size_t probabilities = (size_t)CLASSIFIER_ROWS * c->classes * sizeof(float);
    err e = arena_init(&c->buffers, arena_rounded(codes) + arena_rounded(probabilities));
    if (!e) {
        c->codes = arena_take(&c->buffers, codes);
        c->probabilities = arena_take(&c->buffers, probabilities);
    }
    return e;
}

static err load_head(classifier *c, const run *r, const run_commit *commit) {
    split s;
    nn_spec spec;
    err e = experiment_split(&r->experiment, &s, &c->classes);
    if (e) {
        return e;
    }
    experiment_describe_head(&r->experiment, &s, c->classes, &spec);
    c->net_rows = nn_rows_at_once(&spec, r->experiment.training.batch, CLASSIFIER_ROWS);
    nn_net_options options = {.max_rows = c->net_rows, .precision = r->experiment.training.precision};
    e = nn_net_new(&c->head, &spec, &options);
    return e ? e : run_load_head(r, commit, c->head, NULL);
}

err classifier_new(classifier **out, const run *r, const run_commit *commit) {
    if (experiment_is_classifier_alone(&r->experiment)) {
        return err_fail(ERR_INPUT, "%s: is a classifier alone, without encoders: there are no codes to serve",
                        r->folder);
    }
    classifier *c = calloc(1, sizeof *c);
    if (!c) {
        return err_fail(ERR_MEMORY, "no memory for a classifier");
    }
    c->portions = r->experiment.data.portions;
    c->bits = r->experiment.encoder.bits;
    err e = load_head(c, r, commit);
    e = e ? e : plan_buffers(c);
    if (e) {
        classifier_free(c);
        return e;
    }
    nn_net_freeze(c->head);
    *out = c;
    return ERR_OK;
}

void classifier_free(classifier *c) {
    if (c) {
        nn_net_free(c->head);
        arena_free(&c->buffers);
        free(c);
    }
}

uint32_t classifier_classes(const classifier *c) {
    return c->classes;
}

static void unpack_sample(const classifier *c, const assembled *sample, float *to) {
    for (uint32_t k = 0; k < c->portions; k++) {
        bool is_here = sample->have >> k & 1;
        for (uint32_t b = 0; b < c->bits; b++) {
            *to++ = is_here ? (float)(sample->codes[k] >> b & 1) : 0.5f;
        }
    }
}

const float *classifier_run(classifier *c, const assembled *samples, size_t count) {
    size_t width = (size_t)c->portions * c->bits;
    for (size_t i = 0; i < count; i++) {
        unpack_sample(c, &samples[i], c->codes + i * width);
    }
    for (size_t done = 0, piece; done < count; done += piece) {
        piece = count - done < c->net_rows ? count - done : c->net_rows;
        const float *logits = nn_net_forward(c->head, c->codes + done * width, piece, NN_EVALUATE);
        memcpy(c->probabilities + done * c->classes, logits, piece * c->classes * sizeof(float));
    }
    for (size_t i = 0; i < count; i++) {
        loss_softmax(c->probabilities + i * c->classes, c->classes);
    }
    return c->probabilities;
}
