/* A YAML text, untrusted, as libyaml's tree of nodes: with line and key in every error, and in a time that its length
 * bounds.
 *
 * Taken is what says one thing to every reader of YAML: one document, without tags, anchors and aliases, and without a
 * zero byte in any text. All else is refused, never dropped. */
#ifndef FEWBIT_EXPERIMENT_YAML_DOCUMENT_H
#define FEWBIT_EXPERIMENT_YAML_DOCUMENT_H

#include "base/err.h"

#include <stddef.h>
#include <yaml.h>

/* The text's one document, which may be empty (then it has no root); the caller ends it with
 * yaml_document_delete. ERR_INPUT says "WHERE:LINE: …". */
err yaml_document_read(const char *where, const char *text, size_t length, yaml_document_t *document);

#endif
