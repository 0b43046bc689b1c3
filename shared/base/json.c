#include "base/json.h"

#include <stdlib.h>

char *json_text(const json_t *value, size_t flags) {
    char *text = value ? json_dumps(value, flags) : NULL;
    json_t *again = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    if (!again || !json_equal(value, again)) {
        free(text);
        text = NULL;
    }
    json_decref(again);
    return text;
}
