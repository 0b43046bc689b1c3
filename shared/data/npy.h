/* NumPy's .npy files: one array of numbers.
 *
 *   offset 0  "\x93NUMPY", major and minor version: 1.0, 2.0 or 3.0
 *          8  length of the header, u16 (1.0) or u32 (2.0, 3.0), little-endian, at most NPY_HEADER_MAX
 *         ..  header: {'descr': '<f4', 'fortran_order': False, 'shape': (2000, 10), }, padded with spaces, then a
 * newline
 *         ..  the elements, row-major, and nothing after them
 *
 * Read into unsigned bytes or floats, whatever type of number it has: u1, i1, u2, i2, u4, i4, u8, i8, f2, f4, f8, of
 * either byte order. Values that do not fit are refused by row and element: for bytes, what is no whole number from 0
 * to 255; for floats, what is not finite as a 32-bit float. Written as '|u1' or '<f4', version 1.0. */
#ifndef FEWBIT_DATA_NPY_H
#define FEWBIT_DATA_NPY_H

#include "data/npy_header.h"

typedef struct npy_array {
    portion_type type;
    uint32_t rank;
    uint32_t dims[NPY_RANK_MAX];
    size_t elements; /* product of dims */
    void *values;    /* uint8_t or float [elements] */
} npy_array;

/* Reads `path`; `most` bounds the elements. Every refusal is ERR_INPUT, names the file and what is wrong, and comes
 * before more memory is taken than the file's length tells of. The caller ends it with npy_free. */
err npy_read(const char *path, portion_type type, size_t most, npy_array *a);

/* The same of a file's bytes in memory; `name` is for errors. */
err npy_parse(const char *name, const void *bytes, size_t length, portion_type type, size_t most, npy_array *a);

void npy_free(npy_array *a);

/* Atomic. `values`: product of dims elements of `type`. ERR_INPUT where a float is not finite. */
err npy_write(const char *path, portion_type type, uint32_t rank, const uint32_t *dims, const void *values);

#endif
