/* safetensors files, as published by Hugging Face, limited to what we use.
 *
 *   offset 0  length n of the header, u64 little-endian, at most SAFETENSORS_HEADER_MAX
 *          8  header: a JSON object, name -> {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}, and
 *             "__metadata__" -> {string: string}; spaces may pad it
 *        8+n  the values, little-endian; offsets count from here, without gaps, overlaps or bytes after them
 *
 * Read by PyTorch users with safetensors.torch.load_file. Tensors of other types than F32 may lie in a file, but are
 * never copied out of it. Values that are not finite are neither written nor copied. A file may be larger than memory:
 * what is read of it is its header, and what is asked for. Files are not trusted. */
#ifndef FEWBIT_MODEL_SAFETENSORS_H
#define FEWBIT_MODEL_SAFETENSORS_H

#include "base/sha256.h"

enum { SAFETENSORS_HEADER_MAX = 1 << 20 };

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
 * SHA-256 of the whole file. ERR_INPUT where a value is not finite. */
err safetensors_write(const char *path, const safetensors_entry *entries, size_t count,
                      const safetensors_pair *metadata, size_t metadata_count, uint8_t digest[SHA256_BYTES]);

/* How many bytes safetensors_write would write, and their SHA-256. */
err safetensors_measure(const safetensors_entry *entries, size_t count, const safetensors_pair *metadata,
                        size_t metadata_count, uint64_t *bytes, uint8_t digest[SHA256_BYTES]);

typedef struct safetensors safetensors;

/* Reads and checks the header, against the file's length too. Every refusal has a message of its own, with path and
 * tensor. The caller ends it with safetensors_close. */
err safetensors_open(safetensors **file, const char *path);
void safetensors_close(safetensors *file);

/* The SHA-256 of the whole file. */
err safetensors_digest(const safetensors *file, uint8_t digest[SHA256_BYTES]);

/* Value of a metadata key, or NULL. Borrowed. */
const char *safetensors_metadata(const safetensors *file, const char *key);

/* As it was opened. */
const char *safetensors_path(const safetensors *file);

bool safetensors_has(const safetensors *file, const char *name);

/* Copies tensor `name`, which must be F32 of exactly this shape, with finite values, into `values`. */
err safetensors_copy(const safetensors *file, const char *name, uint32_t rank, const uint32_t *shape, float *values);

/* How many tensors the file holds. */
size_t safetensors_count(const safetensors *file);

#endif
