#include "experiment/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

err loader_refuse(const loader *l, const loader_key *n, const char *demand) {
    return err_fail(ERR_INPUT, "%s:%zu: key %s%s%.40s %s", l->where, n->line, n->section, n->section[0] ? "." : "",
                    n->key, demand);
}

/* What may have been meant. */

enum { WORD_MAX = 32 };

/* Letters to put in, take out, exchange or swap with the next. */
static size_t distance(const char *a, const char *b) {
    size_t rows[3][WORD_MAX + 1], length = strlen(b);
    if (strlen(a) > WORD_MAX || length > WORD_MAX) {
        return WORD_MAX;
    }
    for (size_t j = 0; j <= length; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; a[i - 1]; i++) {
        size_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t same = last[j - 1] + (a[i - 1] != b[j - 1]),
                   other = (now[j - 1] < last[j] ? now[j - 1] : last[j]) + 1;
            now[j] = same < other ? same : other;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < now[j]) {
                now[j] = before[j - 2] + 1;
            }
        }
    }
    return rows[strlen(a) % 3][length];
}

static bool is_near(const char *word, const char *known, size_t *best) {
    size_t far = distance(word, known), letters = strlen(known);
    bool is = far < *best && far <= (letters > 5 ? 2 : 1);
    *best = is ? far : *best;
    return is;
}

const schema_field *loader_field(const schema_field *fields, const char *key) {
    for (; fields->key; fields++) {
        if (strcmp(fields->key, key) == 0) {
            return fields;
        }
    }
    return NULL;
}

/* Sections that have such a key, or the nearest key of the one it stands in. */
static err refuse_key(const loader *l, const loader_key *n, const schema_field *fields) {
    char demand[200] = "is not known";
    size_t used = strlen(demand), best = WORD_MAX;
    const char *nearest = NULL;
    for (const schema_field *f = fields; f->key; f++) {
        nearest = is_near(n->key, f->key, &best) ? f->key : nearest;
    }
    if (nearest) {
        snprintf(demand + used, sizeof demand - used, ": is %s meant?", nearest);
        return loader_refuse(l, n, demand);
    }
    const char *before = " here: there is";
    for (const schema_field *f = schema_fields; f->key; f++) {
        bool has = f->type == SCHEMA_SECTION ? loader_field(f->fields, n->key) != NULL : strcmp(f->key, n->key) == 0;
        if (has && used < sizeof demand) {
            used +=
                (size_t)snprintf(demand + used, sizeof demand - used, "%s %s%s%s", before,
                                 f->type == SCHEMA_SECTION ? f->key : "", f->type == SCHEMA_SECTION ? "." : "", n->key);
            before = ",";
        }
    }
    return loader_refuse(l, n, demand);
}

err loader_refuse_word(const loader *l, const loader_key *n, const schema_field *f, const char *word) {
    char demand[400];
    size_t used = (size_t)snprintf(demand, sizeof demand, "is '%.40s', none of", word), best = WORD_MAX;
    const char *nearest = NULL;
    for (size_t i = 0; i < f->word_count && used < sizeof demand; i++) {
        used += (size_t)snprintf(demand + used, sizeof demand - used, "%s %s", i ? "," : "", f->words[i].name);
        nearest = is_near(word, f->words[i].name, &best) ? f->words[i].name : nearest;
    }
    if (nearest && used < sizeof demand) {
        snprintf(demand + used, sizeof demand - used, ": is %s meant?", nearest);
    }
    return loader_refuse(l, n, demand);
}

/* Values. */

static err take_whole(const loader *l, const loader_key *n, const schema_field *f, const char *text, void *to) {
    char demand[64];
    if (!yaml_word_is_whole(text)) {
        return loader_refuse(l, n, "must be a whole number");
    }
    uint64_t value = strtoull(text, NULL, 10);
    if (f->most > 0 && (value < f->least || value > f->most)) {
        snprintf(demand, sizeof demand, "must be from %u to %u", f->least, f->most);
        return loader_refuse(l, n, demand);
    }
    if (f->size == sizeof(uint32_t) && value > UINT32_MAX) {
        return loader_refuse(l, n, "must be at most 4294967295");
    }
    memcpy(to, &value, f->size); /* little-endian, as all we run on */
    return ERR_OK;
}

