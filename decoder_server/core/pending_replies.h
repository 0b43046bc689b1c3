/* Pending replies: which answers the nodes owe, and since when.
 *
 * Pure. Its clock runs only as long as it is read: between two readings at most PENDING_REPLIES_STEP_NS pass, so that a
 * node is not blamed for the time in which the server itself stood still or computed. */
#ifndef FEWBIT_DECODER_SERVER_CORE_PENDING_REPLIES_H
#define FEWBIT_DECODER_SERVER_CORE_PENDING_REPLIES_H

#include "decoder_server/core/stats.h"

/* While anything is owed the clock is to be read every PENDING_REPLIES_TURN_NS. */
enum { PENDING_REPLIES_STEP_NS = 1000000000, PENDING_REPLIES_TURN_NS = PENDING_REPLIES_STEP_NS / 2 };
enum { PENDING_REPLIES_TEXT_MAX = 128 };

typedef struct pending_replies_node {
    uint32_t types;                   /* bit T: it owes an answer of type T, */
    uint64_t since_ns[MESSAGE_TYPES]; /* since then */
    uint64_t answered_ns;             /* its last answer; 0: none yet */
    uint64_t timeouts;                /* how often it owed for too long */
} pending_replies_node;

typedef struct pending_replies {
    uint64_t now_ns, read_ns;
    bool rests;
    pending_replies_node nodes[PARTITION_PORTIONS_MAX];
} pending_replies;

void pending_replies_read_clock(pending_replies *o, uint64_t now_ns);

/* An answer of that type is owed; since before, where one was already. */
void pending_replies_begin(pending_replies *o, uint32_t portion, message_type answer);

/* One has come; `others` are still owed, from now on. */
void pending_replies_answered(pending_replies *o, uint32_t portion, message_type answer, bool others);

/* Nothing is owed any more. */
void pending_replies_forget(pending_replies *o, uint32_t portion);

/* For how long the oldest answer is owed, and which; false: none is. */
bool pending_replies_for_ns(const pending_replies *o, uint32_t portion, uint64_t *ns, message_type *answer);

/* Whether a node has owed an answer for that long: it is forgotten then, and `text` says which it was. */
bool pending_replies_take_overdue(pending_replies *o, uint32_t portion, uint64_t timeout_ns,
                                  char text[PENDING_REPLIES_TEXT_MAX]);

/* Whether none of the first `portions` owes anything; the clock then rests until it is read again. */
bool pending_replies_rests(pending_replies *o, uint32_t portions);

/* What `n` says of it. */
void pending_replies_stats(const pending_replies *o, uint32_t portion, stats_node *n);

#endif
