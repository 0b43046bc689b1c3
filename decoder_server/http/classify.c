#include "decoder_server/http/classify.h"

#include "base/clock.h"
#include "decoder_server/http/classify_body.h"
#include "decoder_server/http/json_views.h"
#include "experiment/derive.h"

#include <stdio.h>
#include <stdlib.h>

/* Samples of one request that are asked about at a time. */
enum { SAMPLES_AT_ONCE = 64 };

struct classify {
    classify_config config;
    partition shape; /* of whole samples; 0 portions: they are not images */
    portion_list portions;
    size_t raw_bytes;                            /* of a sample */
    uint8_t *pieces;                             /* a sample by portion, one after the other */
    image_queue *images;                         /* NULL once it has stopped */
    classify_item *asked[CLASSIFY_REQUESTS_MAX]; /* by number % CLASSIFY_REQUESTS_MAX */
    uint64_t last_number;
};

static classify_item *item_of(api_request *r, uint32_t i) {
    classify_items *all = &r->classify;
    return all->batch ? &all->batch->items[i] : &all->single;
}

void classify_start(classify *c, api_request *r) {
    r->classify.of = c;
    r->http->body.is_kept = classify_body_accept(r);
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

static bool is_list(const classify_items *all) {
    return all->batch != NULL;
}

/* The id that an item is about; NULL: it is not by id. */
static const char *sample_of(const classify_items *all, uint32_t i) {
    return all->form == CLASSIFY_SAMPLES ? json_question_sample(&all->json, i) : NULL;
}

static void write_answer(json_writer *w, const classify_item *i, const classification *answer, const char *sample) {
    const classify_config *config = &i->request->classify.of->config;
    const json_views_answer a = {
        i->request->id, sample,        answer, config->classes, i->request->classify.of->raw_bytes,
        i->asked_ns,    i->answered_ns};
    json_views_classification(w, &a);
}

static void write_list(json_writer *w, const api_request *r) {
    const classify_batch *b = r->classify.batch;
    json_writer_object(w, NULL);
    json_writer_word(w, "request", r->id);
    json_writer_array(w, "results");
    for (uint32_t i = 0; i < r->classify.count; i++) {
        const classify_item *item = &b->items[i];
        const char *sample = sample_of(&r->classify, i);
        if (item->code && sample) {
            json_views_sample_error(w, r->id, sample, status_of(item->code), item->code, item->message);
        } else if (item->code) {
            json_views_error(w, r->id, item->code, item->message);
        } else {
            write_answer(w, item, &b->answers[i], sample);
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
    if (!is_list(all) && all->single.code) {
        api_request_refuse(r, status_of(all->single.code), all->single.code, all->single.message);
        return;
    }
    if (is_list(all)) {
        json_writer w = json_writer_make(&r->reply);
        write_list(&w, r);
    }
    api_request_send(r, 200, "application/json");
}

static void ask_samples(classify *c, api_request *r);

/* So is an item's answer, or why it has none. */
static void finish_item(api_request *r) {
    if (r->classify.form == CLASSIFY_SAMPLES) {
        r->classify.answered++;
        ask_samples(r->classify.of, r);
    }
    finish_one(r);
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
    const partition *s = &c->shape;
    size_t length = partition_portion_elements(s);
    for (uint32_t k = 0; k < s->portions; k++) {
        uint8_t *piece = c->pieces + k * length;
        partition_take(s, k, sample, piece);
        portions[k] = (question_portion){piece, length, FEWBIT__PORTION_FORMAT__FORMAT_RAW};
    }
}

/* An answer follows, unless it is refused. */
static void ask(classify *c, classify_item *i, const question *q) {
    uint64_t number;
    classify_item **place = c->images ? next_place(c, &number) : NULL;
    if (!place) {
        refuse_item(i, METRICS_BUSY, c->images ? "busy" : "stopping",
                    c->images ? "too many requests are under way" : "the server is stopping");
        finish_item(i->request);
        return;
    }
    *place = i;
    i->number = number;
    i->asked_ns = clock_now_ns();
    c->config.metrics->waiting++;
    if (c->config.ask(c->config.context, number, q)) {
        stop_waiting(c, i);
        refuse_item(i, METRICS_BUSY, "busy", err_text());
        finish_item(i->request);
    }
}

static void ask_whole(classify *c, classify_item *i, const uint8_t *sample) {
    question_portion portions[PARTITION_PORTIONS_MAX];
    divide(c, sample, portions);
    ask(c, i, &(question){.portions = portions});
}

/* Those after the samples that are asked about already; so many at a time, that nodes answer them in time. */
static void ask_samples(classify *c, api_request *r) {
    classify_items *all = &r->classify;
    if (all->is_asking) {
        return; /* the loop below goes on */
    }
    all->is_asking = true;
    while (all->asked < all->count && all->asked - all->answered < SAMPLES_AT_ONCE) {
        uint32_t i = all->asked++;
        ask(c, item_of(r, i), &(question){.sample = sample_of(all, i)});
    }
    all->is_asking = false;
}

/* Images. */

static api_request *request_of(image_task *task) {
    return (api_request *)((char *)task - offsetof(api_request, classify.images));
}

static image_source image_of(image_task *task, uint32_t index) {
    api_request *r = request_of(task);
    if (r->classify.form == CLASSIFY_PORTIONS) {
        const portion_picture *p = portion_question_picture(r->classify.portions, index);
        const portion_list *list = &r->classify.of->portions;
        return (image_source){p->type, p->bytes, p->length, portion_input_picture(&list->of[p->portion].shape)};
    }
    const classify_item *i = item_of(r, index);
    const partition *s = &r->classify.of->shape;
    return (image_source){
        i->type, (const uint8_t *)r->http->body.bytes.at + i->from, i->length, {s->channels, s->height, s->width}};
}

/* With the last picture of a sample by portion the nodes are asked. */
static void take_picture(api_request *r, uint32_t index, err e, const uint8_t *sample) {
    classify_items *all = &r->classify;
    const portion_picture *p = portion_question_picture(all->portions, index);
    const experiment_portion *of = &all->of->portions.of[p->portion];
    if (!e) {
        memcpy(portion_question_picture_values(all->portions, index), sample, portion_shape_bytes(&of->shape));
    } else if (!all->single.code) {
        err_prefix(e, "portion '%s'", of->name);
        refuse_image(&all->single, e);
    }
    if (index + 1 < portion_question_pictures(all->portions)) {
        return;
    }
    if (all->single.code) {
        finish_item(r);
        return;
    }
    question q = portion_question_get(all->portions);
    ask(all->of, &all->single, &q);
}

/* An image's elements, or why there are none (`e`, err_text). */
static void take_sample(image_task *task, uint32_t index, err e, const uint8_t *sample) {
    api_request *r = request_of(task);
    if (r->classify.form == CLASSIFY_PORTIONS) {
        take_picture(r, index, e, sample);
        return;
    }
    classify_item *i = item_of(r, index);
    if (e) {
        refuse_image(i, e);
        finish_item(r);
    } else {
        ask_whole(r->classify.of, i, sample);
    }
}

static void ask_portions(classify *c, api_request *r) {
    classify_items *all = &r->classify;
    uint32_t pictures = portion_question_pictures(all->portions);
    if (pictures > 0) {
        image_queue_add(c->images, &all->images, pictures);
        return;
    }
    question q = portion_question_get(all->portions);
    ask(c, &all->single, &q);
}

void classify_take(classify *c, api_request *r) {
    classify_items *all = &r->classify;
    if (!classify_body_read(r, &c->portions, c->shape.portions > 0, c->config.metrics)) {
        return;
    }
    all->pending = all->count + 1; /* this function, too, so that no answer goes out before the end of it */
    if (all->form == CLASSIFY_SAMPLES) {
        ask_samples(c, r);
    } else if (all->form == CLASSIFY_PORTIONS) {
        ask_portions(c, r);
    } else {
        image_queue_add(c->images, &all->images, all->count);
    }
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
        write_answer(&w, i, answer, NULL);
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
    finish_item(i->request);
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
    portion_question_free(all->portions);
    json_question_free(&all->json);
}

/* Start and end. */

err classify_new(classify **out, uv_loop_t *loop, const classify_config *config) {
    static const image_queue_callbacks callbacks = {image_of, take_sample};
    classify *c = calloc(1, sizeof *c);
    if (!c) {
        return err_fail(ERR_MEMORY, "no memory for requests");
    }
    c->config = *config;
    const experiment *x = config->experiment;
    err e = experiment_lists_portions(x) ? ERR_OK : experiment_partition(x, &c->shape, NULL);
    c->portions = (portion_list){x->portions, x->portion_count};
    size_t whole = c->shape.portions > 0 ? partition_sample_elements(&c->shape) : 0, largest = whole;
    for (uint32_t k = 0; k < x->portion_count; k++) {
        size_t elements = portion_shape_elements(&x->portions[k].shape);
        largest = elements > largest ? elements : largest;
        c->raw_bytes += portion_shape_bytes(&x->portions[k].shape);
    }
    c->pieces = malloc(whole > 0 ? whole : 1);
    e = e || c->pieces ? e : err_fail(ERR_MEMORY, "no memory for requests");
    e = e ? e : image_queue_new(&c->images, loop, largest, &callbacks);
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
