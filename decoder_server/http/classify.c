#include "decoder_server/http/classify.h"

#include "base/clock.h"
#include "decoder_server/http/json_views.h"
#include "decoder_server/http/multipart.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct classify {
    classify_config config;
    uint8_t *pieces;                             /* a sample by portion, one after the other */
    image_queue *images;                         /* NULL once it has stopped */
    classify_item *asked[CLASSIFY_REQUESTS_MAX]; /* by number % CLASSIFY_REQUESTS_MAX */
    uint64_t last_number;
};

static classify_item *item_of(api_request *r, uint32_t i) {
    classify_items *all = &r->classify;
    return all->batch ? &all->batch->items[i] : &all->single;
}

static bool is_multipart(span type) {
    span media;
    return span_take(&type, ';', &media) && span_is(media, "multipart/form-data");
}

void classify_start(classify *c, api_request *r) {
    span type = r->http->head.fields[REQUEST_FIELD_CONTENT_TYPE];
    span coding = r->http->head.fields[REQUEST_FIELD_CONTENT_ENCODING];
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    r->classify.of = c;
    r->classify.is_multipart = is_multipart(type);
    r->http->body.is_kept = true;
    if (coding.length > 0 && !span_is(coding, "identity")) {
        api_request_refuse(r, 415, "unsupported_type", "bodies with a Content-Encoding, as gzip, are not taken");
    } else if (r->classify.is_multipart && multipart_boundary(type, boundary)) {
        api_request_refuse(r, 400, "bad_multipart", err_text());
    }
}

/* The answer. */

static unsigned status_of(const char *code) {
    return strcmp(code, "bad_image") == 0          ? 400
           : strcmp(code, "bad_portion") == 0      ? 400
           : strcmp(code, "unknown_sample") == 0   ? 404
           : strcmp(code, "unsupported_type") == 0 ? 415
           : strcmp(code, "timeout") == 0          ? 504
                                                   : 503;
}

static void write_answer(json_writer *w, const classify_item *i, const classification *answer) {
    const json_views_times times = {i->asked_ns, i->answered_ns};
    const classify_config *config = &i->request->classify.of->config;
    json_views_classification(w, i->request->id, answer, config->classes, partition_sample_elements(&config->shape),
                              &times);
}

static void write_batch(json_writer *w, const api_request *r) {
    const classify_batch *b = r->classify.batch;
    json_writer_object(w, NULL);
    json_writer_word(w, "request", r->id);
    json_writer_array(w, "results");
    for (uint32_t i = 0; i < r->classify.count; i++) {
        if (b->items[i].code) {
            json_views_error(w, r->id, b->items[i].code, b->items[i].message);
        } else {
            write_answer(w, &b->items[i], &b->answers[i]);
        }
    }
    json_writer_end_array(w);
    json_writer_end_object(w);
}

/* Something that the request waited for is there; with the last of it the request is answered. */
static void finish_one(api_request *r) {
    const classify_items *all = &r->classify;
    if (--r->classify.pending > 0) {
        return;
    }
    if (!all->is_multipart && all->single.code) {
        api_request_refuse(r, status_of(all->single.code), all->single.code, all->single.message);
        return;
    }
    if (all->is_multipart) {
        json_writer w = json_writer_make(&r->reply);
        write_batch(&w, r);
    }
    api_request_send(r, 200, "application/json");
}

/* Asking. */

static void refuse_item(classify_item *i, metrics_outcome outcome, const char *code, const char *message) {
    i->code = code;
    snprintf(i->message, sizeof i->message, "%s", message);
    metrics_count_answer(i->request->classify.of->config.metrics, outcome);
}

static void refuse_image(classify_item *i, err e) {
    bool is_busy = e == ERR_MEMORY || e == ERR_STOPPED;
    refuse_item(i, is_busy ? METRICS_BUSY : METRICS_BAD_IMAGE,
                e == ERR_STOPPED   ? "stopping"
                : is_busy          ? "busy"
                : e == ERR_REFUSED ? "unsupported_type"
                                   : "bad_image",
                err_text());
}

