#include "experiment/serialize.h"

#include "base/utf8.h"
#include "experiment/load.h"
#include "experiment/schema.h"
#include "experiment/yaml_document.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct writer {
    char *text;
    size_t used; /* may pass EXPERIMENT_TEXT_MAX: then not all is there */
    int indent;
    const experiment *e;
    bool is_entry; /* the next key begins an entry of a list */
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
        if (field->words && whole_at(data, field->size) > field->most) {
            put(w, "%s", schema_word_of(field, (uint32_t)whole_at(data, field->size)));
            break;
        }
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
    if (field->may_be_one && count == 1) {
        put_scalar(w, field, field->entry, values + field->offset);
        return;
    }
    put(w, "[");
    for (uint64_t i = 0; i < count; i++) {
        put(w, i ? ", " : "");
        put_scalar(w, field, field->entry, values + field->offset + i * field->size);
    }
    put(w, "]");
}

static net_list_range range_at(const char *data) {
    return *(const net_list_range *)(const void *)data;
}

static void put_value(writer *w, const schema_field *field, const char *values);

/* Whether a key of a layer says something else than what it is where it is left out. */
static bool is_said(const schema_field *field, const char *layer) {
    const char *left_out = (const char *)&schema_layer_default;
    return field->type == SCHEMA_LIST ? whole_at(layer + field->count_offset, sizeof(uint32_t)) > 0
                                      : memcmp(layer + field->offset, left_out + field->offset, field->size) != 0;
}

/* relu, {dense: 64} or {dense: {outputs: 64, bias: false}}. */
static void put_layer(writer *w, const net_list_layer *layer) {
    const char *values = (const char *)layer;
    if (layer->kind == NET_LIST_BLOCK) {
        put(w, "%s", net_list_name(&w->e->nets, layer->main));
        return;
    }
    const schema_layer_keys *keys = &schema_layer_keys_of[layer->kind];
    const schema_field *first = NULL;
    size_t said = 0;
    for (const schema_field *f = keys->fields; f->key; f++) {
        first = is_said(f, values) && !first ? f : first;
        said += is_said(f, values);
    }
    bool is_alone = said == 1 && keys->alone && strcmp(first->key, keys->alone) == 0;
    put(w, said == 0 ? "%s" : is_alone ? "{%s: " : "{%s: {", schema_layers[layer->kind].name);
    for (const schema_field *f = keys->fields; f->key; f++) {
        if (is_said(f, values)) {
            put(w, is_alone ? "" : "%s%s: ", f == first ? "" : ", ", f->key);
            put_value(w, f, values);
        }
    }
    put(w, said == 0 ? "" : is_alone ? "}" : "}}");
}

/* On one line: [{dense: 64}, relu]. */
static void put_layers(writer *w, net_list_range layers) {
    put(w, "[");
    for (uint32_t i = 0; i < layers.count; i++) {
        put(w, i ? ", " : "");
        put_layer(w, &w->e->nets.layers[layers.first + i]);
    }
    put(w, "]");
}

static void put_net(writer *w, const schema_field *field, const char *values) {
    uint32_t net = (uint32_t)whole_at(values + field->offset, sizeof(uint32_t));
    net_list_range layers = range_at(values + field->count_offset);
    const char *name = net == field->listed ? net_list_name(&w->e->nets, layers) : schema_word_of(field, net);
    if (name) {
        put(w, "%s", name);
    } else {
        put_layers(w, layers);
    }
}

static void put_value(writer *w, const schema_field *field, const char *values) {
    bool is_list = field->type == SCHEMA_LIST;
    if (field->type == SCHEMA_NET) {
        put_net(w, field, values);
        return;
    }
    if (field->type == SCHEMA_LAYERS) {
        put_layers(w, range_at(values + field->offset));
        return;
    }
    if (is_list && field->words && whole_at(values + field->count_offset, sizeof(uint32_t)) == 0) {
        put_scalar(w, field, SCHEMA_WORD, values + field->word_offset);
    } else if (is_list) {
        put_list(w, field, values);
    } else {
        put_scalar(w, field, field->type, values + field->offset);
    }
}

