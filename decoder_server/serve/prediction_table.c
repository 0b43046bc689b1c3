#include "decoder_server/serve/prediction_table.h"

#include <stdlib.h>
#include <string.h>

struct prediction_table {
    uint32_t size, known, classes;
    uint8_t *class;       /* [size] */
    float *probabilities; /* [size, classes] */
};

size_t prediction_table_bytes(uint32_t bits, uint32_t classes) {
    if (bits > PREDICTION_TABLE_BITS_MAX || classes >= PREDICTION_TABLE_UNKNOWN) {
        return SIZE_MAX;
    }
    return ((size_t)1 << bits) * (1 + classes * sizeof(float));
}

err prediction_table_new(prediction_table **out, uint32_t bits, uint32_t classes) {
    prediction_table *a = calloc(1, sizeof *a);
    if (!a) {
        return err_fail(ERR_MEMORY, "no memory for a prediction table");
    }
    a->size = 1u << bits;
    a->classes = classes;
    a->class = malloc(a->size);
    a->probabilities = malloc(a->size * classes * sizeof(float));
    if (!a->class || !a->probabilities) {
        prediction_table_free(a);
        return err_fail(ERR_MEMORY, "no memory for the predictions of %u codewords", 1u << bits);
    }
    memset(a->class, PREDICTION_TABLE_UNKNOWN, a->size);
    *out = a;
    return ERR_OK;
}

void prediction_table_free(prediction_table *a) {
    if (a) {
        free(a->class);
        free(a->probabilities);
        free(a);
    }
}

void prediction_table_put(prediction_table *a, uint32_t codeword, uint32_t class, const float *probabilities) {
    a->known += a->class[codeword] == PREDICTION_TABLE_UNKNOWN;
    a->class[codeword] = (uint8_t) class;
    memcpy(a->probabilities + (size_t)codeword * a->classes, probabilities, a->classes * sizeof(float));
}

uint32_t prediction_table_class(const prediction_table *a, uint32_t codeword) {
    return a->class[codeword];
}

const float *prediction_table_probabilities(const prediction_table *a, uint32_t codeword) {
    return a->probabilities + (size_t)codeword * a->classes;
}

uint32_t prediction_table_size(const prediction_table *a) {
    return a->size;
}

uint32_t prediction_table_known(const prediction_table *a) {
    return a->known;
}
