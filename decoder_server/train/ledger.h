/* The ledger of a training: bits by kind and node, and what the result says of them. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_LEDGER_H
#define FEWBIT_DECODER_SERVER_TRAIN_LEDGER_H

#include "data/split.h"
#include "wire/meter.h"

#include <jansson.h>

typedef struct ledger {
    uint32_t portions;
    bool over_tcp;
    char names[SPLIT_PORTIONS_MAX][64];
    uint64_t codes[SPLIT_PORTIONS_MAX]; /* payload bits, by kind */
    uint64_t activations[SPLIT_PORTIONS_MAX];
    uint64_t gradients[SPLIT_PORTIONS_MAX];
    meter total[SPLIT_PORTIONS_MAX];   /* as last read */
    meter rounded[SPLIT_PORTIONS_MAX]; /* of the last rounded test alone */
    uint64_t rounded_samples;
} ledger;

/* {"payload", "frames", "tls", "tcp"}: bits a sample of the last rounded test, all nodes together, both directions.
 * "tcp" is null in one process, "tls" without TLS. The payload is the codes alone. */
json_t *ledger_bits_per_sample(const ledger *l, uint32_t code_bits);

/* One object a node: name, payload bits by kind, frame bits by message and direction, TLS bits, TCP bits and
 * segments. */
json_t *ledger_nodes(const ledger *l);

#endif
