/* A net, and how it is put together from its description. For nn/ only. */
#ifndef FEWBIT_NN_GRAPH_BUILD_H
#define FEWBIT_NN_GRAPH_BUILD_H

#include "base/arena.h"
#include "nn/layer.h"
#include "nn/memory_plan.h"

/* Whose output, whose piece of memory. */
enum { NN_OUTSIDE = -1 }; /* the net's input, or the gradient that the caller brings */

/* How a layer hangs together with others. Pieces are numbers in the net's plan. */
typedef struct nn_wiring {
    int from, other_from; /* the layers whose outputs it reads; other_from: a join's */
    bool is_alias;        /* its output is its input, and nothing is to do for it */
    bool is_reached;      /* the backward pass comes here: it, or a layer below, wants the gradient on its output */
    int x, other_x, y;    /* pieces */
    int dx, dy, other_dy; /* other_dy: the second gradient that a fork adds up */
} nn_wiring;

typedef struct nn_net nn_net;

struct nn_net {
    nn_layer layers[NN_LAYERS_MAX];
    nn_wiring wiring[NN_LAYERS_MAX];
    size_t count;
    nn_tensor *tensors[NN_LAYERS_MAX * NN_LAYER_TENSORS_MAX];
    size_t tensor_count;
    nn_net_options options;
    nn_draws draws;
    scratch_pool *scratch_pool;
    bool has_images;
    bool is_frozen;
    _Atomic bool has_failed; /* a pass: what the net puts out are no numbers from then on */
    bool uses_ema;           /* the averages stand in the values' place */
    memory_plan_piece pieces[MEMORY_PLAN_PIECES_MAX];
    size_t piece_count;
    arena parameters, activations;
    size_t bytes;       /* that the net takes, as planned */
    int input_gradient; /* piece */
    const void *x, *dy; /* the caller's */
    size_t rows;
    nn_mode mode;
};

/* Makes the layers of `spec` and their memory. */
err graph_build(nn_net *net, const nn_spec *spec);

#endif
