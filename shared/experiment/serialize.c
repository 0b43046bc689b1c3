#include "experiment/serialize.h"

#include "base/utf8.h"
#include "experiment/schema.h"
#include "experiment/yaml_document.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct writer {
    char *text;
    size_t used; /* may pass EXPERIMENT_TEXT_MAX: then not all is there */
    const experiment_override *overrides;
    size_t override_count;
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

/* What YAML takes for a control character, a line's end or a byte order mark. */
static bool must_be_escaped(uint32_t point) {
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x2028 || point == 0x2029 || point == 0xfeff ||
           (point >= 0xfffe && point <= 0xffff);
}

static void put_string(writer *w, const char *string) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
    if (string[0] != '-' && string[0] != '.' && strspn(string, plain) == strlen(string) && yaml_word_is_text(string)) {
        put(w, "%s", string);
        return;
    }
    put(w, "\"");
    while (*string) {
        uint32_t point;
        size_t taken = utf8_take(string, &point), length = taken ? taken : 1; /* from YAML, so it is UTF-8 */
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

static void put_scalar(writer *w, const schema_field *field, schema_type type, const void *data) {
    switch (type) {
    case SCHEMA_WHOLE:
        put(w, "%" PRIu64, whole_at(data, field->size));
        break;
    case SCHEMA_NUMBER:
        put(w, "%.9g" /* enough to give the same float again */, (double)*(const float *)data);
        break;
    case SCHEMA_SWITCH:
        put(w, *(const bool *)data ? "true" : "false");
        break;
    case SCHEMA_WORD:
        put(w, "%s", schema_word_of(field, (uint32_t)whole_at(data, sizeof(uint32_t))));
        break;
    default:
        put_string(w, data);
        break;
    }
}

/* On one line: [2, 4]. */
static void put_list(writer *w, const schema_field *field, const char *values) {
    uint64_t count = whole_at(values + field->count_offset, sizeof(uint32_t));
    put(w, "[");
    for (uint64_t i = 0; i < count; i++) {
        put(w, i ? ", " : "");
        put_scalar(w, field, field->entry, values + field->offset + i * field->size);
    }
    put(w, "]");
}

static void put_value(writer *w, const schema_field *field, const char *values) {
    bool is_list = field->type == SCHEMA_LIST;
    if (is_list && field->words && whole_at(values + field->count_offset, sizeof(uint32_t)) == 0) {
        put_scalar(w, field, SCHEMA_WORD, values + field->word_offset);
    } else if (is_list) {
        put_list(w, field, values);
    } else {
        put_scalar(w, field, field->type, values + field->offset);
    }
}

/* The last override of "section.key", or at the top of "key"; NULL: there is none. */
static const char *override_of(const writer *w, const char *section, const char *key) {
    size_t length = strlen(section);
    for (size_t i = w->override_count; i-- > 0;) {
        const char *of = w->overrides[i].key;
        bool is_inside = length == 0 || (strncmp(of, section, length) == 0 && of[length] == '.');
        if (is_inside && strcmp(of + (length ? length + 1 : 0), key) == 0) {
            return w->overrides[i].value;
        }
    }
    return NULL;
}

static void put_fields(writer *w, const schema_field *fields, const char *values, const char *section) {
    for (const schema_field *field = fields; field->key; field++) {
        put(w, "%s%s:", section[0] ? "  " : "", field->key);
        if (field->type == SCHEMA_SECTION) {
            put(w, "\n");
            put_fields(w, field->fields, values, field->key);
            continue;
        }
        const char *other = override_of(w, section, field->key);
        put(w, " %s", other ? other : "");
        if (!other) {
            put_value(w, field, values);
        }
        put(w, "\n");
    }
}

/* The field of "section.key" or "key"; NULL: there is none. */
static const schema_field *find_field(const schema_field *fields, const char *key) {
    size_t length = strcspn(key, ".");
    while (fields->key && (strncmp(fields->key, key, length) != 0 || fields->key[length] != '\0')) {
        fields++;
    }
    bool is_section = fields->type == SCHEMA_SECTION;
    if (!fields->key || is_section != (key[length] == '.')) {
        return NULL;
    }
    return is_section ? find_field(fields->fields, key + length + 1) : fields;
}

err experiment_serialize_with(const experiment *e, const experiment_override *overrides, size_t count, char *text,
                              size_t *length) {
    writer w = {.text = text, .overrides = overrides, .override_count = count};
    for (size_t i = 0; i < count; i++) {
        if (!find_field(schema_fields, overrides[i].key)) {
            return err_fail(ERR_INPUT, "key %s is not known", overrides[i].key);
        }
    }
    put_fields(&w, schema_fields, (const char *)e, "");
    if (w.used > EXPERIMENT_TEXT_MAX) {
        return err_fail(ERR_INPUT, "the resolved experiment is longer than %d bytes", EXPERIMENT_TEXT_MAX);
    }
    *length = w.used;
    return ERR_OK;
}

err experiment_serialize(const experiment *e, char *text, size_t *length) {
    return experiment_serialize_with(e, NULL, 0, text, length);
}

err experiment_compare(const experiment *a, const experiment *b, bool *is_same) {
    char text[2][EXPERIMENT_TEXT_MAX];
    size_t length[2] = {0, 0};
    err failed = experiment_serialize(a, text[0], &length[0]);
    failed = failed ? failed : experiment_serialize(b, text[1], &length[1]);
    *is_same = !failed && length[0] == length[1] && memcmp(text[0], text[1], length[0]) == 0;
    return failed;
}

err experiment_value(const experiment *e, const char *key, char *text) {
    const schema_field *field = find_field(schema_fields, key);
    const char *values = (const char *)e;
    writer w = {.text = text};
    if (!field) {
        return err_fail(ERR_USAGE, "'%s' is no key of an experiment", key);
    }
    if (field->type == SCHEMA_TEXT) {
        put(&w, "%s", values + field->offset);
    } else {
        put_value(&w, field, values);
    }
    text[w.used] = '\0';
    return ERR_OK;
}
