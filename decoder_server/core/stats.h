/* Statistics of a role, for the HTTP API. Plain data; all counts are since the process started. */
#ifndef FEWBIT_DECODER_SERVER_CORE_STATS_H
#define FEWBIT_DECODER_SERVER_CORE_STATS_H

#include "bits/refinement.h"
#include "data/partition.h"
#include "wire/traffic_counters.h"

/* Codes that came compressed: what they took, what they would have taken packed, and the entropy of their bits one by
 * one and of whole codes, in bits a sample. */
typedef struct stats_coding {
    uint64_t frames, refused, samples, packed_bits, coded_bits;
    double bit_entropy, code_entropy;
} stats_coding;

/* The node of a portion. */
typedef struct stats_node {
    uint64_t connection;         /* its number; 0: there is none now */
    const char *portion;         /* its name, the experiment's */
    char name[64];               /* of the last one there was; "": none yet */
    char address[64];            /* by the node listener */
    bool is_ready, is_silent;    /* is_silent: it would be ready, and has not answered in time */
    uint64_t admitted;           /* how often a node was let in */
    int64_t joined_at, ready_at; /* milliseconds since 1970; 0: it is not */
    uint64_t payload_bits[2];    /* by traffic_direction: of codes, soft outputs and gradients */
    stats_coding coding;
    const char *owes;         /* the name of the answer that it owes for longest, static text; NULL: it owes none */
    double owed_seconds;      /* for how long */
    double answered_seconds;  /* since its last answer; -1: there was none */
    uint64_t timeouts;        /* how often it owed for too long */
    traffic_counters traffic; /* of all its connections */
} stats_node;

/* A table of samples that wait for their portions. */
typedef struct stats_table {
    uint64_t complete, expired, late, duplicate, unknown, mixed, refused; /* as the assembler counts them */
    uint32_t waiting, capacity;
} stats_table;

/* Samples answered, by how many stages of bits their answer took, less one; and those for which a further stage was
 * wanted and not to be had from every node, in time. */
typedef struct stats_refinement {
    uint32_t count; /* stages that may come; 1: all bits come at once */
    uint64_t answered[REFINEMENT_STAGES_MAX], incomplete;
} stats_refinement;

/* Loads of a model after the first, by how they ended. */
typedef struct stats_reloads {
    uint64_t changed, unchanged, failed;
} stats_reloads;

typedef struct stats_training {
    const char *phase; /* static text; NULL: this server does not train */
    uint32_t epoch, epochs, batch, batches;
    uint64_t step;
    double loss, accuracy; /* of the epoch so far; percent */
} stats_training;

typedef struct stats {
    uint32_t portions, ready;
    uint64_t refused_nodes; /* connections that were sent away with a Refusal */
    stats_node nodes[PARTITION_PORTIONS_MAX];
    stats_table streamed, on_demand; /* serving */
    stats_refinement refinement;
    uint64_t backlog_bytes; /* codes that found no room yet */
    uint64_t results_lost;  /* that the results' file did not take, or the nets gave no numbers for */
    stats_reloads reloads;
    stats_training training;
    uint64_t links, links_refused, tls_failures;
} stats;

static inline uint64_t stats_reconnects(const stats_node *n) {
    return n->admitted > 1 ? n->admitted - 1 : 0;
}

#endif
