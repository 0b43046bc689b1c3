/* IDX files (LeCun, Cortes, Burges: the MNIST page): big-endian header, then the bytes.
 *
 *   offset 0  two zero bytes
 *          2  element type; only 0x08, unsigned byte, is taken
 *          3  rank: 1 to 4
 *          4  rank sizes, u32 big-endian
 *          .. the elements, row-major, and nothing after them
 *
 * Read gzipped or plain (told by content, not by name). */
#ifndef FEWBIT_DATA_IDX_H
#define FEWBIT_DATA_IDX_H

#include "base/err.h"

enum { IDX_RANK_MAX = 4 };

typedef struct idx_array {
    uint8_t *bytes; /* [dims[0], ..., dims[rank-1]], row-major */
    size_t length;  /* product of dims */
    uint32_t rank;
    uint32_t dims[IDX_RANK_MAX];
} idx_array;

/* Reads `path`; `cap` bounds the elements after decompression. A truncated file, bytes after the elements, a
 * header that promises more than `cap` or than the file holds: ERR_INPUT with path and reason, and no
 * allocation larger than the cap. The caller ends it with idx_free. */
err idx_read(const char *path, size_t cap, idx_array *array);
void idx_free(idx_array *array);

#endif
