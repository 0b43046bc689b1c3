/* POST /v1/classify: one image, or several as multipart/form-data. */
#include "decoder_server/http/gateway_inside.h"

#include "base/clock.h"
#include "decoder_server/http/multipart.h"
#include "decoder_server/http/reply.h"

#include <stdio.h>
#include <string.h>

static bool is_multipart(span type) {
    span media;
    return span_take(&type, ';', &media) && span_is(media, "multipart/form-data");
}

static image_type type_of(span type) {
    char text[128];
    snprintf(text, sizeof text, "%.*s", (int)type.length, type.length ? type.at : "");
    return image_type_of(text);
}

void classify_start(exchange *x) {
    span type = x->request->head.fields[FIELD_CONTENT_TYPE];
    span coding = x->request->head.fields[FIELD_CONTENT_ENCODING];
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    x->is_multipart = is_multipart(type);
    x->request->body.is_kept = true;
    if (coding.length > 0 && !span_is(coding, "identity")) {
        exchange_refuse(x, 415, "unsupported_type", "bodies with a Content-Encoding, as gzip, are not taken");
    } else if (x->is_multipart && multipart_boundary(type, boundary)) {
        exchange_refuse(x, 400, "bad_multipart", err_text());
    }
}

/* The answer. */

static unsigned status_of(const char *code) {
    return strcmp(code, "bad_image") == 0          ? 400
           : strcmp(code, "unsupported_type") == 0 ? 415
           : strcmp(code, "no_codes") == 0         ? 504
                                                   : 503;
}

static void write_question(text *t, const exchange *x, const question *q) {
    if (q->code) {
        reply_error(t, x->id, q->code, q->message);
    } else {
        const reply_times times = {q->asked_ns, q->answered_ns};
        reply_classified(t, x->id, &q->answer, x->gateway->config.set, &times);
    }
}

static void reply(exchange *x) {
    if (!x->is_multipart && x->first.code) {
        exchange_refuse(x, status_of(x->first.code), x->first.code, x->first.message);
        return;
    }
    text_reset(&x->reply);
    if (!x->is_multipart) {
        write_question(&x->reply, x, &x->first);
        exchange_send(x, 200, "application/json");
        return;
    }
    text_put(&x->reply, "{\"request\":\"%s\",\"results\":[", x->id);
    for (uint32_t i = 0; i < x->question_count; i++) {
        text_add(&x->reply, i ? "," : "");
        write_question(&x->reply, x, &x->more[i]);
    }
    text_add(&x->reply, "]}");
    exchange_send(x, 200, "application/json");
}

/* Asking. */

static void refuse_question(question *q, metrics_outcome outcome, const char *code, const char *message) {
    q->code = code;
    snprintf(q->message, sizeof q->message, "%s", message);
    metrics_count_answer(&q->of->gateway->metrics, outcome);
}

static void refuse_image(question *q, err e) {
    bool is_busy = e == ERR_MEMORY || e == ERR_STOPPED;
    refuse_question(q, is_busy ? METRICS_BUSY : METRICS_BAD_IMAGE,
                    e == ERR_STOPPED   ? "stopping"
                    : is_busy          ? "busy"
                    : e == ERR_REFUSED ? "unsupported_type"
                                       : "bad_image",
                    err_text());
}

/* A number that no question which still waits has modulo REQUESTS_MAX; 0: all wait. */
static uint64_t next_number(gateway *g) {
    for (size_t tries = 0; tries < REQUESTS_MAX; tries++) {
        if (!g->asked[++g->last_request % REQUESTS_MAX]) {
            return g->last_request;
        }
    }
    return 0;
}

/* The question's sample is read: asks the nodes. An answer follows, unless it is refused. */
static void ask_nodes(gateway *g, question *q, const uint8_t *sample) {
    uint64_t number = next_number(g);
    if (number == 0) {
        refuse_question(q, METRICS_BUSY, "busy", "too many requests are under way");
        return;
    }
    q->asked_ns = clock_now_ns();
    if (g->config.classify(g->config.context, number, sample, split_sample_elements(&g->config.shape))) {
        refuse_question(q, METRICS_BUSY, "busy", err_text());
        return;
    }
    q->number = number;
    g->asked[number % REQUESTS_MAX] = q;
    g->metrics.waiting++;
}

