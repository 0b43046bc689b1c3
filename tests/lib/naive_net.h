/* Nets as plain loops in double, straight from the definitions, for tests to compare with. Images are [row, channel,
 * height, width]; the layers are those of a description, one step a layer, nothing fused. Dropout is left out. */
#ifndef FEWBIT_TESTS_LIB_NAIVE_NET_H
#define FEWBIT_TESTS_LIB_NAIVE_NET_H

#include "nn/net.h"
#include "nn/shape_infer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct naive_layer {
    const nn_layer_spec *spec;
    nn_shape from, to;
    double *x, *y, *dx, *dy; /* [rows, in], [rows, out]; x and dx are of the layer before */
    double *given;           /* a max pool's: 1 where the gradient has found its point */
    double *weight, *bias, *mean, *variance;
    double *dweight, *dbias;
    size_t weights, channels;
    double *batch_mean, *batch_variance; /* of the last forward pass */
} naive_layer;

typedef struct naive_net {
    nn_spec spec;
    naive_layer layers[NN_LAYERS_MAX];
    size_t count, rows;
    double *x, *dx;
    bool trains;
} naive_net;

static inline double *naive_zeroes(size_t n) {
    double *zeroes = calloc(n ? n : 1, sizeof *zeroes);
    if (!zeroes) {
        abort();
    }
    return zeroes;
}

static inline size_t naive_in(const naive_layer *l) {
    return nn_shape_elements(l->from);
}

static inline size_t naive_out(const naive_layer *l) {
    return nn_shape_elements(l->to);
}

/* The open block's fork and the end of its main path, by the layer that closes it or turns to its second path. */
static inline size_t naive_find_back(const naive_net *n, size_t at, nn_kind kind) {
    size_t inner = 0; /* blocks that were closed on the way */
    for (at--; inner > 0 || n->layers[at].spec->kind != kind; at--) {
        inner += n->layers[at].spec->kind == NN_JOIN;
        inner -= n->layers[at].spec->kind == NN_RESIDUAL;
    }
    return at;
}

static inline void naive_take_tensor(nn_net *net, size_t *next, double **values, double **gradient) {
    const nn_tensor *t = nn_net_tensor(net, (*next)++);
    *values = naive_zeroes(t->count);
    for (size_t i = 0; i < t->count; i++) {
        (*values)[i] = (double)t->value[i];
    }
    if (gradient) {
        *gradient = naive_zeroes(t->count);
    }
}

static inline void naive_take_tensors(naive_layer *l, nn_net *net, size_t *next) {
    switch (l->spec->kind) {
    case NN_DENSE:
    case NN_CONVOLUTION:
        l->weights = nn_net_tensor(net, *next)->count;
        l->channels = l->spec->outputs;
        naive_take_tensor(net, next, &l->weight, &l->dweight);
        if (!l->spec->no_bias) {
            naive_take_tensor(net, next, &l->bias, &l->dbias);
        }
        break;
    case NN_LAYER_NORM:
        l->channels = l->weights =
            l->from.height * l->from.width > 1 && l->from.channels > 1 ? l->from.channels : naive_in(l);
        if (!l->spec->no_affine) {
            naive_take_tensor(net, next, &l->weight, &l->dweight);
            naive_take_tensor(net, next, &l->bias, &l->dbias);
        }
        break;
    case NN_BATCH_NORM:
        l->channels = l->weights = nn_net_tensor(net, *next)->count;
        if (!l->spec->no_affine) {
            naive_take_tensor(net, next, &l->weight, &l->dweight);
            naive_take_tensor(net, next, &l->bias, &l->dbias);
        }
        naive_take_tensor(net, next, &l->mean, NULL);
        naive_take_tensor(net, next, &l->variance, NULL);
        l->batch_mean = naive_zeroes(l->channels);
        l->batch_variance = naive_zeroes(l->channels);
        break;
    default:
        break;
    }
}

