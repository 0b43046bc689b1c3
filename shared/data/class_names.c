#include "data/class_names.h"

#include "base/json.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

bool class_name_is_valid(const char *name) {
    size_t length = strnlen(name, CLASS_NAME_MAX + 1);
    return length >= 1 && length <= CLASS_NAME_MAX && utf8_is_plain(name);
}

static err add(class_names *c, const char *name) {
    if (!class_name_is_valid(name)) {
        return err_fail(ERR_INPUT, "class %u has no name of 1 to %d bytes of printable UTF-8", c->count,
                        CLASS_NAME_MAX);
    }
    for (uint32_t i = 0; i < c->count; i++) {
        if (strcmp(c->names[i], name) == 0) {
            return err_fail(ERR_INPUT, "classes %u and %u are both named '%s'", i, c->count, name);
        }
    }
    strcpy(c->names[c->count++], name);
    return ERR_OK;
}

static err check_count(size_t count) {
    return count >= 2 && count <= DATASET_CLASSES_MAX
               ? ERR_OK
               : err_fail(ERR_INPUT, "there are 2 to %d classes, not %zu", DATASET_CLASSES_MAX, count);
}

err class_names_set(class_names *c, const char *const *names, size_t count) {
    *c = (class_names){0};
    err e = check_count(count);
    for (size_t i = 0; i < count && !e; i++) {
        e = add(c, names[i]);
    }
    return e;
}

void class_names_of(class_names *c, const dataset *set) {
    *c = (class_names){.count = set->classes};
    for (uint32_t i = 0; i < set->classes; i++) {
        snprintf(c->names[i], sizeof c->names[i], "%s", set->class_names[i]);
    }
}

void class_names_read(json_fields *m, const char *field, class_names *c) {
    const json_t *array = json_object_get(m->root, field);
    *c = (class_names){0};
    if (m->error) {
        return;
    }
    if (!json_is_array(array)) {
        json_fields_refuse(m, field, "is not a list of names");
        return;
    }
    err e = check_count(json_array_size(array));
    for (size_t i = 0; i < json_array_size(array) && !e; i++) {
        const json_t *value = json_array_get(array, i);
        const char *name = json_string_value(value);
        e = add(c, name && strlen(name) == json_string_length(value) ? name : "");
    }
    if (e) {
        m->error = err_prefix(e, "%s: field '%s'", m->path, field);
    }
}

json_t *class_names_pack(const class_names *c) {
    json_t *array = json_array();
    for (uint32_t i = 0; i < c->count; i++) {
        json_list_add(&array, json_string(c->names[i]));
    }
    return array;
}
