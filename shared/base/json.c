#include "base/json.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* What memory ran out for may be missing in the text without a word: so it is read back. */
static bool says(const char *text, size_t length, const json_t *value) {
    json_t *again = json_loadb(text, length, JSON_DECODE_ANY, NULL);
    bool equal = again && json_equal(value, again);
    json_decref(again);
    return equal;
}

char *json_text(const json_t *value, size_t flags) {
    char *text = value ? json_dumps(value, flags) : NULL;
    if (text && !says(text, strlen(text), value)) {
        free(text);
        text = NULL;
    }
    return text;
}

static void put(FILE *to, const char *before, const json_t *value) {
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    fprintf(to, "%s%s", before, text ? text : "");
    free(text);
}

/* One line a key, and a line an element where a value is a list: for people to read, and small. */
static void lay_out(FILE *to, json_t *object) {
    const char *before = "{", *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        fprintf(to, "%s\n  \"%s\": ", before, key);
        before = ",";
        if (!json_is_array(value) || json_array_size(value) == 0) {
            put(to, "", value);
            continue;
        }
        for (size_t i = 0; i < json_array_size(value); i++) {
            put(to, i == 0 ? "[\n    " : ",\n    ", json_array_get(value, i));
        }
        fputs("\n  ]", to);
    }
    fputs("\n}\n", to);
}

err json_write(const char *path, json_t *object, size_t most) {
    char *text = NULL;
    size_t length = 0;
    FILE *to = object ? open_memstream(&text, &length) : NULL;
    if (to) {
        lay_out(to, object);
        fclose(to);
    }
    err e = ERR_OK;
    if (text && length > most) {
        e = err_fail(ERR_FULL, "%s: would have %zu bytes, more than the %zu that are read", path, length, most);
    } else if (!text || !says(text, length, object)) {
        e = err_fail(ERR_MEMORY, "%s: no memory to write it", path);
    }
    e = e ? e : file_write_atomic(path, &(file_span){text, length}, 1);
    free(text);
    return e;
}

void json_list_add(json_t **list, json_t *value) {
    if (json_array_append_new(*list, value)) {
        json_decref(*list);
        *list = NULL;
    }
}

void json_put(json_t **object, const char *key, json_t *value) {
    if (json_object_set_new(*object, key, value)) {
        json_decref(*object);
        *object = NULL;
    }
}

json_t *json_finite(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}
