/* JSON as text and in files (jansson). */
#ifndef FEWBIT_BASE_JSON_H
#define FEWBIT_BASE_JSON_H

#include "base/err.h"

#include <jansson.h>

/* The value in the file at `path`, of at most `cap` bytes, a new reference. ERR_INPUT names the line that is no JSON,
 * or has a key twice. */
err json_read(const char *path, size_t cap, json_t **value);

/* The text of `value` (flags are json_dumps's), the caller's to free; NULL where memory ran out, or `value` is NULL.
 * jansson's own writer leaves pieces out, without a word, when an allocation fails half way: so what it wrote is read
 * back and compared. */
char *json_text(const json_t *value, size_t flags);

/* Writes an object as text of a line a key, and a line an element where a value is a list: for people to read, and
 * small. Its keys need no escapes; NULL is ERR_MEMORY. ERR_FULL: it takes more than `most` bytes; nothing is written.
 */
err json_write(const char *path, json_t *object, size_t most);

/* Appends to a list, and sets a key of an object. `value` is taken; where memory has run out, before or now (it is
 * NULL, too, then), all is gone and *list, *object NULL. */
void json_list_add(json_t **list, json_t *value);
void json_put(json_t **object, const char *key, json_t *value);

/* A number; null where `value` is not finite. */
json_t *json_finite(double value);

#endif
