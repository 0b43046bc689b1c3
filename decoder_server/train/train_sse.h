/* Server-sent events of a training: "progress" events, at most ten a second and at each change of phase, and
 * an "epoch" event for each evaluation, which every new subscriber gets too. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_TRAIN_SSE_H
#define FEWBIT_DECODER_SERVER_TRAIN_TRAIN_SSE_H

#include "decoder_server/core/sse_producer.h"
#include "decoder_server/core/stats.h"
#include "decoder_server/train/train_loop.h"

enum { TRAIN_SSE_EVENT_MAX = 512 };

typedef struct train_sse {
    sse_producer *sse;
    void (*replay)(void *context, const char *event, size_t length);
    void *context;
    uint64_t shown_ns, started_ns;
    stats_training now;
} train_sse;

/* `sse` is borrowed; `replay` takes the events that every new subscriber gets. */
void train_sse_start(train_sse *b, sse_producer *sse, void (*replay)(void *context, const char *event, size_t length),
                     void *context);

void train_sse_progress(train_sse *b, const train_loop_progress *p);

/* The whole "epoch" event of an evaluation; its length. */
size_t train_sse_epoch_event(const manifest_evaluation *e, char event[TRAIN_SSE_EVENT_MAX]);

#endif
