/* Values out of the nodes of a YAML text, by the schema: with file, line and key in every error. */
#ifndef FEWBIT_EXPERIMENT_LOADER_H
#define FEWBIT_EXPERIMENT_LOADER_H

#include "experiment/schema.h"
#include "experiment/yaml_document.h"

typedef struct loader {
    const char *where; /* the text's name in errors */
    yaml_document_t document;
    char *values;   /* what the fields' offsets are in: the experiment, a portion or a layer of it */
    bool is_listed; /* there is a list of portions */
} loader;

/* A key of the text, for messages. */
typedef struct loader_key {
    const char *section, *key; /* section "": at the top; "portions.NAME.encoder" */
    size_t line;
} loader_key;

/* ERR_INPUT "WHERE:LINE: key SECTION.KEY DEMAND". */
err loader_refuse(const loader *l, const loader_key *n, const char *demand);

/* The same of too many entries, and of a word that is none of the field's, with the nearest of those. */
err loader_refuse_count(const loader *l, const loader_key *n, size_t most);
err loader_refuse_word(const loader *l, const loader_key *n, const schema_field *f, const char *word);

/* The field of a key; NULL: there is none. */
const schema_field *loader_field(const schema_field *fields, const char *key);

/* A pair's key, and the line it stands on. */
const char *loader_key_of(loader *l, const yaml_node_pair_t *pair);
size_t loader_line_of(yaml_document_t *document, const yaml_node_pair_t *pair);

/* The section of the keys in `place`. */
const char *loader_section(const loader_key *place, char section[EXPERIMENT_KEY_MAX]);

/* One value, or one of a list, into `to`. */
err loader_take_scalar(const loader *l, const loader_key *n, const schema_field *f, schema_type type,
                       const yaml_node_t *node, void *to);

/* All of a field's value; of a mapping all its keys. Portions, nets and lists of layers are left out. `place` is the
 * section, or at the top an empty key on the text's first line. */
err loader_take_field(loader *l, const loader_key *n, const schema_field *f, const yaml_node_t *node);
err loader_take_mapping(loader *l, const loader_key *place, const schema_field *fields, const yaml_node_t *node);

#endif
