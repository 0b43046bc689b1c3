#include "experiment/load.h"

#include "base/file.h"
#include "experiment/portions.h"
#include "experiment/schema.h"
#include "experiment/validate.h"
#include "experiment/yaml_document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct loader {
    const char *where;
    yaml_document_t document;
    char *values;   /* the experiment, or a portion of it */
    bool is_listed; /* there is a list of portions */
} loader;

/* A key of the text, for messages. */
typedef struct named {
    const char *section, *key; /* section "": at the top; "portions.NAME.encoder" */
    size_t line;
} named;

static err refuse(const loader *l, const named *n, const char *demand) {
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

static const schema_field *field_named(const schema_field *fields, const char *key) {
    for (; fields->key; fields++) {
        if (strcmp(fields->key, key) == 0) {
            return fields;
        }
    }
    return NULL;
}

/* Sections that have such a key, or the nearest key of the one it stands in. */
static err refuse_key(const loader *l, const named *n, const schema_field *fields) {
    char demand[200] = "is not known";
    size_t used = strlen(demand), best = WORD_MAX;
    const char *nearest = NULL;
    for (const schema_field *f = fields; f->key; f++) {
        nearest = is_near(n->key, f->key, &best) ? f->key : nearest;
    }
    if (nearest) {
        snprintf(demand + used, sizeof demand - used, ": is %s meant?", nearest);
        return refuse(l, n, demand);
    }
    const char *before = " here: there is";
    for (const schema_field *f = schema_fields; f->key; f++) {
        bool has = f->type == SCHEMA_SECTION ? field_named(f->fields, n->key) != NULL : strcmp(f->key, n->key) == 0;
        if (has && used < sizeof demand) {
            used +=
                (size_t)snprintf(demand + used, sizeof demand - used, "%s %s%s%s", before,
                                 f->type == SCHEMA_SECTION ? f->key : "", f->type == SCHEMA_SECTION ? "." : "", n->key);
            before = ",";
        }
    }
    return refuse(l, n, demand);
}

static err refuse_word(const loader *l, const named *n, const schema_field *f, const char *word) {
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
    return refuse(l, n, demand);
}

/* Values. */

static err take_whole(const loader *l, const named *n, const char *text, size_t size, void *to) {
    if (!yaml_word_is_whole(text)) {
        return refuse(l, n, "must be a whole number");
    }
    uint64_t value = strtoull(text, NULL, 10);
    if (size == sizeof(uint32_t) && value > UINT32_MAX) {
        return refuse(l, n, "must be at most 4294967295");
    }
    memcpy(to, &value, size); /* little-endian, as all we run on */
    return ERR_OK;
}

static err take_number(const loader *l, const named *n, const char *text, void *to) {
    if (!yaml_word_is_number(text)) {
        return refuse(l, n, "must be a number");
    }
    *(float *)to = strtof(text, NULL);
    return ERR_OK;
}

static err take_switch(const loader *l, const named *n, const char *text, void *to) {
    *(bool *)to = strcmp(text, "true") == 0;
    return *(bool *)to || strcmp(text, "false") == 0 ? ERR_OK : refuse(l, n, "must be true or false");
}

static err take_word(const loader *l, const named *n, const schema_field *f, const char *text, void *to) {
    for (size_t i = 0; i < f->word_count; i++) {
        if (strcmp(f->words[i].name, text) == 0) {
            memcpy(to, &f->words[i].value, sizeof f->words[i].value);
            return ERR_OK;
        }
    }
    return refuse_word(l, n, f, text);
}

static err take_text(const loader *l, const named *n, const schema_field *f, const char *text, char *to) {
    char demand[80];
    if (strlen(text) >= f->size) {
        snprintf(demand, sizeof demand, "has %zu bytes, more than the %zu allowed", strlen(text), f->size - 1);
        return refuse(l, n, demand);
    }
    if (f->is_required && !text[0]) {
        return refuse(l, n, "must not be empty");
    }
    memcpy(to, text, strlen(text) + 1);
    return ERR_OK;
}

/* One value of a field, or of a list. */
static err take_scalar(const loader *l, const named *n, const schema_field *f, schema_type type,
                       const yaml_node_t *node, char *to) {
    static const char *const demands[] = {"must be text", "must be a whole number", "must be a number",
                                          "must be true or false", "must be a word"};
    bool is_plain = node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (node->type != YAML_SCALAR_NODE ||
        (!is_plain && (type == SCHEMA_WHOLE || type == SCHEMA_NUMBER || type == SCHEMA_SWITCH))) {
        return refuse(l, n, demands[type]);
    }
    const char *text = (const char *)node->data.scalar.value;
    if (is_plain && (type == SCHEMA_TEXT || type == SCHEMA_WORD) && yaml_word_is_nothing(text)) {
        return refuse(l, n, "has no value");
    }
    switch (type) {
    case SCHEMA_WHOLE:
        return take_whole(l, n, text, f->size, to);
    case SCHEMA_NUMBER:
        return take_number(l, n, text, to);
    case SCHEMA_SWITCH:
        return take_switch(l, n, text, to);
    case SCHEMA_WORD:
        return take_word(l, n, f, text, to);
    default:
        return is_plain && !yaml_word_is_text(text) ? refuse(l, n, "must be text: put it in quotes")
                                                    : take_text(l, n, f, text, to);
    }
}

static err refuse_count(const loader *l, const named *n, size_t most) {
    char demand[64];
    snprintf(demand, sizeof demand, "has too many entries: there may be %zu", most);
    return refuse(l, n, demand);
}

static err take_list(loader *l, const named *n, const schema_field *f, const yaml_node_t *node) {
    if (f->words && node->type == YAML_SCALAR_NODE) {
        return take_scalar(l, n, f, SCHEMA_WORD, node, l->values + f->word_offset);
    }
    if (node->type != YAML_SEQUENCE_NODE) {
        return refuse(l, n, "must be a list, as [2, 4]");
    }
    const yaml_node_item_t *items = node->data.sequence.items.start;
    size_t count = (size_t)(node->data.sequence.items.top - items);
    if (count > f->count_max) {
        return refuse_count(l, n, f->count_max);
    }
    err e = ERR_OK;
    memset(l->values + f->offset, 0, f->size * f->count_max); /* a portion's has those of the experiment */
    for (size_t i = 0; i < count && !e; i++) {
        const yaml_node_t *entry = yaml_document_get_node(&l->document, items[i]);
        e = take_scalar(l, n, f, f->entry, entry, l->values + f->offset + i * f->size);
    }
    *(uint32_t *)(void *)(l->values + f->count_offset) = (uint32_t)count;
    return e;
}

/* Mappings. */

static err take_mapping(loader *l, const named *place, const schema_field *fields, const yaml_node_t *node);

static err take_field(loader *l, const named *n, const schema_field *f, const yaml_node_t *node) {
    switch (f->type) {
    case SCHEMA_SECTION:
        return node->type == YAML_MAPPING_NODE ? take_mapping(l, n, f->fields, node)
                                               : refuse(l, n, "must be a section of keys");
    case SCHEMA_LIST:
        return take_list(l, n, f, node);
    case SCHEMA_PORTIONS:
        return ERR_OK; /* once what they leave out is there */
    default:
        return take_scalar(l, n, f, f->type, node, l->values + f->offset);
    }
}

static const char *key_of(loader *l, const yaml_node_pair_t *pair) {
    return (const char *)yaml_document_get_node(&l->document, pair->key)
        ->data.scalar.value; /* yaml_document.h: a scalar */
}

static size_t line_of(yaml_document_t *document, const yaml_node_pair_t *pair) {
    return yaml_document_get_node(document, pair->key)->start_mark.line + 1;
}

/* The section of the keys in `place`. */
static const char *section_in(const named *place, char section[EXPERIMENT_KEY_MAX]) {
    snprintf(section, EXPERIMENT_KEY_MAX, "%s%s%s", place->section, place->section[0] ? "." : "", place->key);
    return section;
}

static err take_key(loader *l, const named *n, const schema_field *fields, const yaml_node_t *node) {
    const schema_field *field = field_named(fields, n->key);
    if (!field) {
        return refuse_key(l, n, fields);
    }
    return schema_has(field, l->is_listed) ? take_field(l, n, field, node)
                                           : refuse(l, n, "does not go with portions, which lists them");
}

/* `place` is the section, or at the top an empty key on the text's first line. */
static err take_mapping(loader *l, const named *place, const schema_field *fields, const yaml_node_t *node) {
    char section[EXPERIMENT_KEY_MAX];
    section_in(place, section);
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        const named n = {section, key_of(l, pair), line_of(&l->document, pair)};
        const yaml_node_pair_t *first = yaml_document_pair(&l->document, node, n.key);
        if (first != pair) {
            char demand[64];
            snprintf(demand, sizeof demand, "is there twice: on line %zu before", line_of(&l->document, first));
            return refuse(l, &n, demand);
        }
        err e = take_key(l, &n, fields, yaml_document_get_node(&l->document, pair->value));
        if (e) {
            return e;
        }
    }
    for (; fields->key; fields++) {
        if (fields->is_required && schema_has(fields, l->is_listed) &&
            !yaml_document_pair(&l->document, node, fields->key)) {
            return refuse(l, &(named){section, fields->key, place->line},
                          fields->form == SCHEMA_PARTITIONED ? "is missing, and so is portions, a list of them"
                                                             : "is missing");
        }
    }
    return ERR_OK;
}

