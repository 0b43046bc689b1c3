#include "base/json.h"

#include "base/file.h"

#include <stdint.h>
#include <stdlib.h>

err json_read(const char *path, size_t cap, json_t **value) {
    uint8_t *text;
    size_t length;
    err e = file_read(path, cap, &text, &length);
    if (e) {
        return e;
    }
    json_error_t problem;
    *value = json_loadb((const char *)text, length, JSON_REJECT_DUPLICATES, &problem);
    free(text);
    return *value ? ERR_OK : err_fail(ERR_INPUT, "%s:%d: not JSON: %s", path, problem.line, problem.text);
}

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
