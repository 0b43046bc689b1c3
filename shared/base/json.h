/* JSON as text (jansson). */
#ifndef FEWBIT_BASE_JSON_H
#define FEWBIT_BASE_JSON_H

#include <jansson.h>

/* The text of `value` (flags are json_dumps's), the caller's to free; NULL where memory ran out, or `value` is NULL.
 * jansson's own writer leaves pieces out, without a word, when an allocation fails half way: so what it wrote is read
 * back and compared. */
char *json_text(const json_t *value, size_t flags);

#endif
