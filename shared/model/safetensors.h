/* safetensors files, as published by Hugging Face, limited to what we use.
 *
 *   offset 0  length n of the header, u64 little-endian, at most SAFETENSORS_HEADER_MAX
 *          8  header: a JSON object, name -> {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}, and
 *             "__metadata__" -> {string: string}; spaces may pad it
 *        8+n  the values, little-endian; offsets count from here, without gaps, overlaps or bytes behind
 *
 * Read by PyTorch users with safetensors.torch.load_file. Only F32 is taken. Files are not trusted. */
#ifndef FEWBIT_MODEL_SAFETENSORS_H
#define FEWBIT_MODEL_SAFETENSORS_H

#include "base/digest.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { SAFETENSORS_HEADER_MAX = 1 << 20, SAFETENSORS_RANK_MAX = 4 };
static const size_t SAFETENSORS_FILE_MAX = (size_t)1 << 32;

/* A tensor to write; everything borrowed. */
typedef struct safetensors_entry {
    const char *name;
    uint32_t rank;
    const uint32_t *shape;
    const float *values; /* product of shape */
} safetensors_entry;

typedef struct safetensors_pair {
    const char *key, *value;
} safetensors_pair;

/* Writes atomically (base/file.h). The bytes depend on the arguments alone. `digest`, when not NULL, gets the
 * SHA-256 of the whole file. */
err safetensors_write(const char *path, const safetensors_entry *entries, size_t count,
                      const safetensors_pair *metadata, size_t metadata_count, uint8_t digest[DIGEST_BYTES]);

typedef struct safetensors safetensors;

/* Reads and checks the whole file. Every refusal has a message of its own, with path and tensor. The caller ends
 * it with safetensors_close. */
err safetensors_open(safetensors **file, const char *path);
void safetensors_close(safetensors *file);

/* The SHA-256 of the file as read. */
const uint8_t *safetensors_digest(const safetensors *file);

/* Value of a metadata key, or NULL. Borrowed. */
const char *safetensors_metadata(const safetensors *file, const char *key);

/* Copies tensor `name`, which must have exactly this shape, into `values`. */
err safetensors_copy(const safetensors *file, const char *name, uint32_t rank, const uint32_t *shape, float *values);

/* How many tensors the file holds. */
size_t safetensors_count(const safetensors *file);

#endif