static err take_number(const loader *l, const loader_key *n, const char *text, void *to) {
    if (!yaml_word_is_number(text)) {
        return loader_refuse(l, n, "must be a number");
    }
    *(float *)to = strtof(text, NULL);
    return ERR_OK;
}

static err take_switch(const loader *l, const loader_key *n, const char *text, void *to) {
    *(bool *)to = strcmp(text, "true") == 0;
    return *(bool *)to || strcmp(text, "false") == 0 ? ERR_OK : loader_refuse(l, n, "must be true or false");
}

static err take_word(const loader *l, const loader_key *n, const schema_field *f, const char *text, void *to) {
    for (size_t i = 0; i < f->word_count; i++) {
        if (strcmp(f->words[i].name, text) == 0) {
            memcpy(to, &f->words[i].value, sizeof f->words[i].value);
            return ERR_OK;
        }
    }
    return loader_refuse_word(l, n, f, text);
}

static err take_text(const loader *l, const loader_key *n, const schema_field *f, const char *text, char *to) {
    char demand[80];
    if (strlen(text) >= f->size) {
        snprintf(demand, sizeof demand, "has %zu bytes, more than the %zu allowed", strlen(text), f->size - 1);
        return loader_refuse(l, n, demand);
    }
    if (f->is_required && !text[0]) {
        return loader_refuse(l, n, "must not be empty");
    }
    memcpy(to, text, strlen(text) + 1);
    return ERR_OK;
}

/* One value of a field, or of a list. */
err loader_take_scalar(const loader *l, const loader_key *n, const schema_field *f, schema_type type,
                       const yaml_node_t *node, void *to) {
    static const char *const demands[] = {"must be text", "must be a whole number", "must be a number",
                                          "must be true or false", "must be a word"};
    bool is_plain = node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    bool is_number = type == SCHEMA_WHOLE && (is_plain || !f->words);
    if (node->type != YAML_SCALAR_NODE ||
        (!is_plain && (is_number || type == SCHEMA_NUMBER || type == SCHEMA_SWITCH))) {
        return loader_refuse(l, n, demands[type]);
    }
    const char *text = (const char *)node->data.scalar.value;
    if (is_plain && (type == SCHEMA_TEXT || type == SCHEMA_WORD) && yaml_word_is_nothing(text)) {
        return loader_refuse(l, n, "has no value");
    }
    switch (type) {
    case SCHEMA_WHOLE:
        return f->words && !(is_plain && yaml_word_is_whole(text)) ? take_word(l, n, f, text, to)
                                                                   : take_whole(l, n, f, text, to);
    case SCHEMA_NUMBER:
        return take_number(l, n, text, to);
    case SCHEMA_SWITCH:
        return take_switch(l, n, text, to);
    case SCHEMA_WORD:
        return take_word(l, n, f, text, to);
    default:
        return is_plain && !yaml_word_is_text(text) ? loader_refuse(l, n, "must be text: put it in quotes")
                                                    : take_text(l, n, f, text, to);
    }
}

err loader_refuse_count(const loader *l, const loader_key *n, size_t most) {
    char demand[64];
    snprintf(demand, sizeof demand, "has too many entries: there may be %zu", most);
    return loader_refuse(l, n, demand);
}