/* One question less that something is awaited for; with the last of them the request is answered. */
static void settle(exchange *x) {
    if (--x->unanswered == 0) {
        reply(x);
    }
}

static exchange *exchange_of(image_task *task) {
    return (exchange *)((char *)task - offsetof(exchange, images));
}

static image_source image_of(image_task *task, uint32_t index) {
    exchange *x = exchange_of(task);
    const question *q = exchange_question(x, index);
    return (image_source){q->type, (const uint8_t *)x->request->body.bytes.at + q->from, q->length};
}

/* A question's sample, or why there is none (`e`, err_text). */
static void take_sample(image_task *task, uint32_t index, err e, const uint8_t *sample) {
    exchange *x = exchange_of(task);
    question *q = exchange_question(x, index);
    if (e) {
        refuse_image(q, e);
    } else {
        ask_nodes(x->gateway, q, sample);
    }
    if (!q->number) {
        settle(x);
    }
}

const image_queue_host classify_images = {image_of, take_sample};

/* The questions of a batch; false: it was refused. */
static bool read_batch(exchange *x) {
    const http_request *r = x->request;
    multipart_part parts[EXCHANGE_BATCH_MAX];
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    err e = multipart_boundary(r->head.fields[FIELD_CONTENT_TYPE], boundary);
    e = e ? e
          : multipart_read((const uint8_t *)r->body.bytes.at, r->body.bytes.length, boundary, parts, EXCHANGE_BATCH_MAX,
                           &x->question_count);
    if (e) {
        x->question_count = 0;
        exchange_refuse(x, e == ERR_FULL ? 413 : 400, e == ERR_FULL ? "too_large" : "bad_multipart", err_text());
        return false;
    }
    if (!exchange_make_batch(x)) {
        x->question_count = 0;
        exchange_refuse(x, 503, "busy", "the requests under way leave no memory for this one");
        return false;
    }
    for (uint32_t i = 0; i < x->question_count; i++) {
        x->more[i] =
            (question){.of = x, .type = type_of(parts[i].type), .from = parts[i].from, .length = parts[i].length};
    }
    return true;
}

void classify_ask(exchange *x) {
    const http_request *r = x->request;
    if (x->is_multipart) {
        if (!read_batch(x)) {
            return;
        }
    } else {
        x->first =
            (question){.of = x, .type = type_of(r->head.fields[FIELD_CONTENT_TYPE]), .length = r->body.bytes.length};
        x->question_count = 1;
    }
    x->unanswered = x->question_count + 1; /* this function, too, so that no answer goes out before the end of it */
    image_queue_add(x->gateway->images, &x->images, x->question_count);
    settle(x);
}

/* Answering. */

static void take_outcome(question *q) {
    switch (q->answer.outcome) {
    case ANSWER_CLASSIFIED:
        metrics_count_answer(&q->of->gateway->metrics, q->answer.degraded ? METRICS_DEGRADED : METRICS_CLASSIFIED);
        metrics_count_time(&q->of->gateway->metrics, (double)(q->answered_ns - q->asked_ns) * 1e-9);
        break;
    case ANSWER_NO_NODES:
        refuse_question(q, METRICS_NO_NODES, "no_nodes", "no node is ready");
        break;
    case ANSWER_NO_CODES:
        refuse_question(q, METRICS_NO_CODES, "no_codes", "no node answered by the deadline");
        break;
    case ANSWER_STOPPING:
        refuse_question(q, METRICS_BUSY, "stopping", "the server is stopping");
        break;
    case ANSWER_BUSY:
        refuse_question(q, METRICS_BUSY, "busy", "too many requests are under way");
        break;
    }
}

void classify_answered(gateway *g, question *q, const answer *a) {
    g->asked[q->number % REQUESTS_MAX] = NULL;
    g->metrics.waiting--;
    q->number = 0;
    q->answer = *a;
    q->answered_ns = clock_now_ns();
    take_outcome(q);
    settle(q->of);
}

void classify_forget(gateway *g, exchange *x) {
    if (g->images) {
        image_queue_cancel(g->images, &x->images);
    }
    for (uint32_t i = 0; i < x->question_count && x->unanswered > 0; i++) {
        question *q = exchange_question(x, i);
        if (q->number) {
            g->asked[q->number % REQUESTS_MAX] = NULL;
            g->metrics.waiting--;
        }
    }
}
