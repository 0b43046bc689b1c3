/* The resolved text of an experiment: every key of the schema, in its order. */
#ifndef FEWBIT_EXPERIMENT_SERIALIZE_H
#define FEWBIT_EXPERIMENT_SERIALIZE_H

#include "experiment/experiment.h"

/* The same bytes for the same values; `text` holds EXPERIMENT_TEXT_MAX bytes. */
err experiment_serialize(const experiment *e, char *text, size_t *length);

/* Whether two say the same. A run keeps the text it began with, what is written today may have keys that were not known
 * then: so what they say is compared, not how. */
err experiment_compare(const experiment *a, const experiment *b, bool *is_same);

#endif
