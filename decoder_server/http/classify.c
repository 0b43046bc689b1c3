/* POST /v1/classify: one image, or several as multipart/form-data. */
#include "decoder_server/http/http_api_inside.h"

#include "base/clock.h"
#include "decoder_server/http/json_views.h"
#include "decoder_server/http/multipart.h"

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

void classify_start(api_request *x) {
    span type = x->request->head.fields[REQUEST_FIELD_CONTENT_TYPE];
    span coding = x->request->head.fields[REQUEST_FIELD_CONTENT_ENCODING];
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    x->is_multipart = is_multipart(type);
    x->request->body.is_kept = true;
    if (coding.length > 0 && !span_is(coding, "identity")) {
        api_request_refuse(x, 415, "unsupported_type", "bodies with a Content-Encoding, as gzip, are not taken");
    } else if (x->is_multipart && multipart_boundary(type, boundary)) {
        api_request_refuse(x, 400, "bad_multipart", err_text());
    }
}

/* The answer. */

static unsigned status_of(const char *code) {
    return strcmp(code, "bad_image") == 0          ? 400
           : strcmp(code, "unsupported_type") == 0 ? 415
           : strcmp(code, "timeout") == 0          ? 504
                                                   : 503;
}

static void write_item(json_writer *w, const api_request *x, const classify_item *q) {
    if (q->code) {
        json_views_error(w, x->id, q->code, q->message);
    } else {
        const json_views_times times = {q->asked_ns, q->answered_ns};
        json_views_classification(w, x->id, &q->answer, x->api->config.set, &times);
    }
}

static void reply(api_request *x) {
    if (!x->is_multipart && x->first.code) {
        api_request_refuse(x, status_of(x->first.code), x->first.code, x->first.message);
        return;
    }
    json_writer w = json_writer_make(&x->reply);
    dynbuf_reset(&x->reply);
    if (!x->is_multipart) {
        write_item(&w, x, &x->first);
        api_request_send(x, 200, "application/json");
        return;
    }
    json_writer_object(&w, NULL);
    json_writer_word(&w, "request", x->id);
    json_writer_array(&w, "results");
    for (uint32_t i = 0; i < x->item_count; i++) {
        write_item(&w, x, &x->more[i]);
    }
    json_writer_end_array(&w);
    json_writer_end_object(&w);
    api_request_send(x, 200, "application/json");
}

/* Asking. */

static void refuse_item(classify_item *q, metrics_outcome outcome, const char *code, const char *message) {
    q->code = code;
    snprintf(q->message, sizeof q->message, "%s", message);
    metrics_count_answer(&q->of->api->metrics, outcome);
}

static void refuse_image(classify_item *q, err e) {
    bool is_busy = e == ERR_MEMORY || e == ERR_STOPPED;
    refuse_item(q, is_busy ? METRICS_BUSY : METRICS_BAD_IMAGE,
                e == ERR_STOPPED   ? "stopping"
                : is_busy          ? "busy"
                : e == ERR_REFUSED ? "unsupported_type"
                                   : "bad_image",
                err_text());
}

/* A number that no question which still waits has modulo REQUESTS_MAX; 0: all wait. */
static uint64_t next_number(http_api *api) {
    for (size_t tries = 0; tries < REQUESTS_MAX; tries++) {
        if (!api->asked[++api->last_request % REQUESTS_MAX]) {
            return api->last_request;
        }
    }
    return 0;
}

/* The question's sample is read: asks the nodes. An answer follows, unless it is refused. */
static void ask_nodes(http_api *api, classify_item *q, const uint8_t *sample) {
    uint64_t number = next_number(api);
    if (number == 0) {
        refuse_item(q, METRICS_BUSY, "busy", "too many requests are under way");
        return;
    }
    q->asked_ns = clock_now_ns();
    if (api->config.classify(api->config.context, number, sample, partition_sample_elements(&api->config.shape))) {
        refuse_item(q, METRICS_BUSY, "busy", err_text());
        return;
    }
    q->number = number;
    api->asked[number % REQUESTS_MAX] = q;
    api->metrics.waiting++;
}

/* One question less that something is awaited for; with the last of them the request is answered. */
static void finish_item(api_request *x) {
    if (--x->unanswered == 0) {
        reply(x);
    }
}

