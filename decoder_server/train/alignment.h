/* An alignment: the samples that a joint training goes on with, once it is known which portions have which of the
 * server's samples.
 *
 * The order is that of the labels' folder, so that the model depends neither on the nodes' orders nor on how ids were
 * matched. A sample is complete where every portion has it. Those held back and those of the test are evaluated where
 * they are complete; of the test the incomplete ones stand behind the complete ones.
 *
 * Numbers of samples count through both splits, the training samples first. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_ALIGNMENT_H
#define FEWBIT_DECODER_SERVER_TRAIN_ALIGNMENT_H

#include "data/dataset.h"

typedef struct alignment_rule {
    uint32_t portions;
    uint32_t samples[2];   /* of the labels, by enum dataset_split */
    uint32_t validation;   /* the last training samples, which are held back */
    uint32_t min_portions; /* a training or test sample is kept that so many have; `portions`: complete ones alone */
} alignment_rule;

typedef struct alignment {
    uint32_t samples[2];    /* that are kept */
    uint32_t validation;    /* the last of the training samples */
    uint32_t complete_test; /* the first of the test samples */
    uint32_t complete;      /* of the training samples, less those held back */
    uint32_t *numbers;      /* [samples of both splits]: in the labels' folder */
    uint64_t *have;         /* [same]: bit k: portion k has it */
} alignment;

/* `have` [samples of the labels, both splits]: bit k: portion k has that sample. alignment_free ends it. */
err alignment_new(alignment *a, const alignment_rule *rule, const uint64_t *have);
void alignment_free(alignment *a);

/* ERR_INPUT where samples were left out and too little is left to train on in batches of so many, or to evaluate: one
 * line that says of what. */
err alignment_check(const alignment *a, const alignment_rule *rule, uint32_t batch_size);

/* Whether every sample is kept, complete and in its place. */
bool alignment_is_identity(const alignment *a, const alignment_rule *rule);

#endif
