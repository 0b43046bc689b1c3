#include "nn/fold.h"

#include "nn/layer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* y = W x + b of one layer of the folded net; of a convolution, a row of W is a channel's kernels. NULL where the layer
 * has no weights of its own, or keeps those it had. */
typedef struct affine {
    double *weight; /* [rows, columns] */
    double *bias;   /* [rows] */
    size_t rows, columns;
} affine;

typedef struct folding {
    nn_net *net;
    nn_spec spec; /* of the folded net */
    affine layers[NN_LAYERS_MAX];
    bool is_smaller; /* something was folded */
} folding;

static nn_tensor *tensor_named(nn_net *net, const char *name) {
    for (size_t i = 0; i < nn_net_tensor_count(net); i++) {
        nn_tensor *t = nn_net_tensor(net, i);
        if (strcmp(t->name, name) == 0) {
            return t;
        }
    }
    return NULL;
}

static nn_tensor *tensor_of(nn_net *net, const nn_layer_spec *layer, const char *field) {
    char name[NN_NAME_MAX];
    snprintf(name, sizeof name, "%s.%s", layer->name, field);
    return tensor_named(net, name);
}

static void free_affine(affine *a) {
    free(a->weight);
    free(a->bias);
    *a = (affine){0};
}

static err allocate(affine *a, size_t rows, size_t columns) {
    *a = (affine){calloc(rows * columns, sizeof(double)), calloc(rows, sizeof(double)), rows, columns};
    return a->weight && a->bias ? ERR_OK : err_fail(ERR_MEMORY, "no memory to fold %zu weights", rows * columns);
}

/* What a layer with weights computes, as it was trained. */
static err read_affine(nn_net *net, const nn_layer_spec *layer, affine *a) {
    const nn_tensor *weight = tensor_of(net, layer, "weight"), *bias = tensor_of(net, layer, "bias");
    err e = allocate(a, weight->shape[0], weight->count / weight->shape[0]);
    for (size_t i = 0; i < weight->count && !e; i++) {
        a->weight[i] = (double)weight->value[i];
    }
    for (size_t i = 0; bias && i < a->rows && !e; i++) {
        a->bias[i] = (double)bias->value[i];
    }
    return e;
}

static bool has_weights(const nn_layer_spec *s) {
    return s->kind == NN_DENSE || s->kind == NN_CONVOLUTION;
}

/* The layer before, ready to take another one in; NULL where there is none that could. */
static affine *open_last(folding *f, err *e) {
    if (f->spec.count == 0 || !has_weights(&f->spec.layers[f->spec.count - 1])) {
        return NULL;
    }
    affine *last = &f->layers[f->spec.count - 1];
    if (!last->weight) {
        *e = read_affine(f->net, &f->spec.layers[f->spec.count - 1], last);
    }
    return last;
}

/* y = (W x + b - mean) * slope + beta, slope = gamma / sqrt(variance + epsilon) */
static void fold_norm(nn_net *net, const nn_layer_spec *norm, affine *into) {
    const nn_tensor *gamma = tensor_of(net, norm, "weight"), *beta = tensor_of(net, norm, "bias"),
                    *mean = tensor_of(net, norm, "running_mean"), *variance = tensor_of(net, norm, "running_var");
    for (size_t r = 0; r < into->rows; r++) {
        double slope = 1 / sqrt((double)variance->value[r] + (double)nn_batch_norm_epsilon);
        slope *= gamma ? (double)gamma->value[r] : 1;
        for (size_t c = 0; c < into->columns; c++) {
            into->weight[r * into->columns + c] *= slope;
        }
        into->bias[r] = (into->bias[r] - (double)mean->value[r]) * slope + (beta ? (double)beta->value[r] : 0);
    }
}

