/* An owner's own data: its portion of every sample, and nothing else.
 *
 * A portion folder holds
 *   portion.json   {"format": 2, "dataset", "portion": its name, "type": "u8" or "f32", "shape", "train_samples",
 *                   "validation_samples": so many, the last ones, of the training samples, "test_samples",
 *                   "ids": "counted" or "listed", "digest"},
 *                   and where there are: "mean" and "std" [channels], "columns" of a table, and of a portion that
 *                   was split off a published data set "partition": {"kind", "portions", "portion": which of them,
 *                   "sample_shape": [c,h,w]}
 *   train.npy      [train_samples, shape]      test.npy   [test_samples, shape]
 *   train-ids.txt, test-ids.txt                only of listed ids (data/sample_ids.h)
 * The digest is SHA-256 over the type, the shape, the values, the ids, the scaling and the columns, not over the names,
 * the partition and what is held back; it is checked when opened. */
#ifndef FEWBIT_DATA_PORTION_H
#define FEWBIT_DATA_PORTION_H

#include "data/portion_record.h"
#include "data/sample_ids.h"

typedef struct portion portion;

/* What a folder is written with; everything borrowed. */
typedef struct portion_contents {
    const void *values[2];          /* [samples, shape] by enum dataset_split */
    const sample_ids *ids;          /* NULL: counted */
    const portion_scaling *scaling; /* NULL: none */
    const columns *columns;         /* of the features; NULL: none */
} portion_contents;

/* Opens and checks a folder. Every refusal names the file and what is wrong: files missing, sizes that
 * contradict portion.json, a digest that does not match. The caller ends it with portion_close. */
err portion_open(portion **p, const char *folder);
void portion_close(portion *p);
const portion_info *portion_get_info(const portion *p);

/* The values of one sample, uint8_t or float [shape]; index < samples[split]. Those of a split lie one after another.
 * Borrowed until portion_close. */
const void *portion_sample(const portion *p, enum dataset_split split, uint32_t index);

/* A sample's id, until the thread asks for another; and the sample of an id. */
const char *portion_id(const portion *p, enum dataset_split split, uint32_t index);
bool portion_find(const portion *p, const char *id, enum dataset_split *split, uint32_t *index);

/* NULL: there are none. Borrowed. */
const sample_ids *portion_get_ids(const portion *p);
const portion_scaling *portion_get_scaling(const portion *p);
const columns *portion_get_columns(const portion *p);

/* The columns as JSON, the same text for the same columns. */
const char *portion_get_columns_text(const portion *p);

/* Writes a folder (made when missing), each file atomically, portion.json last. Fills has_ids and the digests. */
err portion_write(const char *folder, portion_info *info, const portion_contents *contents);

#endif