/* A place for an item that waits, and its number; NULL: there is none. */
static classify_item **next_place(classify *c, uint64_t *number) {
    for (size_t tries = 0; tries < CLASSIFY_REQUESTS_MAX; tries++) {
        *number = ++c->last_number;
        classify_item **place = &c->asked[*number % CLASSIFY_REQUESTS_MAX];
        if (!*place) {
            return place;
        }
    }
    return NULL;
}

static void stop_waiting(classify *c, classify_item *i) {
    c->asked[i->number % CLASSIFY_REQUESTS_MAX] = NULL;
    c->config.metrics->waiting--;
    i->number = 0;
}

/* What each node gets of a whole sample. */
static void divide(classify *c, const uint8_t *sample, question_portion portions[PARTITION_PORTIONS_MAX]) {
    const partition *s = &c->config.shape;
    size_t length = partition_portion_elements(s);
    for (uint32_t k = 0; k < s->portions; k++) {
        uint8_t *piece = c->pieces + k * length;
        partition_take(s, k, sample, piece);
        portions[k] = (question_portion){piece, length, FEWBIT__PORTION_FORMAT__FORMAT_RAW};
    }
}

/* An answer follows, unless it is refused. */
static void ask(classify *c, classify_item *i, const uint8_t *sample) {
    uint64_t number;
    classify_item **place = next_place(c, &number);
    if (!place) {
        refuse_item(i, METRICS_BUSY, "busy", "too many requests are under way");
        finish_one(i->request);
        return;
    }
    *place = i;
    i->number = number;
    i->asked_ns = clock_now_ns();
    c->config.metrics->waiting++;
    question_portion portions[PARTITION_PORTIONS_MAX];
    question q = {.portions = portions};
    divide(c, sample, portions);
    if (c->config.ask(c->config.context, number, &q)) {
        stop_waiting(c, i);
        refuse_item(i, METRICS_BUSY, "busy", err_text());
        finish_one(i->request);
    }
}

static api_request *request_of(image_task *task) {
    return (api_request *)((char *)task - offsetof(api_request, classify.images));
}

static image_source image_of(image_task *task, uint32_t index) {
    api_request *r = request_of(task);
    const classify_item *i = item_of(r, index);
    return (image_source){i->type, (const uint8_t *)r->http->body.bytes.at + i->from, i->length};
}

/* An item's sample, or why there is none (`e`, err_text). */
static void take_sample(image_task *task, uint32_t index, err e, const uint8_t *sample) {
    api_request *r = request_of(task);
    classify_item *i = item_of(r, index);
    if (e) {
        refuse_image(i, e);
        finish_one(r);
    } else {
        ask(r->classify.of, i, sample);
    }
}

static void refuse_batch(api_request *r, unsigned status, const char *code, const char *message) {
    r->classify.count = 0;
    api_request_refuse(r, status, code, message);
}

/* The items of a batch; false: it was refused. */
static bool read_batch(api_request *r) {
    const http_request *http = r->http;
    classify_items *all = &r->classify;
    multipart_part parts[CLASSIFY_BATCH_MAX];
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    err e = multipart_boundary(http->head.fields[REQUEST_FIELD_CONTENT_TYPE], boundary);
    e = e ? e
          : multipart_read((const uint8_t *)http->body.bytes.at, http->body.bytes.length, boundary, parts,
                           CLASSIFY_BATCH_MAX, &all->count);
    if (e) {
        refuse_batch(r, e == ERR_FULL ? 413 : 400, e == ERR_FULL ? "too_large" : "bad_multipart", err_text());
        return false;
    }
    all->batch = http_claim_memory(r->http, sizeof *all->batch) ? calloc(1, sizeof *all->batch) : NULL;
    if (!all->batch) {
        refuse_batch(r, 503, "busy", "the requests under way leave no memory for this one");
        return false;
    }
    for (uint32_t i = 0; i < all->count; i++) {
        all->batch->items[i] = (classify_item){.request = r,
                                               .type = image_type_of(parts[i].type.at, parts[i].type.length),
                                               .from = parts[i].from,
                                               .length = parts[i].length};
    }
    return true;
}

void classify_take(classify *c, api_request *r) {
    classify_items *all = &r->classify;
    const http_request *http = r->http;
    if (!all->is_multipart) {
        all->count = 1;
        all->single.request = r;
        span type = http->head.fields[REQUEST_FIELD_CONTENT_TYPE];
        all->single.type = image_type_of(type.at, type.length);
        all->single.length = http->body.bytes.length;
    } else if (!read_batch(r)) {
        return;
    }
    all->pending = all->count + 1; /* this function, too, so that no answer goes out before the end of it */
    image_queue_add(c->images, &all->images, all->count);
    finish_one(r);
}

