/* One small JSON object with a fixed set of fields, read strictly.
 *
 * Opening checks that exactly the named fields are there. A getter whose field has the wrong type or range
 * leaves its target as it was and keeps the first error: read everything, json_fields_close tells. */
#ifndef FEWBIT_BASE_JSON_FIELDS_H
#define FEWBIT_BASE_JSON_FIELDS_H

#include "base/sha256.h"

#include <jansson.h>

enum { JSON_FIELDS_BYTES_MAX = 1 << 16 };

typedef struct json_fields {
    json_t *root;
    const char *path; /* borrowed */
    err error;
} json_fields;

/* `fields` ends with NULL. After a failure there is nothing to close. */
err json_fields_open(json_fields *m, const char *path, const char *const *fields);

/* The first error of the getters, or ERR_OK. */
err json_fields_close(json_fields *m);

/* Records an error of the caller's own about a field, unless there is one already. */
void json_fields_refuse(json_fields *m, const char *field, const char *reason);

/* One or more of a-z, 0-9, '-' and '_', at most size - 1 of them. */
void json_fields_name(json_fields *m, const char *field, char *to, size_t size);
void json_fields_number(json_fields *m, const char *field, uint32_t low, uint32_t high, uint32_t *to);

/* An array of exactly `count` numbers from 1 to `high`. */
void json_fields_numbers(json_fields *m, const char *field, uint32_t high, uint32_t *to, size_t count);

/* 64 lower-case hex digits; an array of exactly `count` of those. */
void json_fields_digest(json_fields *m, const char *field, char to[SHA256_HEX]);
void json_fields_digests(json_fields *m, const char *field, char (*to)[SHA256_HEX], size_t count);

/* An array of digests; NULL where memory ran out. */
json_t *json_fields_pack_digests(const char (*digests)[SHA256_HEX], size_t count);

/* Writes the object, whose reference is taken, by json_write. NULL is ERR_MEMORY. */
err json_fields_write(const char *path, json_t *root);

#endif
