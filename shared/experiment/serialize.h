/* The resolved text of an experiment, every key of the schema in its order, and the values in it. Portions stand in it
 * where they are listed, each with all keys of its encoder; those of a partition follow from that. */
#ifndef FEWBIT_EXPERIMENT_SERIALIZE_H
#define FEWBIT_EXPERIMENT_SERIALIZE_H

#include "experiment/experiment.h"

/* Another value for one key: `key` is "section.key" (or "name"), `value` as a file would write it. "encoder.key" is for
 * the encoder of every portion, "portions.NAME.encoder.key" for that of one. */
typedef struct experiment_override {
    const char *key, *value;
} experiment_override;

/* The same bytes for the same values; `text` holds EXPERIMENT_TEXT_MAX bytes. */
err experiment_serialize(const experiment *e, char *text, size_t *length);

/* The same with `count` overrides, of which the last of a key counts. ERR_INPUT: there is no such key. */
err experiment_serialize_with(const experiment *e, const experiment_override *overrides, size_t count, char *text,
                              size_t *length);

/* Makes all changes, whose values are letters, digits and . _ + - / only, or lists of such, then checks the whole as a
 * file is checked; `where` names it in errors. On failure `*e` is as it was. */
err experiment_apply_overrides(experiment *e, const char *where, const experiment_override *changes, size_t count);

/* The value of one key ("name", "encoder.bits"): a text as it is, all else as a file would have it, a list on one line.
 * `text` holds EXPERIMENT_TEXT_MAX bytes. ERR_USAGE: there is no such key, or it is a section. */
err experiment_value(const experiment *e, const char *key, char *text);

/* Whether two say the same. A run keeps the text it began with, what is written today may have keys that were not known
 * then: so what they say is compared, not how. */
err experiment_compare(const experiment *a, const experiment *b, bool *is_same);

#endif