/* Answering. */

/* The only answer of its request is written at once, those of a batch once all are there. */
static void keep_answer(classify *c, classify_item *i, const classification *answer) {
    classify_batch *b = i->request->classify.batch;
    metrics_count_answer(c->config.metrics, answer->degraded ? METRICS_DEGRADED : METRICS_CLASSIFIED);
    metrics_count_time(c->config.metrics, (double)(i->answered_ns - i->asked_ns) * 1e-9);
    if (b) {
        b->answers[i - b->items] = *answer;
    } else {
        json_writer w = json_writer_make(&i->request->reply);
        write_answer(&w, i, answer);
    }
}

static const struct {
    metrics_outcome outcome;
    const char *code, *message;
} refusals[] = {
    [CLASSIFICATION_NO_NODES] = {METRICS_NO_NODES, "no_nodes", "no node is ready"},
    [CLASSIFICATION_TIMEOUT] = {METRICS_TIMEOUT, "timeout", "no node answered by the deadline"},
    [CLASSIFICATION_BUSY] = {METRICS_BUSY, "busy", "too many requests are under way"},
    [CLASSIFICATION_STOPPING] = {METRICS_BUSY, "stopping", "the server is stopping"},
    [CLASSIFICATION_FAILED] = {METRICS_BUSY, "busy",
                               "the nets gave no numbers (no memory for them?): see the server's log"},
    [CLASSIFICATION_UNKNOWN_SAMPLE] = {METRICS_UNKNOWN_SAMPLE, "unknown_sample", "no node has a sample of this id"},
    [CLASSIFICATION_REFUSED] = {METRICS_BAD_PORTION, "bad_portion", NULL},
};

void classify_answer(classify *c, uint64_t number, const classification *answer) {
    classify_item *i = c->asked[number % CLASSIFY_REQUESTS_MAX];
    if (!i || i->number != number) {
        return; /* the client has gone */
    }
    stop_waiting(c, i);
    i->answered_ns = clock_now_ns();
    if (answer->outcome == CLASSIFICATION_DONE) {
        keep_answer(c, i, answer);
    } else {
        const char *message = refusals[answer->outcome].message;
        refuse_item(i, refusals[answer->outcome].outcome, refusals[answer->outcome].code,
                    message ? message : answer->text);
    }
    finish_one(i->request);
}

void classify_forget(api_request *r) {
    classify_items *all = &r->classify;
    if (all->of && all->of->images) {
        image_queue_cancel(all->of->images, &all->images);
    }
    for (uint32_t i = 0; i < all->count && all->pending > 0; i++) {
        classify_item *item = item_of(r, i);
        if (item->number) {
            stop_waiting(all->of, item);
        }
    }
    free(all->batch);
}

/* Start and end. */

err classify_new(classify **out, uv_loop_t *loop, const classify_config *config) {
    static const image_queue_callbacks callbacks = {image_of, take_sample};
    classify *c = calloc(1, sizeof *c);
    if (!c) {
        return err_fail(ERR_MEMORY, "no memory for requests");
    }
    c->config = *config;
    const image_shape shape = {config->shape.channels, config->shape.height, config->shape.width};
    c->pieces = malloc(image_shape_elements(&shape));
    err e = c->pieces ? ERR_OK : err_fail(ERR_MEMORY, "no memory for requests");
    e = e ? e : image_queue_new(&c->images, loop, &shape, &callbacks);
    if (e) {
        free(c->pieces);
        free(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void classify_stop(classify *c) {
    const classification busy = {.outcome = CLASSIFICATION_BUSY};
    image_queue_close(c->images);
    c->images = NULL;
    for (size_t i = 0; i < CLASSIFY_REQUESTS_MAX; i++) {
        if (c->asked[i]) {
            classify_answer(c, c->asked[i]->number, &busy);
        }
    }
}

void classify_free(classify *c) {
    if (c && c->images) {
        image_queue_close(c->images);
    }
    if (c) {
        free(c->pieces);
    }
    free(c);
}
