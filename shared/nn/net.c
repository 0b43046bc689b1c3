#include "nn/net.h"

#include "base/arena.h"
#include "nn/layer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct nn_net {
    nn_layer layers[NN_LAYERS_MAX];
    size_t count;
    nn_tensor *tensors[NN_LAYERS_MAX * NN_LAYER_TENSORS_MAX];
    size_t tensor_count;
    nn_net_options options;
    arena parameters;
    arena activations;
    float *dx; /* [max_rows, inputs], with input_gradient */
    const float *x;
    const float *dy;
    size_t rows;
};

nn_tensor *nn_layer_add_tensor(nn_layer *layer, const char *name, const char *field, size_t rows, size_t columns,
                               bool is_parameter) {
    nn_tensor *t = &layer->tensors[layer->tensor_count++];
    snprintf(t->name, sizeof t->name, "%s.%s", name, field);
    t->rank = columns ? 2 : 1;
    t->shape[0] = (uint32_t)rows;
    t->shape[1] = (uint32_t)columns;
    t->count = columns ? rows * columns : rows;
    t->is_parameter = is_parameter;
    return t;
}

static size_t make_layer(nn_net *net, const nn_spec *spec, size_t at, size_t in) {
    const nn_layer_spec *s = &spec->layers[at];
    const nn_layer_spec *next = at + 1 < spec->count ? s + 1 : NULL;
    nn_layer *layer = &net->layers[net->count++];
    switch (s->kind) {
    case NN_DENSE:
        if (next && next->kind == NN_DENSE &&
            nn_dense_pair_pays(net->options.max_rows, in, s->outputs, next->outputs)) {
            nn_dense_pair_make(layer, s->name, next->name, in, s->outputs, next->outputs);
            return 2;
        }
        nn_dense_make(layer, s->name, in, s->outputs);
        break;
    case NN_RELU:
        nn_relu_make(layer, in);
        break;
    case NN_BATCH_NORM:
        nn_batch_norm_make(layer, s->name, in);
        break;
    case NN_SIGMOID:
        nn_sigmoid_make(layer, in);
        break;
    case NN_RESIGMOID:
        nn_resigmoid_make(layer, in);
        break;
    case NN_QUANTIZE:
        nn_quantize_make(layer, in);
        break;
    }
    return 1;
}

static void make_layers(nn_net *net, const nn_spec *spec) {
    size_t width = spec->inputs;
    for (size_t at = 0; at < spec->count;) {
        nn_layer *layer = &net->layers[net->count];
        layer->max_rows = net->options.max_rows;
        layer->lanes = net->options.lanes;
        at += make_layer(net, spec, at, width);
        width = layer->out;
        for (size_t t = 0; t < layer->tensor_count; t++) {
            net->tensors[net->tensor_count++] = &layer->tensors[t];
        }
    }
}

static size_t floats(size_t count) {
    return arena_rounded(count * sizeof(float));
}

static err plan_parameters(nn_net *net) {
    size_t bytes = 0;
    for (size_t i = 0; i < net->tensor_count; i++) {
        const nn_tensor *t = net->tensors[i];
        bytes += floats(t->count) * (net->options.training && t->is_parameter ? 2 + NN_STATES : 1);
    }
    err e = arena_init(&net->parameters, bytes);
    if (e) {
        return e;
    }
    for (size_t i = 0; i < net->tensor_count; i++) {
        nn_tensor *t = net->tensors[i];
        size_t size = t->count * sizeof(float);
        t->value = arena_take(&net->parameters, size);
        if (!net->options.training || !t->is_parameter) {
            continue;
        }
        t->gradient = arena_take(&net->parameters, size);
        for (int s = 0; s < NN_STATES; s++) {
            t->state[s] = arena_take(&net->parameters, size);
        }
    }
    return ERR_OK;
}

static err plan_activations(nn_net *net) {
    size_t rows = net->options.max_rows;
    size_t bytes = net->options.input_gradient ? floats(rows * net->layers[0].in) : 0;
    for (size_t i = 0; i < net->count; i++) {
        const nn_layer *layer = &net->layers[i];
        bytes += floats(rows * layer->out) * (net->options.training ? 2 : 1) + floats(layer->scratch_floats);
    }
    err e = arena_init(&net->activations, bytes);
    if (e) {
        return e;
    }
    for (size_t i = 0; i < net->count; i++) {
        nn_layer *layer = &net->layers[i];
        layer->y = arena_take(&net->activations, rows * layer->out * sizeof(float));
        if (net->options.training) {
            layer->dy = arena_take(&net->activations, rows * layer->out * sizeof(float));
        }
        layer->scratch = arena_take(&net->activations, layer->scratch_floats * sizeof(float));
    }
    if (net->options.input_gradient) {
        net->dx = arena_take(&net->activations, rows * net->layers[0].in * sizeof(float));
    }
    return ERR_OK;
}

