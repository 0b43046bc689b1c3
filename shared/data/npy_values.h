/* The numbers of a NumPy file (data/npy.h), turned into bytes or floats. */
#ifndef FEWBIT_DATA_NPY_VALUES_H
#define FEWBIT_DATA_NPY_VALUES_H

#include "data/npy_header.h"

/* `count` stored elements -> uint8_t or float [count], which `to` is aligned for. False where one does not fit: *bad
 * says which. */
bool npy_values_convert(const npy_header *h, const uint8_t *stored, size_t count, portion_type type, void *to,
                        size_t *bad);

#endif