/* A copy of `net`, which was made from `spec`, with its numbers as they are. */
static inline naive_net *naive_net_new(const nn_spec *spec, nn_net *net, size_t rows) {
    naive_net *n = calloc(1, sizeof *n);
    nn_shape shapes[NN_LAYERS_MAX];
    if (!n || shape_infer(spec, shapes)) {
        abort();
    }
    n->spec = *spec;
    n->count = spec->count;
    n->rows = rows;
    n->x = naive_zeroes(rows * spec->inputs);
    n->dx = naive_zeroes(rows * spec->inputs);
    size_t next = 0;
    for (size_t i = 0; i < n->count; i++) {
        naive_layer *l = &n->layers[i], *before = l - 1;
        l->spec = &n->spec.layers[i];
        if (l->spec->kind == NN_SHORTCUT) {
            before = &n->layers[naive_find_back(n, i, NN_RESIDUAL)];
        }
        l->from = i == 0 ? (nn_shape){1, 1, spec->inputs} : before->to;
        l->to = shapes[i];
        l->x = i == 0 ? n->x : before->y;
        l->y = naive_zeroes(rows * naive_out(l));
        l->dy = naive_zeroes(rows * naive_out(l));
        l->dx = i == 0 ? n->dx : before->dy;
        l->given = naive_zeroes(rows * naive_out(l));
        naive_take_tensors(l, net, &next);
    }
    return n;
}

static inline void naive_net_free(naive_net *n) {
    for (size_t i = 0; i < n->count; i++) {
        naive_layer *l = &n->layers[i];
        double *all[] = {l->y,        l->dy,      l->given, l->weight,     l->bias,          l->mean,
                         l->variance, l->dweight, l->dbias, l->batch_mean, l->batch_variance};
        for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
            free(all[k]);
        }
    }
    free(n->x);
    free(n->dx);
    free(n);
}

/* Calls `visit` for every pair of an output and an input point that a window of the layer brings together, with the
 * place in the window; `x` and `y` are numbers of channel 0 of their row. */
typedef void (*naive_visit)(naive_layer *l, size_t row, size_t y, size_t x, size_t tap);

static inline void naive_windows(naive_layer *l, size_t rows, naive_visit visit) {
    nn_slide down = nn_slide_down(l->spec), across = nn_slide_across(l->spec);
    long taps = (long)down.kernel * across.kernel, columns = across.kernel;
    long gaps[] = {down.dilation ? down.dilation : 1, across.dilation ? across.dilation : 1};
    for (size_t row = 0; row < rows; row++) {
        for (long i = 0; i < l->to.height; i++) {
            for (long j = 0; j < l->to.width; j++) {
                for (long tap = 0; tap < taps; tap++) {
                    long a = i * down.stride + tap / columns * gaps[0] - down.padding;
                    long b = j * across.stride + tap % columns * gaps[1] - across.padding;
                    if (a >= 0 && a < l->from.height && b >= 0 && b < l->from.width) {
                        visit(l, row, (size_t)(i * l->to.width + j), (size_t)(a * l->from.width + b), (size_t)tap);
                    }
                }
            }
        }
    }
}

static inline size_t naive_at(nn_shape shape, size_t row, size_t channel, size_t point) {
    return (row * shape.channels + channel) * shape.height * shape.width + point;
}

/* Of output channel `o`: the channels that it sees, and the weight of one of them. */
static inline size_t naive_seen(const naive_layer *l) {
    return l->from.channels / nn_groups(l->spec);
}

static inline size_t naive_first_seen(const naive_layer *l, size_t o) {
    return o / (l->to.channels / nn_groups(l->spec)) * naive_seen(l);
}

static inline size_t naive_weight(const naive_layer *l, size_t o, size_t c, size_t tap) {
    return (o * naive_seen(l) + c - naive_first_seen(l, o)) * nn_window_points(l->spec) + tap;
}

