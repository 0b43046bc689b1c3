#include "decoder_server/train/train_sse.h"

#include "base/clock.h"
#include "base/json_writer.h"

enum { PAUSE_NS = 100000000 };

void train_sse_start(train_sse *b, sse_producer *sse, void (*replay)(void *context, const char *event, size_t length),
                     void *context) {
    *b = (train_sse){.sse = sse, .replay = replay, .context = context, .now = {.phase = "waiting for nodes"}};
}

static const char epoch_head[] = "event: epoch\ndata: ";

size_t train_sse_epoch_event(const manifest_evaluation *e, char event[TRAIN_SSE_EVENT_MAX]) {
    dynbuf to = dynbuf_over(event, TRAIN_SSE_EVENT_MAX);
    dynbuf_add_text(&to, epoch_head);
    json_writer w = json_writer_make(&to);
    json_writer_object(&w, NULL);
    json_writer_real(&w, "epoch", e->epoch);
    json_writer_real(&w, "loss", e->loss);
    json_writer_real(&w, "training", e->train);
    json_writer_real(&w, "unrounded_test", e->soft);
    json_writer_real(&w, "rounded_test", e->rounded);
    json_writer_real(&w, "validation", e->validation);
    json_writer_fixed(&w, "seconds", e->seconds, 3);
    json_writer_end_object(&w);
    dynbuf_add_text(&to, "\n\n");
    return to.length;
}

static void put_epoch(train_sse *b, const manifest_evaluation *e) {
    char event[TRAIN_SSE_EVENT_MAX];
    size_t length = train_sse_epoch_event(e, event), head = sizeof epoch_head - 1;
    sse_producer_put(b->sse, "epoch", event + head, length - head - 2);
    b->replay(b->context, event, length);
}

static void put_progress(train_sse *b, const train_loop_progress *p) {
    char data[TRAIN_SSE_EVENT_MAX];
    double seconds = clock_seconds_since(b->started_ns);
    dynbuf to = dynbuf_over(data, sizeof data);
    json_writer w = json_writer_make(&to);
    json_writer_object(&w, NULL);
    json_writer_word(&w, "phase", p->phase);
    json_writer_uint(&w, "epoch", p->epoch);
    json_writer_uint(&w, "epochs", p->epochs);
    json_writer_uint(&w, "batch", p->batch);
    json_writer_uint(&w, "batches", p->batches);
    json_writer_uint(&w, "step", p->steps);
    json_writer_real(&w, "loss", p->loss);
    json_writer_real(&w, "accuracy", p->accuracy);
    json_writer_fixed(&w, "samples_per_second", seconds > 0 ? (double)p->samples / seconds : 0, 1);
    json_writer_end_object(&w);
    sse_producer_put(b->sse, "progress", data, to.length);
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
