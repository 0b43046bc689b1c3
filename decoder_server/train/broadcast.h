/* What listeners over HTTP see of a training: "progress" events, at most ten a second and at each change of phase, and
 * an "epoch" event for each evaluation, which every new listener gets too. On the worker. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_BROADCAST_H
#define FEWBIT_DECODER_SERVER_TRAIN_BROADCAST_H

#include "decoder_server/feed.h"
#include "decoder_server/report.h"
#include "decoder_server/train/coordinator.h"

enum { BROADCAST_EVENT_MAX = 512 };

typedef struct broadcast {
    feed *feed;
    worker **worker;
    uint64_t shown_ns, started_ns;
    report_training now;
} broadcast;

/* `*w` is set before the first progress. Ended with broadcast_end. */
err broadcast_start(broadcast *b, worker **w);
void broadcast_end(broadcast *b);

void broadcast_progress(broadcast *b, const coordinator_progress *p);

/* The whole "epoch" event of an evaluation; its length. */
size_t broadcast_epoch_event(const run_evaluation *e, char event[BROADCAST_EVENT_MAX]);

#endif