err nn_net_new(nn_net **out, const nn_spec *spec, const nn_net_options *options) {
    if (spec->count == 0 || spec->count > NN_LAYERS_MAX || spec->inputs == 0 || options->max_rows == 0) {
        return err_fail(ERR_INTERNAL, "a net of %zu layers with %u inputs and %zu rows cannot be made", spec->count,
                        spec->inputs, options->max_rows);
    }
    nn_net *net = calloc(1, sizeof *net);
    if (!net) {
        return err_fail(ERR_MEMORY, "no memory for a net");
    }
    net->options = *options;
    make_layers(net, spec);
    err e = plan_parameters(net);
    e = e ? e : plan_activations(net);
    if (e) {
        nn_net_free(net);
        return e;
    }
    *out = net;
    return ERR_OK;
}

void nn_net_free(nn_net *net) {
    if (!net) {
        return;
    }
    arena_free(&net->parameters);
    arena_free(&net->activations);
    free(net);
}

void nn_net_init(nn_net *net, uint64_t seed, uint32_t stream) {
    nn_net_thaw(net);
    rng draws = rng_at(seed, stream, 0);
    for (size_t i = 0; i < net->count; i++) {
        if (net->layers[i].ops->init) {
            net->layers[i].ops->init(&net->layers[i], &draws);
        }
    }
    for (size_t i = 0; net->options.training && i < net->tensor_count; i++) {
        nn_tensor *t = net->tensors[i];
        for (int s = 0; t->is_parameter && s < NN_STATES; s++) {
            memset(t->state[s], 0, t->count * sizeof(float));
        }
    }
}

const float *nn_net_forward(nn_net *net, const float *x, size_t rows, nn_mode mode) {
    if (mode == NN_TRAIN) {
        nn_net_thaw(net);
    }
    net->x = x;
    net->rows = rows;
    for (size_t i = 0; i < net->count; i++) {
        nn_layer *layer = &net->layers[i];
        layer->ops->forward(layer, rows, mode, x, layer->y);
        x = layer->y;
    }
    return x;
}

static const float *input_of(const nn_net *net, size_t layer) {
    return layer == 0 ? net->x : net->layers[layer - 1].y;
}

static const float *output_gradient_of(const nn_net *net, size_t layer) {
    return layer + 1 == net->count ? net->dy : net->layers[layer].dy;
}

const float *nn_net_backward(nn_net *net, const float *dy) {
    net->dy = dy;
    for (size_t i = net->count; i-- > 0;) {
        nn_layer *layer = &net->layers[i];
        float *dx = i == 0 ? net->dx : net->layers[i - 1].dy;
        layer->ops->backward(layer, net->rows, input_of(net, i), layer->y, output_gradient_of(net, i), dx);
    }
    return net->dx;
}

size_t nn_net_update_tasks(const nn_net *net) {
    size_t tasks = 0;
    for (size_t i = 0; i < net->count; i++) {
        tasks += net->layers[i].update_tasks;
    }
    return tasks;
}

void nn_net_update_task(nn_net *net, const nn_optimiser *o, size_t task) {
    for (size_t i = 0; i < net->count; i++) {
        nn_layer *layer = &net->layers[i];
        if (task < layer->update_tasks) {
            layer->ops->update(layer, net->rows, input_of(net, i), output_gradient_of(net, i), o, task);
            return;
        }
        task -= layer->update_tasks;
    }
}

void nn_net_update_finish(nn_net *net, const nn_optimiser *o) {
    for (size_t i = 0; i < net->count; i++) {
        if (net->layers[i].ops->finish) {
            net->layers[i].ops->finish(&net->layers[i], o);
        }
    }
}

typedef struct update_call {
    nn_net *net;
    const nn_optimiser *o;
} update_call;

static void run_update_task(void *context, size_t task) {
    const update_call *call = context;
    nn_net_update_task(call->net, call->o, task);
}

void nn_net_update(nn_net *net, const nn_optimiser *o) {
    update_call call = {net, o};
    lanes_run(net->options.lanes, run_update_task, &call, nn_net_update_tasks(net));
    nn_net_update_finish(net, o);
}

void nn_net_freeze(nn_net *net) {
    for (size_t i = 0; i < net->count; i++) {
        nn_layer *layer = &net->layers[i];
        if (layer->ops->freeze) {
            layer->ops->freeze(layer);
            layer->frozen = true;
        }
    }
}

void nn_net_thaw(nn_net *net) {
    for (size_t i = 0; i < net->count; i++) {
        net->layers[i].frozen = false;
    }
}

size_t nn_net_inputs(const nn_net *net) {
    return net->layers[0].in;
}

size_t nn_net_outputs(const nn_net *net) {
    return net->layers[net->count - 1].out;
}

size_t nn_net_tensor_count(const nn_net *net) {
    return net->tensor_count;
}

nn_tensor *nn_net_tensor(nn_net *net, size_t index) {
    return net->tensors[index];
}

double nn_spec_step_macs(const nn_spec *spec, size_t rows, bool input_gradient) {
    double all = 0, first = 0;
    size_t width = spec->inputs;
    for (size_t i = 0; i < spec->count; i++) {
        if (spec->layers[i].kind == NN_DENSE) {
            double macs = (double)width * spec->layers[i].outputs;
            all += macs;
            first = first > 0 ? first : macs;
            width = spec->layers[i].outputs;
        }
    }
    return (double)rows * (3 * all - (input_gradient ? 0 : first));
}
