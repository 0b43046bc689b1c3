/* A manifest: one small JSON object with a fixed set of fields, read strictly.
 *
 * Opening checks that exactly the named fields are there. A getter whose field has the wrong type or range
 * leaves its target as it was and keeps the first error: read everything, manifest_close tells. */
#ifndef FEWBIT_DATA_MANIFEST_H
#define FEWBIT_DATA_MANIFEST_H

#include "base/digest.h"
#include "base/err.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum { MANIFEST_BYTES_MAX = 1 << 16 };

typedef struct manifest {
    json_t *root;
    const char *path; /* borrowed */
    err error;
} manifest;

/* `fields` ends with NULL. After a failure there is nothing to close. */
err manifest_open(manifest *m, const char *path, const char *const *fields);

/* The first error of the getters, or ERR_OK. */
err manifest_close(manifest *m);

/* Records an error of the caller's own about a field, unless there is one already. */
void manifest_refuse(manifest *m, const char *field, const char *reason);

/* One or more of a-z, 0-9, '-' and '_', at most size - 1 of them. */
void manifest_name(manifest *m, const char *field, char *to, size_t size);
void manifest_number(manifest *m, const char *field, uint32_t low, uint32_t high, uint32_t *to);

/* An array of exactly `count` numbers from 1 to `high`. */
void manifest_numbers(manifest *m, const char *field, uint32_t high, uint32_t *to, size_t count);

/* 64 lower-case hex digits; an array of exactly `count` of those. */
void manifest_digest(manifest *m, const char *field, char to[DIGEST_HEX]);
void manifest_digests(manifest *m, const char *field, char (*to)[DIGEST_HEX], size_t count);

/* Writes the object (its reference is taken) as indented JSON, atomically. NULL is ERR_MEMORY. */
err manifest_write(const char *path, json_t *root);

#endif