static api_request *api_request_of(image_task *task) {
    return (api_request *)((char *)task - offsetof(api_request, images));
}

static image_source image_of(image_task *task, uint32_t index) {
    api_request *x = api_request_of(task);
    const classify_item *q = api_request_item(x, index);
    return (image_source){q->type, (const uint8_t *)x->request->body.bytes.at + q->from, q->length};
}

/* A question's sample, or why there is none (`e`, err_text). */
static void take_sample(image_task *task, uint32_t index, err e, const uint8_t *sample) {
    api_request *x = api_request_of(task);
    classify_item *q = api_request_item(x, index);
    if (e) {
        refuse_image(q, e);
    } else {
        ask_nodes(x->api, q, sample);
    }
    if (!q->number) {
        finish_item(x);
    }
}

const image_queue_callbacks classify_images = {image_of, take_sample};

/* The questions of a batch; false: it was refused. */
static bool read_batch(api_request *x) {
    const http_request *r = x->request;
    multipart_part parts[API_REQUEST_BATCH_MAX];
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    err e = multipart_boundary(r->head.fields[REQUEST_FIELD_CONTENT_TYPE], boundary);
    e = e ? e
          : multipart_read((const uint8_t *)r->body.bytes.at, r->body.bytes.length, boundary, parts,
                           API_REQUEST_BATCH_MAX, &x->item_count);
    if (e) {
        x->item_count = 0;
        api_request_refuse(x, e == ERR_FULL ? 413 : 400, e == ERR_FULL ? "too_large" : "bad_multipart", err_text());
        return false;
    }
    if (!api_request_make_batch(x)) {
        x->item_count = 0;
        api_request_refuse(x, 503, "busy", "the requests under way leave no memory for this one");
        return false;
    }
    for (uint32_t i = 0; i < x->item_count; i++) {
        x->more[i] =
            (classify_item){.of = x, .type = type_of(parts[i].type), .from = parts[i].from, .length = parts[i].length};
    }
    return true;
}

void classify_ask(api_request *x) {
    const http_request *r = x->request;
    if (x->is_multipart) {
        if (!read_batch(x)) {
            return;
        }
    } else {
        x->first = (classify_item){
            .of = x, .type = type_of(r->head.fields[REQUEST_FIELD_CONTENT_TYPE]), .length = r->body.bytes.length};
        x->item_count = 1;
    }
    x->unanswered = x->item_count + 1; /* this function, too, so that no answer goes out before the end of it */
    image_queue_add(x->api->images, &x->images, x->item_count);
    finish_item(x);
}

/* Answering. */

static void take_outcome(classify_item *q) {
    switch (q->answer.outcome) {
    case CLASSIFICATION_DONE:
        metrics_count_answer(&q->of->api->metrics, q->answer.degraded ? METRICS_DEGRADED : METRICS_CLASSIFIED);
        metrics_count_time(&q->of->api->metrics, (double)(q->answered_ns - q->asked_ns) * 1e-9);
        break;
    case CLASSIFICATION_NO_NODES:
        refuse_item(q, METRICS_NO_NODES, "no_nodes", "no node is ready");
        break;
    case CLASSIFICATION_TIMEOUT:
        refuse_item(q, METRICS_TIMEOUT, "timeout", "no node answered by the deadline");
        break;
    case CLASSIFICATION_STOPPING:
        refuse_item(q, METRICS_BUSY, "stopping", "the server is stopping");
        break;
    case CLASSIFICATION_BUSY:
        refuse_item(q, METRICS_BUSY, "busy", "too many requests are under way");
        break;
    }
}

void classify_answered(http_api *api, classify_item *q, const classification *a) {
    api->asked[q->number % REQUESTS_MAX] = NULL;
    api->metrics.waiting--;
    q->number = 0;
    q->answer = *a;
    q->answered_ns = clock_now_ns();
    take_outcome(q);
    finish_item(q->of);
}

void classify_forget(http_api *api, api_request *x) {
    if (api->images) {
        image_queue_cancel(api->images, &x->images);
    }
    for (uint32_t i = 0; i < x->item_count && x->unanswered > 0; i++) {
        classify_item *q = api_request_item(x, i);
        if (q->number) {
            api->asked[q->number % REQUESTS_MAX] = NULL;
            api->metrics.waiting--;
        }
    }
}
