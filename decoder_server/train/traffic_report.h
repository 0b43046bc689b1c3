/* The traffic of a training: bits by kind and node, and what the result says of them. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_TRAFFIC_REPORT_H
#define FEWBIT_DECODER_SERVER_TRAIN_TRAFFIC_REPORT_H

#include "bits/code_entropy.h"
#include "bits/codeword.h"
#include "data/partition.h"
#include "wire/traffic_counters.h"

#include <jansson.h>

typedef struct traffic_report {
    uint32_t portions;
    bool over_tcp;
    char names[PARTITION_PORTIONS_MAX][64];
    uint64_t codes[PARTITION_PORTIONS_MAX]; /* payload bits, by kind */
    uint64_t coded[PARTITION_PORTIONS_MAX]; /* those of `codes` as they came: fewer where they were coded */
    uint64_t activations[PARTITION_PORTIONS_MAX];
    uint64_t gradients[PARTITION_PORTIONS_MAX];
    traffic_counters total[PARTITION_PORTIONS_MAX];   /* as last read */
    traffic_counters rounded[PARTITION_PORTIONS_MAX]; /* of the last rounded test alone */
    uint64_t rounded_coded;                           /* payload bits as they came, all nodes together */
    code_entropy tallies[PARTITION_PORTIONS_MAX];     /* of its codes, by portion */
    uint64_t rounded_samples;
} traffic_report;

/* `portions` is set, which are those of the layout, or none. */
err traffic_report_init(traffic_report *t, const codeword *layout);
void traffic_report_free(traffic_report *t);

/* The rounded evaluation that is described begins, whose codes are counted apart from those of other evaluations. */
void traffic_report_start_rounded(traffic_report *t);

/* Codes of a portion: packed [rows], which came as `coded_bits` of payload. Those of the evaluation that the run's bits
 * describe (the test, or where that is left alone the samples held back) are tallied too. */
void traffic_report_add_codes(traffic_report *t, uint32_t portion, const uint8_t *packed, uint32_t rows,
                              uint64_t coded_bits, bool is_described);

/* Codes that came in part, packed: `bits` of payload. */
void traffic_report_add_refinement(traffic_report *t, uint32_t portion, uint64_t bits);

/* What has passed a portion's links up to now. `rounded_samples`: since the last call they carried a rounded evaluation
 * of so many; 0: anything else. */
void traffic_report_count(traffic_report *t, uint32_t portion, const traffic_counters *now, uint32_t rounded_samples);

/* {"payload", "coded", "entropy", "frames", "tls", "tcp"}: bits a sample of the last rounded test, all nodes together,
 * both directions. "tcp" is null in one process, "tls" without TLS. The payload is the codes alone, packed; "coded" is
 * what they took as they came; "entropy" is {"bits", "codes"}, their entropy bit by bit and each node's code as a
 * whole. All but the payload are null where this process has done no rounded test. */
json_t *traffic_report_bits_per_sample(const traffic_report *t, uint32_t code_bits);

/* One object a node: name, payload bits by kind, frame bits by message and direction, TLS bits, TCP bits and
 * segments. */
json_t *traffic_report_nodes(const traffic_report *t);

#endif
