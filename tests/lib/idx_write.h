/* Writes IDX files, plain. */
#ifndef FEWBIT_TESTS_IDX_WRITE_H
#define FEWBIT_TESTS_IDX_WRITE_H

#include "base/file.h"
#include "data/idx.h"

/* `bytes`: as many as the product of dims [rank]. */
static inline err idx_write(const char *path, const uint8_t *bytes, uint32_t rank, const uint32_t *dims) {
    uint8_t header[4 + 4 * IDX_RANK_MAX] = {0, 0, 8, (uint8_t)rank};
    size_t length = 1;
    for (uint32_t i = 0; i < rank; i++) {
        for (uint32_t byte = 0; byte < 4; byte++) {
            header[4 + 4 * i + byte] = (uint8_t)(dims[i] >> (24 - 8 * byte));
        }
        length *= dims[i];
    }
    const file_span spans[] = {{header, 4 + 4 * rank}, {bytes, length}};
    return file_write_atomic(path, spans, 2);
}

#endif