/* The last override of a key, "section.key" or "portions.NAME.encoder.key"; NULL: there is none. */
static const char *override_of(const writer *w, const char *key) {
    for (size_t i = w->override_count; i-- > 0;) {
        if (strcmp(w->overrides[i].key, key) == 0) {
            return w->overrides[i].value;
        }
    }
    return NULL;
}

/* The override of "SECTION.KEY", or else of "encoder.KEY". */
static const char *override_of_portion(const writer *w, const char *section, const char *key) {
    char path[EXPERIMENT_KEY_MAX];
    snprintf(path, sizeof path, "%s.%s", section, key);
    const char *own = override_of(w, path);
    snprintf(path, sizeof path, "encoder.%s", key);
    return own ? own : override_of(w, path);
}

/* An override of an encoder's key is one of every portion's, but for those that have their own, and for `hidden` where
 * a portion's net has no use for that. */
static const char *override_for(const writer *w, const char *section, const schema_field *field, const char *values) {
    char path[EXPERIMENT_KEY_MAX];
    snprintf(path, sizeof path, "%s%s%s", section, section[0] ? "." : "", field->key);
    const char *own = override_of(w, path);
    size_t length = strlen(section);
    bool is_of_portion = length > 8 && strcmp(section + length - 8, ".encoder") == 0;
    if (own || !is_of_portion) {
        return own;
    }
    bool is_of_no_use = strcmp(field->key, "hidden") == 0 && whole_at(values + field->offset, field->size) == 0 &&
                        !override_of_portion(w, section, "net");
    return is_of_no_use ? NULL : override_of_portion(w, section, field->key);
}

static void put_fields(writer *w, const schema_field *fields, const char *values, const char *section, bool is_listed);

/* "- name: NAME" and the other keys below it. */
static void put_portions(writer *w, const schema_field *field, const experiment *e) {
    for (uint32_t k = 0; k < e->portion_count; k++) {
        char section[EXPERIMENT_KEY_MAX];
        snprintf(section, sizeof section, "portions.%s", e->portions[k].name);
        w->is_entry = true;
        w->indent += 4;
        put_fields(w, field->fields, (const char *)&e->portions[k], section, true);
        w->indent -= 4;
    }
}

static void put_section(writer *w, const schema_field *field, const char *values, const char *section, bool is_listed) {
    char inner[EXPERIMENT_KEY_MAX];
    snprintf(inner, sizeof inner, "%s%s%s", section, section[0] ? "." : "", field->key);
    w->indent += 2;
    put_fields(w, field->fields, values, inner, is_listed);
    w->indent -= 2;
}

static void put_blocks(writer *w) {
    put(w, w->e->nets.block_count ? "nets:\n" : "");
    for (uint32_t i = 0; i < w->e->nets.block_count; i++) {
        put(w, "  %s: ", w->e->nets.blocks[i].name);
        put_layers(w, w->e->nets.blocks[i].layers);
        put(w, "\n");
    }
}

/* Of a portion whose net is the list of all encoders: it is not written again. */
static bool is_inherited(const writer *w, const schema_field *field, const char *values, const char *section) {
    const preset_encoder *all = &w->e->encoder;
    return field->type == SCHEMA_NET && strncmp(section, "portions.", 9) == 0 && all->net == PRESET_LISTED_ENCODER &&
           whole_at(values + field->offset, sizeof(uint32_t)) == PRESET_LISTED_ENCODER &&
           range_at(values + field->count_offset).first == all->list.first && !override_for(w, section, field, values);
}

static void put_fields(writer *w, const schema_field *fields, const char *values, const char *section, bool is_listed) {
    for (const schema_field *field = fields; field->key; field++) {
        if (!schema_has(field, is_listed) || is_inherited(w, field, values, section)) {
            continue;
        }
        if (field->type == SCHEMA_BLOCKS) {
            put_blocks(w);
            continue;
        }
        put(w, "%*s%s%s:", w->indent - 2 * w->is_entry, "", w->is_entry ? "- " : "", field->key);
        w->is_entry = false;
        if (field->type == SCHEMA_SECTION) {
            put(w, "\n");
            put_section(w, field, values, section, is_listed);
            continue;
        }
        if (field->type == SCHEMA_PORTIONS) {
            put(w, "\n");
            put_portions(w, field, (const experiment *)(const void *)values);
            continue;
        }
        const char *other = override_for(w, section, field, values);
        put(w, " %s", other ? other : "");
        if (!other) {
            put_value(w, field, values);
        }
        put(w, "\n");
    }
}