/* Portions. */

/* The text of a key's value; "": there is none. */
static const char *text_at(loader *l, const yaml_node_t *node, const char *key) {
    const yaml_node_pair_t *pair = yaml_document_pair(&l->document, node, key);
    const yaml_node_t *value = pair ? yaml_document_get_node(&l->document, pair->value) : NULL;
    return value && value->type == YAML_SCALAR_NODE ? (const char *)value->data.scalar.value : "";
}

static bool names_hidden(loader *l, const yaml_node_t *node) {
    const yaml_node_pair_t *pair = yaml_document_pair(&l->document, node, "encoder");
    return pair && yaml_document_pair(&l->document, yaml_document_get_node(&l->document, pair->value), "hidden");
}

/* What its encoder leaves out is as in the experiment's, but for `hidden` where its net has no use for that. */
static err take_portion(loader *l, const schema_field *f, const yaml_node_t *node, experiment *e) {
    experiment_portion *p = &e->portions[e->portion_count];
    const char *name = text_at(l, node, "name");
    bool is_name = portion_name_is_valid(name);
    named n = {is_name ? "portions" : "", is_name ? name : "portions", node->start_mark.line + 1};
    if (node->type != YAML_MAPPING_NODE) {
        return refuse(l, &n, "must be a list of sections, each with the keys name, shape and type");
    }
    *p = (experiment_portion){.encoder = e->encoder, .refinement_count = e->refinement.bits_count};
    memcpy(p->refinement, e->refinement.bits, sizeof p->refinement);
    l->values = (char *)p;
    err failed = take_mapping(l, &n, f->fields, node);
    if (failed || !is_name) {
        return failed ? failed
                      : refuse(l, &(named){"portions", "name", n.line},
                               "must be 1 to 31 of A-Z, a-z, 0-9, '.', '_' and '-', first a letter or digit");
    }
    uint32_t other;
    if (experiment_find_portion(e, p->name, &other)) {
        return refuse(l, &n, "is there twice");
    }
    if (!preset_encoder_has_hidden(p->encoder.net) && !names_hidden(l, node)) {
        p->encoder.hidden = 0;
    }
    e->portion_count++;
    return ERR_OK;
}

