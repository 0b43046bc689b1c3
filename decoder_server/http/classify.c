/* POST /v1/classify: one image, or several as multipart/form-data. */
#include "decoder_server/http/gateway_inside.h"

#include "base/clock.h"
#include "decoder_server/http/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { POST_BUFFER = 4096 };

/* A media type, in any case of letters, with or without parameters. */
static bool is_type(const char *type, const char *wanted) {
    size_t length = strlen(wanted);
    return type && strncasecmp(type, wanted, length) == 0 && (type[length] == '\0' || strchr("; \t", type[length]));
}

/* The body. */

static void keep(exchange *x, const char *bytes, size_t length) {
    if (x->is_too_long || length == 0) {
        return;
    }
    x->is_crowded = length <= GATEWAY_BODY_MAX - x->length && !exchange_make_room(&x->gateway->pool, x, length);
    x->is_too_long = x->is_crowded || length > GATEWAY_BODY_MAX - x->length;
    if (x->is_too_long) {
        exchange_drop_body(&x->gateway->pool, x);
        return;
    }
    memcpy(x->body + x->length, bytes, length);
    x->length += length;
}

static enum MHD_Result on_part(void *context, enum MHD_ValueKind value, const char *key, const char *file,
                               const char *type, const char *encoding, const char *bytes, uint64_t offset,
                               size_t length) {
    (void)value, (void)key, (void)file, (void)encoding;
    exchange *x = context;
    if (offset == 0) {
        if (x->question_count == EXCHANGE_BATCH_MAX) {
            x->has_too_many = true;
            return MHD_NO;
        }
        question *q = &x->more[x->question_count++];
        *q = (question){.of = x, .type = image_type_of(type), .from = x->length};
    }
    keep(x, bytes, length);
    x->more[x->question_count - 1].length = x->length - x->more[x->question_count - 1].from;
    return MHD_YES;
}

static enum MHD_Result refuse_crowded(exchange *x) {
    return exchange_refuse(x, MHD_HTTP_SERVICE_UNAVAILABLE, "busy",
                           "the requests under way leave no memory for this one");
}

enum MHD_Result classify_start(exchange *x) {
    const char *type = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);
    const char *length = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (length && strtoull(length, NULL, 10) > BODY_END) {
        return exchange_refuse(x, MHD_HTTP_CONTENT_TOO_LARGE, "too_large", "the body has more than 1 MiB");
    }
    if (!is_type(type, "multipart/form-data")) {
        x->first = (question){.of = x, .type = image_type_of(type)};
        x->question_count = 1;
        return MHD_YES;
    }
    x->is_multipart = true;
    if (!exchange_make_batch(&x->gateway->pool, x)) {
        return refuse_crowded(x);
    }
    x->multipart = MHD_create_post_processor(x->connection, POST_BUFFER, on_part, x);
    if (!x->multipart) {
        return exchange_refuse(x, MHD_HTTP_BAD_REQUEST, "bad_multipart", "the multipart type names no boundary");
    }
    return MHD_YES;
}

void classify_take(exchange *x, const char *bytes, size_t length) {
    if (!x->is_multipart) {
        keep(x, bytes, length);
    } else if (!x->is_bad_multipart && !x->is_too_long && !x->has_too_many) {
        x->is_bad_multipart = MHD_post_process(x->multipart, bytes, length) != MHD_YES;
    }
}

/* Asking. */

static void refuse_question(question *q, metrics_outcome outcome, const char *code, const char *message) {
    q->code = code;
    snprintf(q->message, sizeof q->message, "%s", message);
    metrics_count_answer(&q->of->gateway->metrics, outcome);
}