static inline void naive_convolve(naive_layer *l, size_t row, size_t y, size_t x, size_t tap) {
    for (size_t o = 0; o < l->to.channels; o++) {
        for (size_t c = naive_first_seen(l, o); c < naive_first_seen(l, o) + naive_seen(l); c++) {
            l->y[naive_at(l->to, row, o, y)] +=
                l->weight[naive_weight(l, o, c, tap)] * l->x[naive_at(l->from, row, c, x)];
        }
    }
}

static inline void naive_convolve_back(naive_layer *l, size_t row, size_t y, size_t x, size_t tap) {
    for (size_t o = 0; o < l->to.channels; o++) {
        double dy = l->dy[naive_at(l->to, row, o, y)];
        for (size_t c = naive_first_seen(l, o); c < naive_first_seen(l, o) + naive_seen(l); c++) {
            l->dx[naive_at(l->from, row, c, x)] += dy * l->weight[naive_weight(l, o, c, tap)];
            l->dweight[naive_weight(l, o, c, tap)] += dy * l->x[naive_at(l->from, row, c, x)];
        }
    }
}

static inline void naive_take_max(naive_layer *l, size_t row, size_t y, size_t x, size_t tap) {
    (void)tap;
    for (size_t c = 0; c < l->to.channels; c++) {
        double *largest = &l->y[naive_at(l->to, row, c, y)];
        *largest = fmax(*largest, l->x[naive_at(l->from, row, c, x)]);
    }
}

/* Numbers are drawn: no two in a window are alike, but for 0 behind a ReLU, where any of them may take the gradient,
 * as it goes no further. */
static inline void naive_give_max(naive_layer *l, size_t row, size_t y, size_t x, size_t tap) {
    (void)tap;
    for (size_t c = 0; c < l->to.channels; c++) {
        size_t to = naive_at(l->to, row, c, y), from = naive_at(l->from, row, c, x);
        if (l->x[from] == l->y[to] && l->given[to] == 0) {
            l->dx[from] += l->dy[to];
            l->given[to] = 1;
        }
    }
}

static inline void naive_add_share(naive_layer *l, size_t row, size_t y, size_t x, size_t tap) {
    (void)tap;
    double points = (double)nn_window_points(l->spec);
    for (size_t c = 0; c < l->to.channels; c++) {
        l->y[naive_at(l->to, row, c, y)] += l->x[naive_at(l->from, row, c, x)] / points;
    }
}

static inline void naive_give_share(naive_layer *l, size_t row, size_t y, size_t x, size_t tap) {
    (void)tap;
    double points = (double)nn_window_points(l->spec);
    for (size_t c = 0; c < l->to.channels; c++) {
        l->dx[naive_at(l->from, row, c, x)] += l->dy[naive_at(l->to, row, c, y)] / points;
    }
}

/* How much of input point k of `side` is in output point i of `count` along one side. */
static inline double naive_bin(size_t i, size_t count, size_t k, size_t side) {
    size_t first = (size_t)floor((double)i * (double)side / (double)count);
    size_t last = (size_t)ceil((double)(i + 1) * (double)side / (double)count);
    return k >= first && k < last ? 1.0 / (double)(last - first) : 0;
}

static inline double naive_tent(size_t i, size_t count, size_t k, size_t side) {
    double at = ((double)i + 0.5) * (double)side / (double)count - 0.5;
    at = fmin(fmax(at, 0), (double)side - 1);
    return fmax(0, 1 - fabs(at - (double)k));
}