static err take_list(loader *l, const loader_key *n, const schema_field *f, const yaml_node_t *node) {
    if (f->words && node->type == YAML_SCALAR_NODE) {
        return loader_take_scalar(l, n, f, SCHEMA_WORD, node, l->values + f->word_offset);
    }
    if (f->may_be_one && node->type == YAML_SCALAR_NODE) {
        *(uint32_t *)(void *)(l->values + f->count_offset) = 1;
        return loader_take_scalar(l, n, f, f->entry, node, l->values + f->offset);
    }
    if (node->type != YAML_SEQUENCE_NODE) {
        return loader_refuse(l, n, "must be a list, as [2, 4]");
    }
    const yaml_node_item_t *items = node->data.sequence.items.start;
    size_t count = (size_t)(node->data.sequence.items.top - items);
    if (count > f->count_max) {
        return loader_refuse_count(l, n, f->count_max);
    }
    if (count < f->count_least) {
        return loader_refuse(l, n, "has too few entries");
    }
    err e = ERR_OK;
    memset(l->values + f->offset, 0, f->size * f->count_max); /* a portion's has those of the experiment */
    for (size_t i = 0; i < count && !e; i++) {
        const yaml_node_t *entry = yaml_document_get_node(&l->document, items[i]);
        e = loader_take_scalar(l, n, f, f->entry, entry, l->values + f->offset + i * f->size);
    }
    *(uint32_t *)(void *)(l->values + f->count_offset) = (uint32_t)count;
    return e;
}

/* Mappings. */

err loader_take_field(loader *l, const loader_key *n, const schema_field *f, const yaml_node_t *node) {
    switch (f->type) {
    case SCHEMA_SECTION:
        return node->type == YAML_MAPPING_NODE ? loader_take_mapping(l, n, f->fields, node)
                                               : loader_refuse(l, n, "must be a section of keys");
    case SCHEMA_LIST:
        return take_list(l, n, f, node);
    case SCHEMA_PORTIONS: /* once what they leave out is there */
    case SCHEMA_BLOCKS:   /* load_nets.h */
    case SCHEMA_NET:
    case SCHEMA_LAYERS:
        return ERR_OK;
    default:
        return loader_take_scalar(l, n, f, f->type, node, l->values + f->offset);
    }
}

const char *loader_key_of(loader *l, const yaml_node_pair_t *pair) {
    return (const char *)yaml_document_get_node(&l->document, pair->key)
        ->data.scalar.value; /* yaml_document.h: a scalar */
}

size_t loader_line_of(yaml_document_t *document, const yaml_node_pair_t *pair) {
    return yaml_document_get_node(document, pair->key)->start_mark.line + 1;
}

/* The section of the keys in `place`. */
const char *loader_section(const loader_key *place, char section[EXPERIMENT_KEY_MAX]) {
    snprintf(section, EXPERIMENT_KEY_MAX, "%s%s%s", place->section, place->section[0] ? "." : "", place->key);
    return section;
}

static err take_key(loader *l, const loader_key *n, const schema_field *fields, const yaml_node_t *node) {
    const schema_field *field = loader_field(fields, n->key);
    if (!field) {
        return refuse_key(l, n, fields);
    }
    return schema_has(field, l->is_listed) ? loader_take_field(l, n, field, node)
                                           : loader_refuse(l, n, "does not go with portions, which lists them");
}

/* `place` is the section, or at the top an empty key on the text's first line. */
err loader_take_mapping(loader *l, const loader_key *place, const schema_field *fields, const yaml_node_t *node) {
    char section[EXPERIMENT_KEY_MAX];
    loader_section(place, section);
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        const loader_key n = {section, loader_key_of(l, pair), loader_line_of(&l->document, pair)};
        const yaml_node_pair_t *first = yaml_document_pair(&l->document, node, n.key);
        if (first != pair) {
            char demand[64];
            snprintf(demand, sizeof demand, "is there twice: on line %zu before", loader_line_of(&l->document, first));
            return loader_refuse(l, &n, demand);
        }
        err e = take_key(l, &n, fields, yaml_document_get_node(&l->document, pair->value));
        if (e) {
            return e;
        }
    }
    for (; fields->key; fields++) {
        if (fields->is_required && schema_has(fields, l->is_listed) &&
            !yaml_document_pair(&l->document, node, fields->key)) {
            return loader_refuse(l, &(loader_key){section, fields->key, place->line},
                                 fields->form == SCHEMA_PARTITIONED ? "is missing, and so is portions, a list of them"
                                                                    : "is missing");
        }
    }
    return ERR_OK;
}
