/* Arrays to be packed: NumPy's .npy and .npz, and IDX files. The first size is the samples', the others are the
 * portion's: [samples, features], [samples, channels, length] or [samples, channels, height, width]; IDX of three sizes
 * has one channel. Labels are whole numbers [samples]. */
#ifndef FEWBIT_CLI_PACKING_PACK_ARRAYS_H
#define FEWBIT_CLI_PACKING_PACK_ARRAYS_H

#include "cli/packing/pack_samples.h"

/* Whether a path's name is that of a NumPy file; of an IDX file. */
bool pack_arrays_is(const char *path);
bool pack_arrays_is_idx(const char *path);

/* Adds the samples of pack_samples_path. `name`: of a .npz's array, or NULL. `labels`: their classes, and no values. */
err pack_arrays_read(pack_samples *s, const char *name, bool labels);

/* Adds the texts of an array of whole numbers [count], each with its zero; `to` may have failed afterwards. */
err pack_arrays_read_whole(const char *path, const char *name, dynbuf *to, uint32_t *count);

#endif
