/* Owed: which answers the nodes owe, and since when.
 *
 * Pure. Its clock runs only as long as it is read: between two readings at most OWED_STEP_NS pass, so that a node is
 * not blamed for the time in which the server itself stood still or computed. */
#ifndef FEWBIT_DECODER_SERVER_OWED_H
#define FEWBIT_DECODER_SERVER_OWED_H

#include "decoder_server/report.h"
#include "wire/message.h"

/* While anything is owed the clock is to be read every OWED_TURN_NS. */
enum { OWED_STEP_NS = 1000000000, OWED_TURN_NS = OWED_STEP_NS / 2 };

typedef struct owed_node {
    uint32_t types;                   /* bit T: it owes an answer of type T, */
    uint64_t since_ns[MESSAGE_TYPES]; /* since then */
    uint64_t answered_ns;             /* its last answer; 0: none yet */
    uint64_t timeouts;                /* how often it owed for too long */
} owed_node;

typedef struct owed {
    uint64_t now_ns, read_ns;
    bool rests;
    owed_node nodes[PARTITION_PORTIONS_MAX];
} owed;

void owed_read_clock(owed *o, uint64_t now_ns);

/* An answer of that type is owed; since before, where one was already. */
void owed_begin(owed *o, uint32_t portion, message_type answer);

/* One has come; `others` are still owed, from now on. */
void owed_answered(owed *o, uint32_t portion, message_type answer, bool others);

/* Nothing is owed any more. */
void owed_forget(owed *o, uint32_t portion);

/* For how long the oldest answer is owed, and which; false: none is. */
bool owed_for_ns(const owed *o, uint32_t portion, uint64_t *ns, message_type *answer);

/* Whether none of the first `portions` owes anything; the clock then rests until it is read again. */
bool owed_rests(owed *o, uint32_t portions);

/* What `n` says of it. */
void owed_report(const owed *o, uint32_t portion, report_node *n);

#endif
