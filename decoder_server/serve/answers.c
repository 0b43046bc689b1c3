#include "decoder_server/serve/answers.h"

#include <stdlib.h>
#include <string.h>

struct answers {
    uint32_t size, known, classes;
    uint8_t *class;       /* [size] */
    float *probabilities; /* [size, classes] */
};

size_t answers_bytes(uint32_t bits, uint32_t classes) {
    if (bits > ANSWERS_BITS_MAX || classes >= ANSWERS_UNKNOWN) {
        return SIZE_MAX;
    }
    return ((size_t)1 << bits) * (1 + classes * sizeof(float));
}

err answers_new(answers **out, uint32_t bits, uint32_t classes) {
    answers *a = calloc(1, sizeof *a);
    if (!a) {
        return err_fail(ERR_MEMORY, "no memory for a table of answers");
    }
    a->size = 1u << bits;
    a->classes = classes;
    a->class = malloc(a->size);
    a->probabilities = malloc(a->size * classes * sizeof(float));
    if (!a->class || !a->probabilities) {
        answers_free(a);
        return err_fail(ERR_MEMORY, "no memory for the answers to %u codewords", 1u << bits);
    }
    memset(a->class, ANSWERS_UNKNOWN, a->size);
    *out = a;
    return ERR_OK;
}

void answers_free(answers *a) {
    if (a) {
        free(a->class);
        free(a->probabilities);
        free(a);
    }
}

void answers_put(answers *a, uint32_t codeword, uint32_t class, const float *probabilities) {
    a->known += a->class[codeword] == ANSWERS_UNKNOWN;
    a->class[codeword] = (uint8_t) class;
    memcpy(a->probabilities + (size_t)codeword * a->classes, probabilities, a->classes * sizeof(float));
}

uint32_t answers_class(const answers *a, uint32_t codeword) {
    return a->class[codeword];
}

const float *answers_probabilities(const answers *a, uint32_t codeword) {
    return a->probabilities + (size_t)codeword * a->classes;
}

uint32_t answers_size(const answers *a) {
    return a->size;
}

uint32_t answers_known(const answers *a) {
    return a->known;
}
