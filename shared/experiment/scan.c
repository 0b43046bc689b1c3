#include "experiment/scan.h"

#include "experiment/document.h"
#include "experiment/schema.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct scan {
    const char *where;
    yaml_document_t document;
} scan;

static const char *skip_digits(const char *c) {
    while (isdigit((unsigned char)*c)) {
        c++;
    }
    return c;
}

/* Decimal digits without a sign or a leading zero, at most 64 bits. */
static bool is_whole_number(const char *text) {
    errno = 0;
    bool good = *text && *skip_digits(text) == '\0' && (text[0] != '0' || text[1] == '\0');
    return good && strtoull(text, NULL, 10) > 0 ? errno == 0 : good;
}

/* Decimal, with or without sign, fraction and exponent; finite as a float. */
static bool is_number(const char *text) {
    const char *c = text + (*text == '-' || *text == '+');
    const char *whole = c;
    c = skip_digits(c);
    size_t digits = (size_t)(c - whole);
    if (*c == '.') {
        const char *fraction = ++c;
        c = skip_digits(c);
        digits += (size_t)(c - fraction);
    }
    if (digits > 0 && (*c == 'e' || *c == 'E')) {
        const char *power = c + 1 + (c[1] == '-' || c[1] == '+');
        c = skip_digits(power);
        digits = c > power ? digits : 0;
    }
    return digits > 0 && *c == '\0' && isfinite(strtof(text, NULL));
}

static bool is_switch(const char *text) {
    return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
}

/* What a value of this type must be, or NULL where it is one. */
static const char *demand_of(const cyaml_schema_value_t *schema, const yaml_node_t *node) {
    const char *text = node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : "";
    bool is_cut = node->type == YAML_SCALAR_NODE && strlen(text) != node->data.scalar.length;
    switch (schema->type) {
    case CYAML_UINT:
        return is_whole_number(text) && !is_cut ? NULL : "must be a whole number";
    case CYAML_FLOAT:
        return is_number(text) && !is_cut ? NULL : "must be a number";
    case CYAML_BOOL:
        return is_switch(text) && !is_cut ? NULL : "must be true or false";
    case CYAML_IGNORE:
        return strcmp(text, "0") == 0 ? NULL : "is no option any more: leave it out";
    default:
        return NULL;
    }
}

static const cyaml_schema_field_t *field_named(const cyaml_schema_field_t *fields, const yaml_node_t *key) {
    for (; key && key->type == YAML_SCALAR_NODE && fields->key; fields++) {
        if (strcmp(fields->key, (const char *)key->data.scalar.value) == 0) {
            return fields;
        }
    }
    return NULL;
}

/* The same of a list: of its entries. */
static const char *demand_of_list(scan *s, const cyaml_schema_value_t *schema, const yaml_node_t *node) {
    if (node->type != YAML_SEQUENCE_NODE) {
        return "must be a list, as [2, 4]";
    }
    if (node->data.sequence.items.top - node->data.sequence.items.start > (ptrdiff_t)schema->sequence.max) {
        return "has too many entries";
    }
    const char *demand = NULL;
    for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top && !demand;
         item++) {
        const yaml_node_t *entry = yaml_document_get_node(&s->document, *item);
        demand = entry ? demand_of(schema->sequence.entry, entry) : NULL;
    }
    return demand;
}

/* `section` is "" at the top. Keys that are not known are left to libcyaml. */
static err scan_mapping(scan *s, const yaml_node_t *node, const cyaml_schema_field_t *fields, const char *section) {
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    err e = ERR_OK;
    for (; pair < node->data.mapping.pairs.top && !e; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&s->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(&s->document, pair->value);
        const cyaml_schema_field_t *field = field_named(fields, key);
        if (!field || !value) {
            continue;
        }
        if (field->value.type == CYAML_MAPPING && value->type == YAML_MAPPING_NODE && !section[0]) {
            e = scan_mapping(s, value, field->value.mapping.fields, field->key);
            continue;
        }
        const char *demand = field->value.type == CYAML_SEQUENCE ? demand_of_list(s, &field->value, value)
                                                                 : demand_of(&field->value, value);
        if (demand) {
            e = err_fail(ERR_INPUT, "%s:%zu: key %s%s%s %s", s->where, key->start_mark.line + 1, section,
                         section[0] ? "." : "", field->key, demand);
        }
    }
    return e;
}

err scan_text(const char *where, const char *text, size_t length) {
    scan s = {.where = where};
    err e = document_load(where, text, length, &s.document);
    if (e) {
        return e;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&s.document);
    e = root && root->type == YAML_MAPPING_NODE
            ? scan_mapping(&s, root, schema_experiment.mapping.fields, "")
            : err_fail(ERR_INPUT, "%s: holds no keys, so it is no experiment", where);
    yaml_document_delete(&s.document);
    return e;
}

/* The pair whose key is `wanted`, or NULL. */
static const yaml_node_pair_t *pair_named(yaml_document_t *document, const yaml_node_t *node, const char *wanted) {
    if (!node || node->type != YAML_MAPPING_NODE) {
        return NULL;
    }
    const yaml_node_pair_t *found = NULL;
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(document, pair->key);
        if (key->type == YAML_SCALAR_NODE && strcmp((const char *)key->data.scalar.value, wanted) == 0) {
            found = pair;
        }
    }
    return found;
}

static unsigned line_in(yaml_document_t *document, const char *path) {
    char section[64], key[64] = "";
    sscanf(path, "%63[^.].%63s", section, key);
    const yaml_node_pair_t *outer = pair_named(document, yaml_document_get_root_node(document), section);
    if (!outer) {
        return 0;
    }
    const yaml_node_pair_t *inner = pair_named(document, yaml_document_get_node(document, outer->value), key);
    int named = inner ? inner->key : outer->key;
    return (unsigned)yaml_document_get_node(document, named)->start_mark.line + 1;
}

unsigned scan_line_of(const char *text, size_t length, const char *path) {
    yaml_document_t document;
    if (document_load("", text, length, &document)) {
        return 0;
    }
    unsigned line = line_in(&document, path);
    yaml_document_delete(&document);
    return line;
}
