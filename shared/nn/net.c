#include "nn/net.h"

#include "nn/graph_build.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    net->draws.temperature = 1;
    err e = scratch_pool_new(&net->scratch_pool);
    e = e ? e : graph_build(net, spec);
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
    for (size_t i = 0; i < net->count; i++) {
        if (net->layers[i].ops && net->layers[i].ops->free) {
            net->layers[i].ops->free(&net->layers[i]);
        }
    }
    scratch_pool_free(net->scratch_pool);
    arena_free(&net->parameters);
    arena_free(&net->activations);
    free(net);
}

void nn_net_init(nn_net *net, uint64_t seed, uint32_t stream) {
    nn_net_thaw(net);
    net->uses_ema = false;
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

void nn_net_set_step(nn_net *net, uint64_t seed, uint32_t stream, uint32_t step) {
    net->draws = (nn_draws){seed, stream, step, net->draws.temperature};
}

void nn_net_set_temperature(nn_net *net, float temperature) {
    net->draws.temperature = temperature;
}

static void *piece_at(const nn_net *net, int piece) {
    return piece == NN_OUTSIDE ? NULL : net->activations.block + net->pieces[piece].offset;
}

/* All rows of the batch, as layer `index` sees them. */
static nn_rows rows_of(const nn_net *net, size_t index) {
    const nn_wiring *w = &net->wiring[index];
    nn_rows r = {.count = net->rows, .mode = net->mode, .y = piece_at(net, w->y), .dx = piece_at(net, w->dx)};
    r.x = w->x == NN_OUTSIDE ? net->x : piece_at(net, w->x);
    /* The caller's gradient is only read: no layer that writes to its dy is a net's last. */
    r.dy = w->dy == NN_OUTSIDE ? (void *)(uintptr_t)net->dy : piece_at(net, w->dy);
    if (net->layers[index].spec.kind == NN_JOIN) {
        r.other = w->other_x == NN_OUTSIDE ? net->x : piece_at(net, w->other_x);
    } else if (net->layers[index].spec.kind == NN_RESIDUAL) {
        r.other = w->other_dy == NN_OUTSIDE ? net->dy : piece_at(net, w->other_dy);
    }
    return r;
}

typedef void (*layer_pass)(nn_layer *layer, const nn_rows *r);

typedef struct pass_call {
    nn_layer *layer;
    const nn_rows *rows;
    layer_pass pass;
    size_t parts;
} pass_call;

static void run_part(void *context, size_t part) {
    const pass_call *c = context;
    nn_rows r = nn_rows_part(c->layer, c->rows, c->parts, part);
    c->pass(c->layer, &r);
}

static void run_pass(nn_net *net, size_t index, layer_pass pass) {
    nn_layer *layer = &net->layers[index];
    nn_rows r = rows_of(net, index);
    pass_call call = {layer, &r, pass, layer->ops->keeps_rows_apart ? nn_parts(layer, r.count) : 1};
    thread_pool_run(net->options.pool, run_part, &call, call.parts);
}

static void prepare(nn_layer *layer) {
    if (layer->ops->prepare && !layer->is_prepared) {
        layer->ops->prepare(layer);
        layer->is_prepared = true;
    }
}

/* Nobody says when parameters change, unless they are fixed, promised to stay or changed by updates that prepare them;
 * and other updates may have spent what was prepared. */
static void forget_prepared(nn_net *net) {
    for (size_t i = 0; i < net->count; i++) {
        nn_layer *layer = &net->layers[i];
        layer->is_prepared = layer->is_prepared && (layer->spec.fixed || layer->stays_prepared);
    }
}

static void spoil_if_failed(const nn_net *net, float *numbers, size_t count) {
    for (size_t i = 0; net->has_failed && i < count; i++) {
        numbers[i] = NAN;
    }
}

const float *nn_net_forward(nn_net *net, const float *x, size_t rows, nn_mode mode) {
    net->is_frozen = net->is_frozen && mode == NN_EVALUATE;
    if (!net->is_frozen) {
        forget_prepared(net);
    }
    net->x = x;
    net->rows = rows;
    net->mode = mode;
    for (size_t i = 0; i < net->count; i++) {
        if (!net->wiring[i].is_alias) {
            prepare(&net->layers[i]);
            run_pass(net, i, net->layers[i].ops->forward);
        }
    }
    float *y = piece_at(net, net->wiring[net->count - 1].y);
    spoil_if_failed(net, y, rows * nn_net_outputs(net));
    return y;
}

static bool has_backward(const nn_net *net, size_t index) {
    const nn_wiring *w = &net->wiring[index];
    return w->is_reached && (!w->is_alias || net->layers[index].spec.kind == NN_RESIDUAL);
}

const float *nn_net_backward(nn_net *net, const float *dy) {
    net->dy = dy;
    for (size_t i = net->count; i-- > 0;) {
        if (has_backward(net, i)) {
            prepare(&net->layers[i]);
            run_pass(net, i, net->layers[i].ops->backward);
        }
    }
    float *dx = piece_at(net, net->input_gradient);
    spoil_if_failed(net, dx, dx ? net->rows * nn_net_inputs(net) : 0);
    return dx;
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
            nn_rows r = rows_of(net, i);
            layer->ops->update(layer, &r, o, task);
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
    if (net->tensor_count > 0) {
        spoil_if_failed(net, net->tensors[0]->value, 1);
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
    thread_pool_run(net->options.pool, run_update_task, &call, nn_net_update_tasks(net));
    nn_net_update_finish(net, o);
}

void nn_net_freeze(nn_net *net) {
    forget_prepared(net);
    for (size_t i = 0; i < net->count; i++) {
        prepare(&net->layers[i]);
    }
    net->is_frozen = true;
}

void nn_net_thaw(nn_net *net) {
    net->is_frozen = false;
    for (size_t i = 0; i < net->count; i++) {
        net->layers[i].is_prepared = net->layers[i].stays_prepared = false;
    }
}

size_t nn_net_bytes(const nn_net *net) {
    return net->bytes;
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