/* A field by its path, and where its values are: in the experiment, or in one of its portions. */
typedef struct place {
    const schema_field *field; /* NULL: there is none */
    const char *values;
} place;

static place find_place(const schema_field *fields, const char *values, const char *key);

/* `key` is "NAME.…". A name may go on after another and a dot: then it is the one whose key is known. */
static place find_in_portion(const schema_field *field, const experiment *e, const char *key) {
    place found = {0};
    for (uint32_t k = 0; k < e->portion_count && !found.field; k++) {
        size_t length = strlen(e->portions[k].name);
        if (strncmp(key, e->portions[k].name, length) == 0 && key[length] == '.') {
            found = find_place(field->fields, (const char *)&e->portions[k], key + length + 1);
        }
    }
    return found;
}

/* Of "section.key" or "key". */
static place find_place(const schema_field *fields, const char *values, const char *key) {
    size_t length = strcspn(key, ".");
    while (fields->key && (strncmp(fields->key, key, length) != 0 || fields->key[length] != '\0')) {
        fields++;
    }
    bool is_inner = fields->type == SCHEMA_SECTION || fields->type == SCHEMA_PORTIONS;
    if (!fields->key || fields->type == SCHEMA_BLOCKS || is_inner != (key[length] == '.')) {
        return (place){0};
    }
    key += length + is_inner;
    return fields->type == SCHEMA_SECTION    ? find_place(fields->fields, values, key)
           : fields->type == SCHEMA_PORTIONS ? find_in_portion(fields, (const experiment *)(const void *)values, key)
                                             : (place){fields, values};
}

static place find_key(const experiment *e, const char *key) {
    place p = find_place(schema_fields, (const char *)e, key);
    return p.field && schema_has(p.field, experiment_lists_portions(e)) ? p : (place){0};
}

err experiment_serialize_with(const experiment *e, const experiment_override *overrides, size_t count, char *text,
                              size_t *length) {
    writer w = {.text = text, .e = e, .overrides = overrides, .override_count = count};
    for (size_t i = 0; i < count; i++) {
        if (!find_key(e, overrides[i].key).field) {
            return err_fail(ERR_INPUT, "key %s is not known", overrides[i].key);
        }
    }
    put_fields(&w, schema_fields, (const char *)e, "", experiment_lists_portions(e));
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
    place at = find_key(e, key);
    writer w = {.text = text, .e = e};
    if (!at.field) {
        return err_fail(ERR_USAGE, "'%s' is no key of an experiment%s", key,
                        experiment_lists_portions(e) ? " that lists its portions" : "");
    }
    if (at.field->type == SCHEMA_TEXT) {
        put(&w, "%s", at.values + at.field->offset);
    } else {
        put_value(&w, at.field, at.values);
    }
    text[w.used] = '\0';
    return ERR_OK;
}

/* Overrides. */

enum { VALUE_MAX = 200 };

/* It goes into a YAML text as it is. */
static err check_value(const char *where, const experiment_override *c) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-/[],";
    size_t length = strlen(c->value);
    if (length == 0 || length > VALUE_MAX || strspn(c->value, plain) != length) {
        return err_fail(ERR_INPUT,
                        "%s: the value of %s is not made of letters, digits and . _ + - / only, or a list of such",
                        where, c->key);
    }
    return ERR_OK;
}

err experiment_apply_overrides(experiment *e, const char *where, const experiment_override *changes, size_t count) {
    char text[EXPERIMENT_TEXT_MAX];
    size_t length;
    for (size_t i = 0; i < count; i++) {
        err failed = check_value(where, &changes[i]);
        if (failed) {
            return failed;
        }
    }
    experiment changed;
    err failed = experiment_serialize_with(e, changes, count, text, &length);
    failed = failed ? err_prefix(failed, "%s", where) : experiment_parse(where, text, length, &changed);
    if (!failed) {
        *e = changed;
    }
    return failed;
}
