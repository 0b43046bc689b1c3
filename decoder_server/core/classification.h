/* A classification: the outcome of one request for a sample. Plain data. */
#ifndef FEWBIT_DECODER_SERVER_CORE_CLASSIFICATION_H
#define FEWBIT_DECODER_SERVER_CORE_CLASSIFICATION_H

#include "data/dataset.h"
#include "data/partition.h"

enum { CLASSIFICATION_TEXT_MAX = 256 };

typedef enum classification_outcome {
    CLASSIFICATION_DONE,
    CLASSIFICATION_NO_NODES,       /* no node is ready */
    CLASSIFICATION_TIMEOUT,        /* the deadline passed and no node had answered */
    CLASSIFICATION_BUSY,           /* too many samples wait */
    CLASSIFICATION_STOPPING,       /* the server is stopping */
    CLASSIFICATION_FAILED,         /* the nets gave no numbers */
    CLASSIFICATION_UNKNOWN_SAMPLE, /* no node that is here has a sample of that id */
    CLASSIFICATION_REFUSED,        /* a node cannot read what it was handed */
} classification_outcome;

typedef struct classification {
    classification_outcome outcome;
    bool degraded;
    uint32_t class, classes, portions;
    uint32_t stages;                      /* of bits, that the answer took */
    uint8_t bits[PARTITION_PORTIONS_MAX]; /* of each portion that were sent; 0: it is missing */
    uint64_t have;                        /* bit k: portion k took part */
    /* When the nodes were asked; when their codes were in, or the deadline passed; when the class was known. */
    uint64_t asked_ns, due_ns, done_ns;
    uint32_t frame_bytes[2]; /* by traffic_direction: of the nodes' answers, and of the requests to them */
    uint64_t codes[PARTITION_PORTIONS_MAX];
    union {
        float probabilities[DATASET_CLASSES_MAX];
        char text[CLASSIFICATION_TEXT_MAX]; /* of CLASSIFICATION_REFUSED: the node's words, not trusted */
    };
} classification;

#endif