static err take_portions(loader *l, const yaml_node_pair_t *pair, experiment *e) {
    const schema_field *f = field_named(schema_fields, "portions");
    const named n = {"", f->key, line_of(&l->document, pair)};
    const yaml_node_t *node = yaml_document_get_node(&l->document, pair->value);
    if (node->type != YAML_SEQUENCE_NODE) {
        return refuse(l, &n, "must be a list of sections, each with the keys name, shape and type");
    }
    const yaml_node_item_t *items = node->data.sequence.items.start, *end = node->data.sequence.items.top;
    if (items == end) {
        return refuse(l, &n, "lists no portion");
    }
    if ((size_t)(end - items) > f->count_max) {
        return refuse_count(l, &n, f->count_max);
    }
    err failed = ERR_OK;
    for (; items < end && !failed; items++) {
        failed = take_portion(l, f, yaml_document_get_node(&l->document, *items), e);
    }
    return failed;
}

/* What is there where nothing is said. */
static void set_defaults(experiment *e) {
    memset(e, 0, sizeof *e);
    e->dataset.partition = PARTITION_NONE;
    e->dataset.evaluate_test = true;
}

static err load_values(const char *where, const char *text, size_t length, experiment *e) {
    loader l = {.where = where, .values = (char *)e};
    err failed = yaml_document_read(where, text, length, &l.document);
    if (failed) {
        return failed;
    }
    set_defaults(e);
    const yaml_node_t *root = yaml_document_get_root_node(&l.document);
    const yaml_node_pair_t *portions = yaml_document_pair(&l.document, root, "portions");
    l.is_listed = portions != NULL;
    failed = root && root->type == YAML_MAPPING_NODE
                 ? take_mapping(&l, &(named){"", "", root->start_mark.line + 1}, schema_fields, root)
                 : err_fail(ERR_INPUT, "%s: holds no keys, so it is no experiment", where);
    failed = failed || !portions ? failed : take_portions(&l, portions, e);
    yaml_document_delete(&l.document);
    return failed;
}

