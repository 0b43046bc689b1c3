#include "base/json_fields.h"

#include "base/json.h"

#include <string.h>

static bool is_among(const char *name, const char *const *fields) {
    for (; *fields; fields++) {
        if (strcmp(name, *fields + (**fields == '?')) == 0) {
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
        if (**fields != '?' && !json_object_get(m->root, *fields)) {
            return err_fail(ERR_INPUT, "%s: field '%s' is missing", m->path, *fields);
        }
    }
    return ERR_OK;
}

static err check_format(const json_fields *m, const json_fields_form *form) {
    const json_t *format = json_object_get(m->root, "format");
    bool is_same = json_is_integer(format) && json_integer_value(format) == form->format;
    return is_same || form->format == 0
               ? ERR_OK
               : err_fail(ERR_INPUT, "%s: is not of format %u: %s", m->path, form->format, form->remedy);
}

err json_fields_open_form(json_fields *m, const char *path, const json_fields_form *form) {
    *m = (json_fields){.path = path};
    err e = json_read(path, form->most, &m->root);
    if (e) {
        return e;
    }
    e = json_is_object(m->root) ? check_format(m, form) : err_fail(ERR_INPUT, "%s: not a JSON object", path);
    e = e ? e : check_fields(m, form->fields);
    if (e) {
        json_decref(m->root);
    }
    return e;
}

err json_fields_open(json_fields *m, const char *path, const char *const *fields) {
    return json_fields_open_form(m, path, &(json_fields_form){.fields = fields, .most = JSON_FIELDS_BYTES_MAX});
}

err json_fields_close(json_fields *m) {
    json_decref(m->root);
    m->root = NULL;
    return m->error;
}

void json_fields_enter(json_fields *m, const char *field, const char *const *fields, json_fields *inside) {
    *inside = (json_fields){.root = json_object_get(m->root, field), .path = m->path, .error = m->error};
    if (!json_is_object(inside->root)) {
        json_fields_refuse(inside, field, "is not an object");
    } else if (!inside->error) {
        inside->error = check_fields(inside, fields);
    }
}

void json_fields_leave(json_fields *m, const json_fields *inside) {
    m->error = inside->error;
}

bool json_fields_has(const json_fields *m, const char *field) {
    return json_object_get(m->root, field) != NULL;
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

void json_fields_text(json_fields *m, const char *field, char *to, size_t size) {
    const json_t *value = json_object_get(m->root, field);
    const char *text = json_string_value(value);
    if (!text || json_string_length(value) >= size || strlen(text) != json_string_length(value)) {
        if (!m->error) {
            m->error = err_fail(ERR_INPUT, "%s: field '%s' is not a text of less than %zu bytes", m->path, field, size);
        }
        return;
    }
    memcpy(to, text, strlen(text) + 1);
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

void json_fields_digest(json_fields *m, const char *field, char to[SHA256_HEX]) {
    const json_t *value = json_object_get(m->root, field);
    const char *text = json_string_value(value);
    if (json_string_length(value) != SHA256_HEX - 1 || strspn(text, "0123456789abcdef") != SHA256_HEX - 1) {
        json_fields_refuse(m, field, "is not 64 lower-case hex digits");
        return;
    }
    memcpy(to, text, SHA256_HEX);
}

err json_fields_write(const char *path, json_t *root) {
    return json_fields_write_long(path, root, JSON_FIELDS_BYTES_MAX);
}

err json_fields_write_long(const char *path, json_t *root, size_t most) {
    err e = json_write(path, root, most);
    json_decref(root);
    return e;
}
