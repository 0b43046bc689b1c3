/* The resolved text of an experiment: every key of the schema, in its order. Floats get nine digits, enough to give the
 * same float again (libcyaml's own writer gives six). */
#include "experiment/experiment.h"
#include "experiment/schema.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct writer {
    char *text;
    size_t used; /* may pass EXPERIMENT_TEXT_MAX: then not all is there */
} writer;

static void put(writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(writer *w, const char *format, ...) {
    char piece[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(piece, sizeof piece, format, arguments);
    va_end(arguments);
    if (w->used + (size_t)length <= EXPERIMENT_TEXT_MAX) {
        memcpy(w->text + w->used, piece, (size_t)length);
    }
    w->used += (size_t)length;
}

/* The code point that `text`, valid UTF-8 since it came out of YAML, begins with; returns its bytes. */
static size_t next_point(const char *text, uint32_t *point) {
    const unsigned char *c = (const unsigned char *)text;
    size_t length = *c < 0x80 ? 1 : *c < 0xe0 ? 2 : *c < 0xf0 ? 3 : 4;
    *point = length == 1 ? *c : *c & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (c[i] == '\0') {
            return i;
        }
        *point = *point << 6 | (c[i] & 0x3fu);
    }
    return length;
}

/* What YAML takes for a control character, a line's end or a byte order mark. */
static bool must_be_escaped(uint32_t point) {
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x2028 || point == 0x2029 || point == 0xfeff ||
           (point >= 0xfffe && point <= 0xffff);
}

static void put_string(writer *w, const char *string) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
    if (string[0] && string[0] != '-' && string[0] != '.' && strspn(string, plain) == strlen(string)) {
        put(w, "%s", string);
        return;
    }
    put(w, "\"");
    while (*string) {
        uint32_t point;
        size_t length = next_point(string, &point);
        if (point == '"' || point == '\\') {
            put(w, "\\%c", (char)point);
        } else if (must_be_escaped(point)) {
            put(w, "\\u%04x", point);
        } else {
            put(w, "%.*s", (int)length, string);
        }
        string += length;
    }
    put(w, "\"");
}

static uint64_t whole_at(const void *data, size_t size) {
    uint64_t value = 0;
    memcpy(&value, data, size); /* little-endian, as all we run on */
    return value;
}

static const char *name_of(const cyaml_schema_value_t *schema, uint64_t value) {
    for (uint32_t i = 0; i < schema->enumeration.count; i++) {
        if ((uint64_t)schema->enumeration.strings[i].val == value) {
            return schema->enumeration.strings[i].str;
        }
    }
    return "?";
}

static void put_scalar(writer *w, const cyaml_schema_value_t *schema, const void *data) {
    switch (schema->type) {
    case CYAML_UINT:
        put(w, "%" PRIu64, whole_at(data, schema->data_size));
        break;
    case CYAML_FLOAT:
        put(w, "%.9g", (double)*(const float *)data);
        break;
    case CYAML_BOOL:
        put(w, *(const bool *)data ? "true" : "false");
        break;
    case CYAML_ENUM:
        put(w, "%s", name_of(schema, whole_at(data, schema->data_size)));
        break;
    default:
        put_string(w, data);
        break;
    }
}

/* On one line: [2, 4]. */
static void put_sequence(writer *w, const cyaml_schema_field_t *field, const char *data) {
    uint64_t count = whole_at(data + field->count_offset, field->count_size);
    put(w, "[");
    for (uint64_t i = 0; i < count; i++) {
        put(w, i ? ", " : "");
        put_scalar(w, field->value.sequence.entry, data + field->data_offset + i * field->value.data_size);
    }
    put(w, "]");
}

static void put_mapping(writer *w, const cyaml_schema_field_t *fields, const char *data, const char *indent) {
    for (const cyaml_schema_field_t *field = fields; field->key; field++) {
        if (field->value.type == CYAML_IGNORE) {
            continue;
        }
        put(w, "%s%s:", indent, field->key);
        if (field->value.type == CYAML_MAPPING) {
            put(w, "\n");
            put_mapping(w, field->value.mapping.fields, data + field->data_offset, "  ");
            continue;
        }
        put(w, " ");
        if (field->value.type == CYAML_SEQUENCE) {
            put_sequence(w, field, data);
        } else {
            put_scalar(w, &field->value, data + field->data_offset);
        }
        put(w, "\n");
    }
}

err experiment_write(const experiment *e, char *text, size_t *length) {
    writer w = {.text = text};
    put_mapping(&w, schema_experiment.mapping.fields, (const char *)e, "");
    if (w.used > EXPERIMENT_TEXT_MAX) {
        return err_fail(ERR_INPUT, "the resolved experiment is longer than %d bytes", EXPERIMENT_TEXT_MAX);
    }
    *length = w.used;
    return ERR_OK;
}
