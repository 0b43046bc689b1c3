#include "experiment/load.h"

#include "experiment/derive.h"
#include "experiment/load_nets.h"
#include "experiment/validate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The text of a key's value; "": there is none. */
static const char *text_at(loader *l, const yaml_node_t *node, const char *key) {
    const yaml_node_pair_t *pair = yaml_document_pair(&l->document, node, key);
    const yaml_node_t *value = pair ? yaml_document_get_node(&l->document, pair->value) : NULL;
    return value && value->type == YAML_SCALAR_NODE ? (const char *)value->data.scalar.value : "";
}

/* The section of a key; NULL: there is none. */
static const yaml_node_t *section_at(loader *l, const yaml_node_t *node, const char *key) {
    const yaml_node_pair_t *pair = yaml_document_pair(&l->document, node, key);
    return pair ? yaml_document_get_node(&l->document, pair->value) : NULL;
}

/* The net of a part, in the section of its key. */
static err take_net(loader *l, const loader_key *place, const schema_field *fields, const yaml_node_t *node,
                    const char *part, experiment *e) {
    char section[EXPERIMENT_KEY_MAX];
    const loader_key key = {loader_section(place, section), part, place->line};
    return load_nets_part(l, &key, loader_field(fields, part)->fields, section_at(l, node, part), &e->nets);
}

/* What its encoder leaves out is as in the experiment's, but for `hidden` where its net has no use for that. */
static err take_portion(loader *l, const schema_field *f, const yaml_node_t *node, experiment *e) {
    experiment_portion *p = &e->portions[e->portion_count];
    const char *name = text_at(l, node, "name");
    bool is_name = portion_name_is_valid(name);
    loader_key n = {is_name ? "portions" : "", is_name ? name : "portions", node->start_mark.line + 1};
    if (node->type != YAML_MAPPING_NODE) {
        return loader_refuse(l, &n, "must be a list of sections, each with the keys name, shape and type");
    }
    *p = (experiment_portion){.encoder = e->encoder, .refinement_count = e->refinement.bits_count};
    memcpy(p->refinement, e->refinement.bits, sizeof p->refinement);
    l->values = (char *)p;
    err failed = loader_take_mapping(l, &n, f->fields, node);
    failed = failed ? failed : take_net(l, &n, f->fields, node, "encoder", e);
    if (failed || !is_name) {
        return failed ? failed
                      : loader_refuse(l, &(loader_key){"portions", "name", n.line},
                                      "must be 1 to 31 of A-Z, a-z, 0-9, '.', '_' and '-', first a letter or digit");
    }
    uint32_t other;
    if (experiment_find_portion(e, p->name, &other)) {
        return loader_refuse(l, &n, "is there twice");
    }
    if (!preset_encoder_has_hidden(p->encoder.net) &&
        !yaml_document_pair(&l->document, section_at(l, node, "encoder"), "hidden")) {
        p->encoder.hidden = 0;
    }
    e->portion_count++;
    return ERR_OK;
}

static err take_portions(loader *l, const yaml_node_pair_t *pair, experiment *e) {
    const schema_field *f = loader_field(schema_fields, "portions");
    const loader_key n = {"", f->key, loader_line_of(&l->document, pair)};
    const yaml_node_t *node = yaml_document_get_node(&l->document, pair->value);
    if (node->type != YAML_SEQUENCE_NODE) {
        return loader_refuse(l, &n, "must be a list of sections, each with the keys name, shape and type");
    }
    const yaml_node_item_t *items = node->data.sequence.items.start, *end = node->data.sequence.items.top;
    if (items == end) {
        return loader_refuse(l, &n, "lists no portion");
    }
    if ((size_t)(end - items) > f->count_max) {
        return loader_refuse_count(l, &n, f->count_max);
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

/* In the order in which a resolved text has them, whatever the order in this one. */
static err take_nets(loader *l, const yaml_node_t *root, experiment *e) {
    const loader_key top = {"", "", root->start_mark.line + 1};
    err failed = load_nets_blocks(l, root, &e->nets);
    failed = failed ? failed : take_net(l, &top, schema_fields, root, "encoder", e);
    failed = failed ? failed : take_net(l, &top, schema_fields, root, "decoder", e);
    return failed ? failed : take_net(l, &top, schema_fields, root, "classifier", e);
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
                 ? loader_take_mapping(&l, &(loader_key){"", "", root->start_mark.line + 1}, schema_fields, root)
                 : err_fail(ERR_INPUT, "%s: holds no keys, so it is no experiment", where);
    failed = failed ? failed : take_nets(&l, root, e);
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
        if (begins(*path, loader_key_of(l, pair))) {
            *path += strlen(loader_key_of(l, pair));
            *line = loader_line_of(&l->document, pair);
            return yaml_document_get_node(&l->document, pair->value);
        }
    }
    return NULL;
}

/* To a layer by its number; `main` of a block may be left out in the text. */
static const yaml_node_t *step_to_layer(loader *l, const yaml_node_t *node, const char **path, size_t *line) {
    char *end;
    *path += begins(*path, "main") ? strlen("main.") : 0;
    unsigned long number = strtoul(*path, &end, 10);
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (end == *path || number >= count) {
        return NULL;
    }
    *path = end;
    const yaml_node_t *item = yaml_document_get_node(&l->document, node->data.sequence.items.start[number]);
    *line = item->start_mark.line + 1;
    return item;
}

/* Whether this stands after a portion's name: one may be named as another's section is, "a" and "a.encoder". */
static bool is_in_portion(const char *rest) {
    const schema_field *f = loader_field(schema_fields, "portions")->fields;
    while (f->key && !(rest[0] == '.' && begins(rest + 1, f->key))) {
        f++;
    }
    return rest[0] == '\0' || f->key;
}

/* To a portion by its name. */
static const yaml_node_t *step_to_portion(loader *l, const yaml_node_t *node, const char **path, size_t *line) {
    for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
        const yaml_node_t *entry = yaml_document_get_node(&l->document, *item);
        const char *name = text_at(l, entry, "name");
        if (begins(*path, name) && is_in_portion(*path + strlen(name))) {
            *path += strlen(name);
            *line = entry->start_mark.line + 1;
            return entry;
        }
    }
    return step_to_layer(l, node, path, line);
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