static bool begins(const char *path, const char *word) {
    size_t length = strlen(word);
    return length > 0 && strncmp(path, word, length) == 0 && (path[length] == '.' || path[length] == '\0');
}

static const yaml_node_t *step_to_key(loader *l, const yaml_node_t *node, const char **path, size_t *line) {
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        if (begins(*path, key_of(l, pair))) {
            *path += strlen(key_of(l, pair));
            *line = line_of(&l->document, pair);
            return yaml_document_get_node(&l->document, pair->value);
        }
    }
    return NULL;
}

/* Of two names of which one goes on after the other and a dot, the longer one. */
static const yaml_node_t *step_to_portion(loader *l, const yaml_node_t *node, const char **path, size_t *line) {
    const yaml_node_t *found = NULL;
    size_t length = 0;
    for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
        const yaml_node_t *entry = yaml_document_get_node(&l->document, *item);
        const char *name = text_at(l, entry, "name");
        if (begins(*path, name) && strlen(name) > length) {
            found = entry;
            length = strlen(name);
            *line = entry->start_mark.line + 1;
        }
    }
    *path += length;
    return found;
}

/* The line, from 1, on which "section.key" or "portions.NAME.encoder.key" stands, or else the last part of it that is
 * there; 0 when none is. */
static size_t find_line(const char *text, size_t length, const char *path) {
    loader l = {.where = ""};
    size_t line = 0;
    if (yaml_document_read("", text, length, &l.document)) {
        return 0;
    }
    const yaml_node_t *node = yaml_document_get_root_node(&l.document);
    while (node && *path) {
        node = node->type == YAML_MAPPING_NODE    ? step_to_key(&l, node, &path, &line)
               : node->type == YAML_SEQUENCE_NODE ? step_to_portion(&l, node, &path, &line)
                                                  : NULL;
        path += *path == '.';
    }
    yaml_document_delete(&l.document);
    return line;
}

err experiment_parse(const char *where, const char *text, size_t length, experiment *e) {
    experiment loaded;
    err failed = load_values(where, text, length, &loaded);
    if (failed) {
        return failed;
    }
    *e = loaded;
    char key[EXPERIMENT_KEY_MAX];
    experiment_fill_portions(e); /* what does not fit is refused with its key, below */
    if (!experiment_validate(e, key)) {
        return ERR_OK;
    }
    size_t line = find_line(text, length, key);
    return line ? err_fail(ERR_INPUT, "%s:%zu: %s", where, line, err_text()) : err_prefix(ERR_INPUT, "%s", where);
}

err experiment_load(const char *path, experiment *e) {
    uint8_t *text;
    size_t length;
    err failed = file_read(path, 64 * 1024, &text, &length);
    if (failed) {
        return failed;
    }
    failed = experiment_parse(path, (const char *)text, length, e);
    free(text);
    return failed;
}

err experiment_parse_sent(const char *text, experiment *e) {
    size_t length = strlen(text);
    return length <= EXPERIMENT_TEXT_MAX
               ? experiment_parse("the server's experiment", text, length, e)
               : err_fail(ERR_INPUT, "the server's experiment has %zu bytes, more than a resolved one", length);
}
