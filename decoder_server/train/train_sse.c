#include "decoder_server/train/train_sse.h"

#include "base/clock.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { PAUSE_NS = 100000000, NUMBER_MAX = 32 };

void train_sse_start(train_sse *b, sse_producer *sse, void (*replay)(void *context, const char *event, size_t length),
                     void *context) {
    *b = (train_sse){.sse = sse, .replay = replay, .context = context, .now = {.phase = "waiting for nodes"}};
}

/* A JSON number; null where it is none. */
static const char *number(double value, char text[NUMBER_MAX]) {
    snprintf(text, NUMBER_MAX, isfinite(value) ? "%.6g" : "null", value);
    return text;
}

static size_t write_epoch(const manifest_evaluation *e, char *to, size_t room) {
    char loss[NUMBER_MAX], train[NUMBER_MAX], soft[NUMBER_MAX], rounded[NUMBER_MAX], held[NUMBER_MAX];
    int length = snprintf(to, room,
                          "{\"epoch\":%.6g,\"loss\":%s,\"training\":%s,\"unrounded_test\":%s,\"rounded_test\":%s,"
                          "\"validation\":%s,\"seconds\":%.3f}",
                          e->epoch, number(e->loss, loss), number(e->train, train), number(e->soft, soft),
                          number(e->rounded, rounded), number(e->validation, held), e->seconds);
    return length > 0 && (size_t)length < room ? (size_t)length : 0;
}

size_t train_sse_epoch_event(const manifest_evaluation *e, char event[TRAIN_SSE_EVENT_MAX]) {
    char data[TRAIN_SSE_EVENT_MAX - NUMBER_MAX];
    write_epoch(e, data, sizeof data);
    return (size_t)snprintf(event, TRAIN_SSE_EVENT_MAX, "event: epoch\ndata: %s\n\n", data);
}

static void put_epoch(train_sse *b, const manifest_evaluation *e) {
    char data[TRAIN_SSE_EVENT_MAX], event[TRAIN_SSE_EVENT_MAX];
    sse_producer_put(b->sse, "epoch", data, write_epoch(e, data, sizeof data));
    b->replay(b->context, event, train_sse_epoch_event(e, event));
}

static void put_progress(train_sse *b, const train_loop_progress *p) {
    char data[TRAIN_SSE_EVENT_MAX], loss[NUMBER_MAX], accuracy[NUMBER_MAX];
    double seconds = clock_seconds_since(b->started_ns);
    int length = snprintf(data, sizeof data,
                          "{\"phase\":\"%s\",\"epoch\":%u,\"epochs\":%u,\"batch\":%u,\"batches\":%u,\"step\":%" PRIu64
                          ",\"loss\":%s,\"accuracy\":%s,\"samples_per_second\":%.1f}",
                          p->phase, p->epoch, p->epochs, p->batch, p->batches, p->steps, number(p->loss, loss),
                          number(p->accuracy, accuracy), seconds > 0 ? (double)p->samples / seconds : 0);
    sse_producer_put(b->sse, "progress", data, (size_t)length);
}

void train_sse_progress(train_sse *b, const train_loop_progress *p) {
    bool is_news = p->ended || p->phase != b->now.phase;
    uint64_t now_ns = clock_now_ns();
    b->now = (stats_training){p->phase, p->epoch, p->epochs, p->batch, p->batches, p->steps, p->loss, p->accuracy};
    if (p->samples == 0) {
        b->started_ns = now_ns;
    }
    if (!is_news && now_ns - b->shown_ns < PAUSE_NS) {
        return;
    }
    b->shown_ns = now_ns;
    if (p->ended) {
        put_epoch(b, p->ended);
    }
    put_progress(b, p);
    sse_producer_flush(b->sse);
}
