/* NumPy's .npz files: a zip of .npy files, stored or deflated (minizip). The bytes are not trusted. */
#ifndef FEWBIT_CLI_PACKING_NPZ_H
#define FEWBIT_CLI_PACKING_NPZ_H

#include "base/err.h"

/* The bytes of the array `name` (without ".npy"); with NULL those of the only one. More than `most` bytes are ERR_INPUT
 * before they are allocated, and so is what the file is too short for. ERR_NOT_FOUND names the arrays there are. The
 * caller frees *bytes. */
err npz_read(const char *path, const char *name, size_t most, uint8_t **bytes, size_t *length);

#endif
