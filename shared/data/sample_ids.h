/* The ids of a folder's samples: train-ids.txt and test-ids.txt, one id a line, in the order of the samples.
 *
 * An id is 1 to SAMPLE_ID_MAX bytes of UTF-8 without control characters, and no other sample of the folder has it,
 * whichever split it is in. Files are not trusted. A folder without ids is counted: sample_id_counted. */
#ifndef FEWBIT_DATA_SAMPLE_IDS_H
#define FEWBIT_DATA_SAMPLE_IDS_H

#include "base/sha256.h"
#include "data/dataset.h"

enum { SAMPLE_ID_MAX = 64 };

typedef struct sample_ids sample_ids;

/* Of `samples` by split, copied; ERR_INPUT names the first id that is none, or is there twice. */
err sample_ids_new(sample_ids **ids, const char *const *const list[2], const uint32_t samples[2]);

/* Reads both files of a folder; every refusal names file and line. */
err sample_ids_read(sample_ids **ids, const char *folder, const uint32_t samples[2]);

/* Writes both files, each atomically; NULL: removes those of before, which a folder that counts has none of. */
err sample_ids_write(const sample_ids *ids, const char *folder);

/* NULL is fine. */
void sample_ids_free(sample_ids *ids);

/* index < samples[split]. Borrowed. */
const char *sample_ids_get(const sample_ids *ids, enum dataset_split split, uint32_t index);
bool sample_ids_find(const sample_ids *ids, const char *id, enum dataset_split *split, uint32_t *index);

/* A digest of all ids in their order, the same for every owner of the same samples. */
err sample_ids_digest(const sample_ids *ids, char hex[SHA256_HEX]);

/* Counted ids are decimal numbers from 0, through the training samples and on through the test samples. */
const char *sample_id_count(const uint32_t samples[2], enum dataset_split split, uint32_t index,
                            char text[SAMPLE_ID_MAX + 1]);
bool sample_id_find_counted(const uint32_t samples[2], const char *id, enum dataset_split *split, uint32_t *index);

/* Whether `id` may be one. */
bool sample_id_is_valid(const char *id);

#endif
