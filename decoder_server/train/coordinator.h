/* The coordinator: leads N nodes through synchronous joint training. It knows who is here and who owes an answer; what
 * to ask, and what to make of the answers, is the training loop's.
 *
 * Pure: messages in, messages out; no socket, no loop, no thread of its own. Over TCP `train_tcp` feeds it, in one
 * process `train_inproc` does; the numbers are the same bit for bit, because nothing it computes depends on the order
 * in which messages arrive.
 *
 *     gathering --all portions ready--> training --epoch ends--> evaluating --> saving --committed--> training …
 *         ^------------- a node is lost, from any state: everybody goes back to the last commit -----'
 *
 * A step: Batch to every node; Activations from every node; loss; Gradients to every node, and the next Batch at
 * once; then the head's own update, while the nodes do theirs.
 *
 * What an answer brings about is work of the loop's: after each call it is to be done, by train_loop_work on
 * coordinator_loop, before the next one. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_COORDINATOR_H
#define FEWBIT_DECODER_SERVER_TRAIN_COORDINATOR_H

#include "decoder_server/core/stats.h"
#include "decoder_server/train/train_loop.h"

typedef struct coordinator coordinator;

/* All but `traffic` may be called from within the loop's work too, so on its thread. */
typedef struct coordinator_host {
    void (*send)(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body);
    /* Ends a portion's connection, with a Refusal. */
    void (*drop)(void *context, uint32_t portion, Fewbit__Reason reason, const char *text);
    /* What has passed a portion's links, all it has had, up to now. */
    void (*traffic)(void *context, uint32_t portion, traffic_counters *counters);
    void (*progress)(void *context, const train_loop_progress *p);
    void *context;
} coordinator_host;

/* `r`, `l`, `a` (as of train_loop_new) and `pool` are borrowed. With a commit in `r`, training goes on from it.
 * `over_tcp` says whether the kernel's counters of traffic mean anything. */
err coordinator_new(coordinator **c, run_dir *r, const labels *l, const alignment *a, thread_pool *pool, bool over_tcp,
                    const coordinator_host *host);
void coordinator_free(coordinator *c);

/* `name` is copied. */
void coordinator_joined(coordinator *c, uint32_t portion, const char *name);
void coordinator_left(coordinator *c, uint32_t portion);
void coordinator_receive(coordinator *c, uint32_t portion, const message *m);

/* Whose work is to be done, and that knows whether all is over. */
train_loop *coordinator_loop(const coordinator *c);

/* Who owes an answer for that long is dropped; 0, at first: nobody. */
void coordinator_set_answer_timeout(coordinator *c, uint64_t ns);

/* Reads the clock: to be called before the other calls where time counts, and for its own sake after so many
 * microseconds (-1: none) as it returns. */
int64_t coordinator_poll(coordinator *c, uint64_t now_ns);

/* What `n` says of a portion's node: what it owes, and the payload that passed (codes, soft outputs; gradients). */
void coordinator_stats(const coordinator *c, uint32_t portion, stats_node *n);

#endif
