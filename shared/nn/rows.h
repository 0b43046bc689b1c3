/* How many rows a net is made for. */
#ifndef FEWBIT_NN_ROWS_H
#define FEWBIT_NN_ROWS_H

#include "nn/net.h"

/* Of a net that is trained in batches of `batch` rows (at least 1) and evaluated in up to `most`. Where images pass
 * through it, its activations are large: then it takes the batch alone, and its callers cut what is longer into pieces
 * of that. By the description alone, so the pieces are the same everywhere. */
static inline size_t nn_rows_at_once(const nn_spec *spec, size_t batch, size_t most) {
    for (size_t i = 0; i < spec->count; i++) {
        if (spec->layers[i].kind == NN_IMAGE) {
            return batch;
        }
    }
    return batch > most ? batch : most;
}

#endif
