/* The coordinator: leads N encoders through synchronous joint training.
 *
 * Pure: messages in, messages out; no socket, no loop, no thread. Over TCP `train_tcp` feeds it, in one process
 * `train_inproc` does; the numbers are the same bit for bit, because nothing it computes depends on the order in which
 * messages arrive.
 *
 *     gathering --all portions ready--> training --epoch ends--> evaluating --> saving --committed--> training …
 *         ^------------- a node is lost, from any state: everybody goes back to the last commit -----'
 *
 * A step: Batch to every node; Activations from every node; loss; Gradients to every node, and the next Batch at
 * once; then the head's own update, as tasks (coordinator_work_*) that the caller runs while the nodes do theirs. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_COORDINATOR_H
#define FEWBIT_DECODER_SERVER_TRAIN_COORDINATOR_H

#include "base/thread_pool.h"
#include "data/labels.h"
#include "decoder_server/core/run_dir.h"
#include "wire/message.h"
#include "wire/traffic_counters.h"

typedef struct coordinator coordinator;
struct pending_replies; /* decoder_server/core/pending_replies.h */

/* Where training stands, for a progress bar. */
typedef struct coordinator_progress {
    const char *phase;      /* "training", "testing", "waiting for nodes", "saving" */
    uint32_t epoch, epochs; /* from 1 */
    uint32_t batch, batches;
    double loss, accuracy;            /* of the epoch so far; percent */
    uint64_t samples, steps;          /* done since the start of this process */
    const manifest_evaluation *ended; /* the epoch that has just been evaluated, or NULL */
} coordinator_progress;

typedef struct coordinator_host {
    void (*send)(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body);
    /* Ends a portion's connection, with a Refusal. */
    void (*drop)(void *context, uint32_t portion, Fewbit__Reason reason, const char *text);
    /* Asks for the traffic counters of a portion's links; coordinator_metered answers. */
    void (*ask_meter)(void *context, uint32_t portion);
    void (*progress)(void *context, const coordinator_progress *p);
    void *context;
} coordinator_host;

/* `r`, `l` and `pool` are borrowed. With `resume`, training goes on from the run's last commit. `over_tcp` says
 * whether the meters' kernel counters mean anything. */
err coordinator_new(coordinator **c, run_dir *r, const labels *l, thread_pool *pool, bool over_tcp,
                    const coordinator_host *host);
void coordinator_free(coordinator *c);

/* `name` is copied. */
void coordinator_joined(coordinator *c, uint32_t portion, const char *name);
void coordinator_left(coordinator *c, uint32_t portion);
void coordinator_receive(coordinator *c, uint32_t portion, const message *m);
void coordinator_metered(coordinator *c, uint32_t portion, const traffic_counters *m);

/* Who owes an answer for that long is dropped; 0, at first: nobody. */
void coordinator_set_answer_timeout(coordinator *c, uint64_t ns);

/* Reads the clock: to be called before the other calls where time counts, and for its own sake after so many
 * microseconds (-1: none) as it returns. */
int64_t coordinator_poll(coordinator *c, uint64_t now_ns);

/* Who owes what. */
const struct pending_replies *coordinator_pending_replies(const coordinator *c);

/* Payload bits that passed between the server and a portion's node: codes, soft outputs; gradients. */
uint64_t coordinator_payload_bits(const coordinator *c, uint32_t portion, traffic_direction d);

/* Tasks of the head's update that stand ready: run each once, in any order, also side by side, then call
 * coordinator_work_done. No other call in between. */
size_t coordinator_work_tasks(const coordinator *c);
void coordinator_work_task(coordinator *c, size_t task);
void coordinator_work_done(coordinator *c);

/* Whether training has ended; *outcome is ERR_OK, or what made it end, with its line in err_text(). */
bool coordinator_is_over(const coordinator *c, err *outcome);

#endif