/* y = A x B^T for each channel, A and B of the shares along the sides; backwards dx = A^T dy B. */
static inline void naive_mix(naive_layer *l, size_t rows, double (*share)(size_t, size_t, size_t, size_t), bool back) {
    size_t points = (size_t)l->to.height * l->to.width, from_points = (size_t)l->from.height * l->from.width;
    for (size_t image = 0; image < rows * l->to.channels; image++) {
        for (size_t y = 0; y < points; y++) {
            for (size_t x = 0; x < from_points; x++) {
                double part = share(y / l->to.width, l->to.height, x / l->from.width, l->from.height) *
                              share(y % l->to.width, l->to.width, x % l->from.width, l->from.width);
                if (back) {
                    l->dx[image * from_points + x] += part * l->dy[image * points + y];
                } else {
                    l->y[image * points + y] += part * l->x[image * from_points + x];
                }
            }
        }
    }
}

static inline void naive_dense(naive_layer *l, size_t rows, bool back) {
    size_t in = naive_in(l), out = naive_out(l);
    for (size_t row = 0; row < rows; row++) {
        for (size_t o = 0; o < out; o++) {
            for (size_t i = 0; i < in; i++) {
                if (back) {
                    l->dx[row * in + i] += l->dy[row * out + o] * l->weight[o * in + i];
                    l->dweight[o * in + i] += l->dy[row * out + o] * l->x[row * in + i];
                } else {
                    l->y[row * out + o] += l->x[row * in + i] * l->weight[o * in + i];
                }
            }
        }
    }
}

/* The channel of number i of a row: of the image, or the feature. */
static inline size_t naive_channel(const naive_layer *l, size_t i) {
    return l->channels == naive_out(l) ? i : i / ((size_t)l->to.height * l->to.width);
}

static inline void naive_add_bias(naive_layer *l, size_t rows, bool back) {
    size_t out = naive_out(l);
    for (size_t k = 0; l->bias && k < rows * out; k++) {
        if (back) {
            l->dbias[naive_channel(l, k % out)] += l->dy[k];
        } else {
            l->y[k] += l->bias[naive_channel(l, k % out)];
        }
    }
}

static inline void naive_measure(naive_layer *l, size_t rows) {
    size_t out = naive_out(l);
    for (size_t c = 0; c < l->channels; c++) {
        double sum = 0, squares = 0, n = 0;
        for (size_t k = 0; k < rows * out; k++) {
            sum += naive_channel(l, k % out) == c ? l->x[k] : 0;
            n += naive_channel(l, k % out) == c ? 1 : 0;
        }
        for (size_t k = 0; k < rows * out; k++) {
            squares += naive_channel(l, k % out) == c ? pow(l->x[k] - sum / n, 2) : 0;
        }
        l->batch_mean[c] = sum / n;
        l->batch_variance[c] = squares / n;
        l->mean[c] = 0.9 * l->mean[c] + 0.1 * sum / n;
        l->variance[c] = 0.9 * l->variance[c] + 0.1 * squares / (n - 1);
    }
}

static inline void naive_normalise(naive_layer *l, size_t rows, bool trains) {
    size_t out = naive_out(l);
    if (trains && !l->spec->fixed) {
        naive_measure(l, rows);
    } else {
        memcpy(l->batch_mean, l->mean, l->channels * sizeof(double));
        memcpy(l->batch_variance, l->variance, l->channels * sizeof(double));
    }
    for (size_t k = 0; k < rows * out; k++) {
        size_t c = naive_channel(l, k % out);
        double h = (l->x[k] - l->batch_mean[c]) / sqrt(l->batch_variance[c] + 1e-5);
        l->y[k] = l->weight ? h * l->weight[c] + l->bias[c] : h;
    }
}

