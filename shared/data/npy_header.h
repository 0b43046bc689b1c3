/* The header of a NumPy file (data/npy.h): what type and shape the elements after it have. */
#ifndef FEWBIT_DATA_NPY_HEADER_H
#define FEWBIT_DATA_NPY_HEADER_H

#include "data/portion_shape.h"

enum { NPY_RANK_MAX = 4, NPY_HEADER_MAX = 10000, NPY_HEADER_START = 12, NPY_HEADER_WRITTEN = 256 };

typedef struct npy_header {
    char descr[8];               /* as it is stored: "<f4" */
    uint32_t rank;               /* 1 to NPY_RANK_MAX */
    uint32_t dims[NPY_RANK_MAX]; /* each > 0 */
    size_t elements;             /* product of dims */
    size_t offset;               /* of the first element in the file */
    size_t size;                 /* bytes of a stored element */
    char kind;                   /* 'u', 'i' or 'f' */
    bool is_big;                 /* the byte order */
} npy_header;

/* The header at the start of `length` bytes, untrusted; ERR_INPUT names `name` and what is wrong. What of it may lie
 * beyond NPY_HEADER_START + NPY_HEADER_MAX bytes is none. */
err npy_header_parse(const char *name, const uint8_t *bytes, size_t length, npy_header *h);

/* A header as npy_write writes it, with `rank` <= NPY_RANK_MAX; returns its length, a multiple of 64. */
size_t npy_header_write(char to[NPY_HEADER_WRITTEN], portion_type type, uint32_t rank, const uint32_t *dims);

#endif
