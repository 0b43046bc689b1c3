#include "base/json_fields.h"

#include "base/json.h"

#include <string.h>

static bool is_among(const char *name, const char *const *fields) {
    for (; *fields; fields++) {
        if (strcmp(name, *fields) == 0) {
            return true;
        }
    }
    return false;
}

static err check_fields(const json_fields *m, const char *const *fields) {
    const char *name;
    json_t *value;
    json_object_foreach(m->root, name, value) {
        if (!is_among(name, fields)) {
            return err_fail(ERR_INPUT, "%s: unknown field '%s'", m->path, name);
        }
    }
    for (; *fields; fields++) {
        if (!json_object_get(m->root, *fields)) {
            return err_fail(ERR_INPUT, "%s: field '%s' is missing", m->path, *fields);
        }
    }
    return ERR_OK;
}

err json_fields_open(json_fields *m, const char *path, const char *const *fields) {
    *m = (json_fields){.path = path};
    err e = json_read(path, JSON_FIELDS_BYTES_MAX, &m->root);
    if (e) {
        return e;
    }
    e = json_is_object(m->root) ? check_fields(m, fields) : err_fail(ERR_INPUT, "%s: not a JSON object", path);
    if (e) {
        json_decref(m->root);
    }
    return e;
}

err json_fields_close(json_fields *m) {
    json_decref(m->root);
    m->root = NULL;
    return m->error;
}

void json_fields_refuse(json_fields *m, const char *field, const char *reason) {
    if (!m->error) {
        m->error = err_fail(ERR_INPUT, "%s: field '%s' %s", m->path, field, reason);
    }
}

void json_fields_name(json_fields *m, const char *field, char *to, size_t size) {
    const json_t *value = json_object_get(m->root, field);
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    if (length == 0 || length >= size || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_") != length) {
        json_fields_refuse(m, field, "is not a short name of a-z, 0-9, '-' and '_'");
        return;
    }
    memcpy(to, text, length + 1);
}

static bool number_fits(const json_t *value, uint32_t low, uint32_t high) {
    return json_is_integer(value) && json_integer_value(value) >= low && json_integer_value(value) <= high;
}

void json_fields_number(json_fields *m, const char *field, uint32_t low, uint32_t high, uint32_t *to) {
    const json_t *value = json_object_get(m->root, field);
    if (number_fits(value, low, high)) {
        *to = (uint32_t)json_integer_value(value);
    } else if (!m->error) {
        m->error = err_fail(ERR_INPUT, "%s: field '%s' is not a whole number from %u to %u", m->path, field, low, high);
    }
}

static bool array_fits(json_fields *m, const char *field, size_t count) {
    const json_t *array = json_object_get(m->root, field);
    if (json_is_array(array) && json_array_size(array) == count) {
        return true;
    }
    if (!m->error) {
        m->error = err_fail(ERR_INPUT, "%s: field '%s' is not an array of %zu", m->path, field, count);
    }
    return false;
}

void json_fields_numbers(json_fields *m, const char *field, uint32_t high, uint32_t *to, size_t count) {
    for (size_t i = 0; array_fits(m, field, count) && i < count; i++) {
        const json_t *value = json_array_get(json_object_get(m->root, field), i);
        if (!number_fits(value, 1, high)) {
            json_fields_refuse(m, field, "holds something that is not a whole number in range");
            return;
        }
        to[i] = (uint32_t)json_integer_value(value);
    }
}

static void take_digest(json_fields *m, const char *field, const json_t *value, char to[SHA256_HEX]) {
    const char *text = json_string_value(value);
    if (json_string_length(value) != SHA256_HEX - 1 || strspn(text, "0123456789abcdef") != SHA256_HEX - 1) {
        json_fields_refuse(m, field, "holds something that is not 64 lower-case hex digits");
        return;
    }
    memcpy(to, text, SHA256_HEX);
}

void json_fields_digest(json_fields *m, const char *field, char to[SHA256_HEX]) {
    take_digest(m, field, json_object_get(m->root, field), to);
}

void json_fields_digests(json_fields *m, const char *field, char (*to)[SHA256_HEX], size_t count) {
    for (size_t i = 0; array_fits(m, field, count) && i < count; i++) {
        take_digest(m, field, json_array_get(json_object_get(m->root, field), i), to[i]);
    }
}

json_t *json_fields_pack_digests(const char (*digests)[SHA256_HEX], size_t count) {
    json_t *array = json_array();
    for (size_t i = 0; i < count && array; i++) {
        if (json_array_append_new(array, json_string(digests[i]))) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

err json_fields_write(const char *path, json_t *root) {
    err e = json_write(path, root, JSON_FIELDS_BYTES_MAX);
    json_decref(root);
    return e;
}