/* Ioffe and Szegedy's chain of derivatives, through the variance and the mean, one by one. */
static inline void naive_normalise_back(naive_layer *l, size_t rows) {
    size_t out = naive_out(l);
    for (size_t c = 0; c < l->channels; c++) {
        double n = 0, dmean = 0, dvariance = 0, deviation = sqrt(l->batch_variance[c] + 1e-5);
        double slope = l->weight ? l->weight[c] : 1;
        for (size_t k = 0; k < rows * out; k++) {
            if (naive_channel(l, k % out) == c) {
                double d = l->x[k] - l->batch_mean[c];
                n += 1;
                dmean -= l->dy[k] * slope / deviation;
                dvariance -= l->dy[k] * slope * d / 2 / pow(deviation, 3);
                if (l->weight) {
                    l->dweight[c] += l->dy[k] * d / deviation;
                    l->dbias[c] += l->dy[k];
                }
            }
        }
        bool constant = l->spec->fixed;
        for (size_t k = 0; k < rows * out; k++) {
            if (naive_channel(l, k % out) == c) {
                double through = constant ? 0 : dvariance * 2 * (l->x[k] - l->batch_mean[c]) / n + dmean / n;
                l->dx[k] += l->dy[k] * slope / deviation + through;
            }
        }
    }
}

static inline double naive_activation(nn_kind kind, double x) {
    return kind == NN_RELU      ? fmax(x, 0)
           : kind == NN_SIGMOID ? 1 / (1 + exp(-x))
           : kind == NN_TANH    ? tanh(x)
           : kind == NN_GELU    ? x * erfc(-x / sqrt(2)) / 2
                                : x / (1 + exp(-x));
}

static inline double naive_slope(nn_kind kind, double x, double y) {
    double s = 1 / (1 + exp(-x));
    return kind == NN_RELU      ? y > 0
           : kind == NN_SIGMOID ? y * (1 - y)
           : kind == NN_TANH    ? 1 - y * y
           : kind == NN_GELU    ? erfc(-x / sqrt(2)) / 2 + x * exp(-x * x / 2) / sqrt(2 * acos(-1))
                                : s * (1 + x * (1 - s));
}

/* Layer norm: over the channels of each point. The gradient by the full matrix of derivatives of h. */
static inline void naive_normalise_points(naive_layer *l, size_t rows, bool back) {
    size_t n = l->channels, points = naive_out(l) / n;
    for (size_t at = 0; at < rows * points; at++) {
        size_t first = at / points * points * n + at % points;
        double mean = 0, variance = 0;
        for (size_t c = 0; c < n; c++) {
            mean += l->x[first + c * points] / (double)n;
        }
        for (size_t c = 0; c < n; c++) {
            variance += pow(l->x[first + c * points] - mean, 2) / (double)n;
        }
        double deviation = sqrt(variance + 1e-5);
        for (size_t c = 0; c < n; c++) {
            size_t o = first + c * points;
            double h = (l->x[o] - mean) / deviation, weight = l->weight ? l->weight[c] : 1;
            if (!back) {
                l->y[o] = weight * h + (l->bias ? l->bias[c] : 0);
                continue;
            }
            if (l->weight) {
                l->dweight[c] += l->dy[o] * h;
                l->dbias[c] += l->dy[o];
            }
            for (size_t k = 0; k < n; k++) {
                double other = (l->x[first + k * points] - mean) / deviation;
                l->dx[first + k * points] +=
                    l->dy[o] * weight / deviation * ((k == c) - 1 / (double)n - h * other / (double)n);
            }
        }
    }
}

