/* One JSON object with a fixed set of fields, read strictly.
 *
 * Opening checks that exactly the named fields are there; a name that begins with '?' is of one that may be missing. A
 * getter whose field has the wrong type or range leaves its target as it was and keeps the first error: read
 * everything, json_fields_close tells. */
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

/* `fields` ends with NULL. After a failure there is nothing to close. A file is at most JSON_FIELDS_BYTES_MAX long. */
err json_fields_open(json_fields *m, const char *path, const char *const *fields);

/* The same of a file that says its format, as the number in "format": one of another is refused with the remedy. */
typedef struct json_fields_form {
    const char *const *fields; /* with "format" */
    uint32_t format;
    const char *remedy;
    size_t most; /* bytes of a file */
} json_fields_form;

err json_fields_open_form(json_fields *m, const char *path, const json_fields_form *form);

/* The object in a field, which has fields of its own; read `inside`, then leave it. Not to be entered after an error.
 */
void json_fields_enter(json_fields *m, const char *field, const char *const *fields, json_fields *inside);
void json_fields_leave(json_fields *m, const json_fields *inside);

bool json_fields_has(const json_fields *m, const char *field);

/* The first error of the getters, or ERR_OK. */
err json_fields_close(json_fields *m);

/* Records an error of the caller's own about a field, unless there is one already. */
void json_fields_refuse(json_fields *m, const char *field, const char *reason);

/* One or more of a-z, 0-9, '-' and '_', at most size - 1 of them. */
void json_fields_name(json_fields *m, const char *field, char *to, size_t size);

/* Any text of at most size - 1 bytes, without a zero. */
void json_fields_text(json_fields *m, const char *field, char *to, size_t size);
void json_fields_number(json_fields *m, const char *field, uint32_t low, uint32_t high, uint32_t *to);

/* An array of exactly `count` numbers from 1 to `high`. */
void json_fields_numbers(json_fields *m, const char *field, uint32_t high, uint32_t *to, size_t count);

/* 64 lower-case hex digits. */
void json_fields_digest(json_fields *m, const char *field, char to[SHA256_HEX]);

/* Writes the object, whose reference is taken, by json_write, and as long as it may be read. NULL is ERR_MEMORY. */
err json_fields_write(const char *path, json_t *root);
err json_fields_write_long(const char *path, json_t *root, size_t most);

#endif
