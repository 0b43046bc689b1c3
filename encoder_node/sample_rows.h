/* Sample rows: which of a portion's own samples are those that a training numbers. Known once the node is aligned; a
 * portion whose ids are those of the labels needs none. */
#ifndef FEWBIT_ENCODER_NODE_SAMPLE_ROWS_H
#define FEWBIT_ENCODER_NODE_SAMPLE_ROWS_H

#include <stdint.h>

enum { SAMPLE_ROWS_MISSING = UINT32_MAX };

typedef struct sample_rows {
    uint32_t samples[2]; /* by enum dataset_split */
    uint32_t validation; /* the last of the training samples, which are held back */
    uint32_t *rows[2];   /* [samples]: the sample's own number in its split, or SAMPLE_ROWS_MISSING */
} sample_rows;

#endif
