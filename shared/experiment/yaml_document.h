/* A YAML text, untrusted, as libyaml's tree of nodes: with line and key in every error, and in a time that its length
 * bounds.
 *
 * Taken is what says one thing to every reader of YAML: one document, without tags, anchors and aliases, and without a
 * zero byte in any text. All else is refused, never dropped. */
#ifndef FEWBIT_EXPERIMENT_YAML_DOCUMENT_H
#define FEWBIT_EXPERIMENT_YAML_DOCUMENT_H

#include "base/err.h"

#include <yaml.h>

/* The text's one document, which may be empty (then it has no root); the caller ends it with
 * yaml_document_delete. ERR_INPUT says "WHERE:LINE: …". */
err yaml_document_read(const char *where, const char *text, size_t length, yaml_document_t *document);

/* The first pair of a mapping whose key is `key`. NULL: there is none, or `node` (which may be
 * NULL) is no mapping. */
const yaml_node_pair_t *yaml_document_pair(yaml_document_t *document, const yaml_node_t *node, const char *key);

/* A plain word, as the core schema of YAML 1.2 reads it. Whole: decimal digits without a sign or a leading zero, at
 * most 64 bits. A number: decimal without a leading zero, which is octal to YAML 1.1, and finite as a float. Text: no
 * number, truth value or nothing. */
bool yaml_word_is_whole(const char *word);
bool yaml_word_is_number(const char *word);
bool yaml_word_is_nothing(const char *word);
bool yaml_word_is_text(const char *word);

#endif
