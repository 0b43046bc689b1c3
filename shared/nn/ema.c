#include "nn/ema.h"

#include "base/vector.h"
#include "nn/graph_build.h"

#include <math.h>
#include <string.h>

VECTOR_VERSIONS
static void move_average(float *restrict average, const float *restrict value, size_t n, float share) {
    for (size_t i = 0; i < n; i++) {
        average[i] += share * (value[i] - average[i]);
    }
}

VECTOR_VERSIONS
static void swap(float *restrict a, float *restrict b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

void nn_net_update_ema(nn_net *net, float decay, uint64_t step) {
    double early = (double)(step - 1) / (double)(step + 9);
    float share = (float)(1 - fmin((double)decay, early));
    for (size_t i = 0; i < net->tensor_count; i++) {
        nn_tensor *t = net->tensors[i];
        if (step <= 1) {
            memcpy(t->ema, t->value, t->count * sizeof(float));
        } else {
            move_average(t->ema, t->value, t->count, share);
        }
    }
}

void nn_net_use_ema(nn_net *net, bool use) {
    if (use == net->uses_ema || net->tensor_count == 0 || !net->tensors[0]->ema) {
        return;
    }
    for (size_t i = 0; i < net->tensor_count; i++) {
        swap(net->tensors[i]->value, net->tensors[i]->ema, net->tensors[i]->count);
    }
    net->uses_ema = use;
    nn_net_thaw(net);
}