/* y = W (A x + a) + b = (W A) x + (W a + b), into A. */
static err fold_dense(nn_net *net, const nn_layer_spec *dense, affine *into) {
    affine second, both;
    err e = read_affine(net, dense, &second);
    both = (affine){0};
    e = e ? e : allocate(&both, second.rows, into->columns);
    for (size_t r = 0; r < second.rows && !e; r++) {
        both.bias[r] = second.bias[r];
        for (size_t m = 0; m < second.columns; m++) {
            double w = second.weight[r * second.columns + m];
            both.bias[r] += w * into->bias[m];
            for (size_t c = 0; c < into->columns; c++) {
                both.weight[r * both.columns + c] += w * into->weight[m * into->columns + c];
            }
        }
    }
    free_affine(&second);
    if (e) {
        free_affine(&both);
        return e;
    }
    free_affine(into);
    *into = both;
    return ERR_OK;
}

static bool pays(double in, double middle, double out) {
    return in * out <= in * middle + middle * out;
}

/* Takes the next layer of the description into the one before, or after it. */
static err take_layer(folding *f, const nn_layer_spec *layer) {
    err e = ERR_OK;
    nn_layer_spec *before = f->spec.count > 0 ? &f->spec.layers[f->spec.count - 1] : NULL;
    bool is_norm = layer->kind == NN_BATCH_NORM;
    bool is_pair = layer->kind == NN_DENSE && before && before->kind == NN_DENSE;
    affine *into = is_norm || is_pair ? open_last(f, &e) : NULL;
    if (e) {
        return e;
    }
    if (into && is_norm) {
        fold_norm(f->net, layer, into);
        before->no_bias = false;
        f->is_smaller = true;
        return ERR_OK;
    }
    if (into && pays((double)into->columns, (double)into->rows, layer->outputs)) {
        before->outputs = layer->outputs;
        before->no_bias = false;
        f->is_smaller = true;
        return fold_dense(f->net, layer, into);
    }
    f->spec.layers[f->spec.count++] = *layer;
    return ERR_OK;
}

static void write_folded(nn_net *to, const nn_layer_spec *layer, const affine *a) {
    nn_tensor *weight = tensor_of(to, layer, "weight"), *bias = tensor_of(to, layer, "bias");
    for (size_t i = 0; i < weight->count; i++) {
        weight->value[i] = (float)a->weight[i];
    }
    for (size_t i = 0; bias && i < a->rows; i++) {
        bias->value[i] = (float)a->bias[i];
    }
}

/* Whatever was not folded stays as it was trained. */
static void write_weights(const folding *f, nn_net *to) {
    for (size_t i = 0; i < nn_net_tensor_count(to); i++) {
        nn_tensor *t = nn_net_tensor(to, i);
        const nn_tensor *had = tensor_named(f->net, t->name);
        if (had && had->count == t->count) {
            memcpy(t->value, had->value, t->count * sizeof(float));
        }
    }
    for (size_t i = 0; i < f->spec.count; i++) {
        if (f->layers[i].weight) {
            write_folded(to, &f->spec.layers[i], &f->layers[i]);
        }
    }
    nn_net_thaw(to);
}

static err fold(folding *f, const nn_spec *spec) {
    err e = ERR_OK;
    f->spec.inputs = spec->inputs;
    for (size_t i = 0; i < spec->count && !e; i++) {
        e = take_layer(f, &spec->layers[i]);
    }
    return e;
}

err nn_fold(nn_net **net, const nn_spec *spec, const nn_net_options *options) {
    folding *f = calloc(1, sizeof *f);
    nn_net *folded = NULL;
    if (!f) {
        return err_fail(ERR_MEMORY, "no memory to fold a net");
    }
    f->net = *net;
    err e = fold(f, spec);
    if (!e && f->is_smaller) {
        e = nn_net_new(&folded, &f->spec, options);
    }
    if (folded) {
        write_weights(f, folded);
        nn_net_free(*net);
        *net = folded;
    }
    for (size_t i = 0; i < f->spec.count; i++) {
        free_affine(&f->layers[i]);
    }
    free(f);
    return e;
}
