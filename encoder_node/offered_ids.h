/* Offered ids: some samples of a node's test split that it tells the server may be asked for, so that people find one
 * to try. Nodes of the same samples offer the same ones: those whose ids have the smallest hashes. */
#ifndef FEWBIT_ENCODER_NODE_OFFERED_IDS_H
#define FEWBIT_ENCODER_NODE_OFFERED_IDS_H

#include "data/portion.h"
#include "wire/message.h"

typedef struct offered_ids {
    size_t count;
    char *ids[MESSAGE_OFFERED_MAX]; /* they point into `text` */
    char text[MESSAGE_OFFERED_MAX][SAMPLE_ID_MAX + 1];
} offered_ids;

/* Of counted ids, which say nothing; of listed ones only where that is wanted. */
void offered_ids_choose(offered_ids *o, const portion *data, bool of_listed);

#endif
