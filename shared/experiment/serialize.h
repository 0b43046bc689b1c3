/* The resolved text of an experiment, every key of the schema in its order, and the values in it. */
#ifndef FEWBIT_EXPERIMENT_SERIALIZE_H
#define FEWBIT_EXPERIMENT_SERIALIZE_H

#include "experiment/experiment.h"

/* The same bytes for the same values; `text` holds EXPERIMENT_TEXT_MAX bytes. */
err experiment_serialize(const experiment *e, char *text, size_t *length);

/* The value of one key ("name", "encoder.bits"): a text as it is, all else as a file would have it, a list on one line.
 * `text` holds EXPERIMENT_TEXT_MAX bytes. ERR_USAGE: there is no such key, or it is a section. */
err experiment_value(const experiment *e, const char *key, char *text);

/* Whether two say the same. A run keeps the text it began with, what is written today may have keys that were not known
 * then: so what they say is compared, not how. */
err experiment_compare(const experiment *a, const experiment *b, bool *is_same);

#endif