static void refuse_image(question *q, err e) {
    bool is_busy = e == ERR_MEMORY;
    refuse_question(q, is_busy ? METRICS_BUSY : METRICS_BAD_IMAGE,
                    is_busy            ? "busy"
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

static void ask_one(gateway *g, question *q) {
    static const char full[] = "too many requests are under way";
    err e = image_read(q->type, q->of->body + q->from, q->length, &g->config.shape, g->sample);
    if (e) {
        refuse_image(q, e);
        return;
    }
    uint64_t number = next_number(g);
    if (number == 0) {
        refuse_question(q, METRICS_BUSY, "busy", full);
        return;
    }
    q->asked_ns = clock_now_ns();
    if (g->config.classify(g->config.context, number, g->sample, split_sample_elements(&g->config.shape))) {
        refuse_question(q, METRICS_BUSY, "busy", err_text());
        return;
    }
    q->number = number;
    g->asked[number % REQUESTS_MAX] = q;
    g->metrics.waiting++;
    q->of->unanswered++;
}

static enum MHD_Result end_multipart(exchange *x) {
    bool is_whole = MHD_destroy_post_processor(x->multipart) == MHD_YES;
    x->multipart = NULL;
    if (x->has_too_many) {
        char text[80];
        snprintf(text, sizeof text, "a batch has at most %d images", EXCHANGE_BATCH_MAX);
        return exchange_refuse(x, MHD_HTTP_CONTENT_TOO_LARGE, "too_large", text);
    }
    if (!x->is_too_long && (!is_whole || x->is_bad_multipart || x->question_count == 0)) {
        return exchange_refuse(x, MHD_HTTP_BAD_REQUEST, "bad_multipart",
                               x->question_count ? "the multipart body is damaged" : "the batch has no parts");
    }
    return MHD_YES;
}

enum MHD_Result classify_ask(exchange *x) {
    if (x->multipart) {
        enum MHD_Result ended = end_multipart(x);
        if (ended != MHD_YES || x->status) {
            return ended;
        }
    }
    if (x->is_crowded) {
        return refuse_crowded(x);
    }
    if (x->is_too_long) {
        return exchange_refuse(x, MHD_HTTP_CONTENT_TOO_LARGE, "too_large", "the body has more than 1 MiB");
    }
    if (!x->is_multipart) {
        x->first.length = x->length;
    }
    for (uint32_t i = 0; i < x->question_count; i++) {
        ask_one(x->gateway, exchange_question(x, i));
    }
    if (x->unanswered == 0) {
        return classify_reply(x);
    }
    x->is_asked = true;
    MHD_suspend_connection(x->connection);
    return MHD_YES;
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
    exchange *x = q->of;
    g->asked[q->number % REQUESTS_MAX] = NULL;
    g->metrics.waiting--;
    q->number = 0;
    q->answer = *a;
    q->answered_ns = clock_now_ns();
    take_outcome(q);
    if (--x->unanswered == 0) {
        gateway_resume(g, x);
    }
}

void classify_forget(gateway *g, exchange *x) {
    for (uint32_t i = 0; i < x->question_count && x->unanswered > 0; i++) {
        question *q = exchange_question(x, i);
        if (q->number) {
            g->asked[q->number % REQUESTS_MAX] = NULL;
            g->metrics.waiting--;
            x->unanswered--;
        }
    }
}

static unsigned status_of(const char *code) {
    return strcmp(code, "bad_image") == 0          ? MHD_HTTP_BAD_REQUEST
           : strcmp(code, "unsupported_type") == 0 ? MHD_HTTP_UNSUPPORTED_MEDIA_TYPE
           : strcmp(code, "no_codes") == 0         ? MHD_HTTP_GATEWAY_TIMEOUT
                                                   : MHD_HTTP_SERVICE_UNAVAILABLE;
}

static void write_question(text *t, const exchange *x, const question *q) {
    if (q->code) {
        reply_error(t, x->id, q->code, q->message);
    } else {
        const reply_times times = {q->asked_ns, q->answered_ns};
        reply_classified(t, x->id, &q->answer, x->gateway->config.set, &times);
    }
}

enum MHD_Result classify_reply(exchange *x) {
    if (!x->is_multipart && x->first.code) {
        return exchange_refuse(x, status_of(x->first.code), x->first.code, x->first.message);
    }
    text_reset(&x->reply);
    if (!x->is_multipart) {
        write_question(&x->reply, x, &x->first);
        return exchange_send(x, MHD_HTTP_OK, "application/json");
    }
    text_put(&x->reply, "{\"request\":\"%s\",\"results\":[", x->id);
    for (uint32_t i = 0; i < x->question_count; i++) {
        text_add(&x->reply, i ? "," : "");
        write_question(&x->reply, x, &x->more[i]);
    }
    text_add(&x->reply, "]}");
    return exchange_send(x, MHD_HTTP_OK, "application/json");
}