static inline void naive_forward_layer(naive_net *n, size_t at) {
    naive_layer *l = &n->layers[at];
    size_t numbers = n->rows * naive_out(l);
    double start = l->spec->kind == NN_MAX_POOL ? -INFINITY : 0;
    for (size_t i = 0; i < numbers; i++) {
        l->y[i] = start;
    }
    switch (l->spec->kind) {
    case NN_DENSE:
        naive_dense(l, n->rows, false);
        naive_add_bias(l, n->rows, false);
        break;
    case NN_CONVOLUTION:
        naive_windows(l, n->rows, naive_convolve);
        naive_add_bias(l, n->rows, false);
        break;
    case NN_MAX_POOL:
        naive_windows(l, n->rows, naive_take_max);
        break;
    case NN_AVERAGE_POOL:
        naive_windows(l, n->rows, naive_add_share);
        break;
    case NN_ADAPTIVE_AVERAGE_POOL:
        naive_mix(l, n->rows, naive_bin, false);
        break;
    case NN_UPSAMPLE:
        naive_mix(l, n->rows, naive_tent, false);
        break;
    case NN_BATCH_NORM:
        naive_normalise(l, n->rows, n->trains);
        break;
    case NN_RELU:
    case NN_SIGMOID:
    case NN_TANH:
    case NN_GELU:
    case NN_SILU:
        for (size_t i = 0; i < numbers; i++) {
            l->y[i] = naive_activation(l->spec->kind, l->x[i]);
        }
        break;
    case NN_LAYER_NORM:
        naive_normalise_points(l, n->rows, false);
        break;
    case NN_JOIN: {
        const double *main = n->layers[naive_find_back(n, at, NN_SHORTCUT) - 1].y;
        for (size_t i = 0; i < numbers; i++) {
            l->y[i] = main[i] + l->x[i];
        }
        break;
    }
    default: /* images and rows lie alike here; forks and shortcuts hand on */
        memcpy(l->y, l->x, numbers * sizeof(double));
        break;
    }
}

static inline const double *naive_forward(naive_net *n, const float *x, bool trains) {
    n->trains = trains;
    for (size_t i = 0; i < n->rows * n->spec.inputs; i++) {
        n->x[i] = (double)x[i];
    }
    for (size_t i = 0; i < n->count; i++) {
        naive_forward_layer(n, i);
    }
    return n->layers[n->count - 1].y;
}

static inline void naive_backward_layer(naive_net *n, size_t at) {
    naive_layer *l = &n->layers[at];
    size_t numbers = n->rows * naive_out(l);
    switch (l->spec->kind) {
    case NN_DENSE:
        naive_dense(l, n->rows, true);
        naive_add_bias(l, n->rows, true);
        break;
    case NN_CONVOLUTION:
        naive_windows(l, n->rows, naive_convolve_back);
        naive_add_bias(l, n->rows, true);
        break;
    case NN_MAX_POOL:
        naive_windows(l, n->rows, naive_give_max);
        break;
    case NN_AVERAGE_POOL:
        naive_windows(l, n->rows, naive_give_share);
        break;
    case NN_ADAPTIVE_AVERAGE_POOL:
        naive_mix(l, n->rows, naive_bin, true);
        break;
    case NN_UPSAMPLE:
        naive_mix(l, n->rows, naive_tent, true);
        break;
    case NN_BATCH_NORM:
        naive_normalise_back(l, n->rows);
        break;
    case NN_RELU:
    case NN_SIGMOID:
    case NN_TANH:
    case NN_GELU:
    case NN_SILU:
        for (size_t i = 0; i < numbers; i++) {
            l->dx[i] += l->dy[i] * naive_slope(l->spec->kind, l->x[i], l->y[i]);
        }
        break;
    case NN_LAYER_NORM:
        naive_normalise_points(l, n->rows, true);
        break;
    case NN_JOIN:
        for (size_t i = 0; i < numbers; i++) {
            n->layers[naive_find_back(n, at, NN_SHORTCUT) - 1].dy[i] += l->dy[i];
            l->dx[i] += l->dy[i];
        }
        break;
    default: /* a shortcut adds to its fork's gradient, as the main path does */
        for (size_t i = 0; i < numbers; i++) {
            l->dx[i] += l->dy[i];
        }
        break;
    }
}

/* After one naive_forward in training. Returns the gradient on the input. */
static inline const double *naive_backward(naive_net *n, const float *dy) {
    naive_layer *last = &n->layers[n->count - 1];
    for (size_t i = 0; i < n->rows * naive_out(last); i++) {
        last->dy[i] = (double)dy[i];
    }
    for (size_t i = n->count; i-- > 0;) {
        naive_backward_layer(n, i);
    }
    return n->dx;
}

#endif
