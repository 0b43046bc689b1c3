#include "decoder_server/http/classify_body.h"

#include <stdlib.h>

/* What an answer of a list takes as JSON, beside what depends on the model. */
enum { ANSWER_BYTES = 1024 };

static bool has_type(const api_request *r, const char *name) {
    span type = r->http->head.fields[REQUEST_FIELD_CONTENT_TYPE], media;
    return span_take(&type, ';', &media) && span_is(media, name);
}

bool classify_body_accept(api_request *r) {
    span coding = r->http->head.fields[REQUEST_FIELD_CONTENT_ENCODING];
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    if (coding.length > 0 && !span_is(coding, "identity")) {
        api_request_refuse(r, 415, "unsupported_type", "bodies with a Content-Encoding, as gzip, are not taken");
        return false;
    }
    if (has_type(r, "multipart/form-data") &&
        multipart_boundary(r->http->head.fields[REQUEST_FIELD_CONTENT_TYPE], boundary)) {
        api_request_refuse(r, 400, "bad_multipart", err_text());
        return false;
    }
    return true;
}

/* Why a body cannot be read; `code`: of what is wrong with it. */
static bool refuse(api_request *r, err e, const char *code) {
    r->classify.count = 0;
    if (e == ERR_FULL) {
        api_request_refuse(r, 413, "too_large", err_text());
    } else if (e == ERR_REFUSED) {
        api_request_refuse(r, 415, "unsupported_type", err_text());
    } else if (e == ERR_MEMORY) {
        api_request_refuse(r, 503, "busy", "the requests under way leave no memory for this one");
    } else {
        api_request_refuse(r, 400, code, err_text());
    }
    return false;
}

/* Room for so many items and their answers. */
static err make_batch(api_request *r, uint32_t count) {
    classify_items *all = &r->classify;
    size_t items = sizeof *all->batch + count * sizeof *all->batch->items;
    size_t bytes = items + count * sizeof *all->batch->answers;
    bool has_room = http_claim_memory(r->http, bytes + count * (size_t)ANSWER_BYTES);
    all->batch = has_room ? calloc(1, bytes) : NULL;
    if (!all->batch) {
        return err_fail(ERR_MEMORY, "no memory for %u samples", count);
    }
    all->batch->answers = (classification *)(void *)((char *)all->batch + items);
    all->count = count;
    for (uint32_t i = 0; i < count; i++) {
        all->batch->items[i].request = r;
    }
    return ERR_OK;
}

static bool take_image(api_request *r, const portion_list *portions, bool takes_images) {
    classify_items *all = &r->classify;
    if (!takes_images) {
        err_fail(ERR_REFUSED, "a sample is %u portions: multipart/form-data with a part for each, or application/json",
                 portions->count);
        return refuse(r, ERR_REFUSED, NULL);
    }
    span type = r->http->head.fields[REQUEST_FIELD_CONTENT_TYPE];
    all->form = CLASSIFY_IMAGE;
    all->count = 1;
    all->single.request = r;
    all->single.type = image_type_of(type.at, type.length);
    all->single.length = r->http->body.bytes.length;
    return true;
}

static bool take_images(api_request *r, const multipart_part *parts, uint32_t count) {
    r->classify.form = CLASSIFY_IMAGES;
    err e = make_batch(r, count);
    if (e) {
        return refuse(r, e, NULL);
    }
    for (uint32_t i = 0; i < count; i++) {
        classify_item *item = &r->classify.batch->items[i];
        item->type = image_type_of(parts[i].type.at, parts[i].type.length);
        item->from = parts[i].from;
        item->length = parts[i].length;
    }
    return true;
}

/* `e`: how the plan of the question went. */
static bool take_portions(api_request *r, err e, metrics *m) {
    classify_items *all = &r->classify;
    all->form = CLASSIFY_PORTIONS;
    if (!e && !http_claim_memory(r->http, portion_question_bytes(all->portions))) {
        e = err_fail(ERR_MEMORY, "no memory for a sample");
    }
    e = e ? e : portion_question_fill(all->portions);
    if (e) {
        metrics_count_answer(m, e == ERR_MEMORY ? METRICS_BUSY : METRICS_BAD_PORTION);
        return refuse(r, e, "bad_portion");
    }
    all->count = 1;
    all->single.request = r;
    return true;
}

/* Whether each part has a portion's name. */
static bool are_portions(const portion_list *portions, const multipart_part *parts, uint32_t count) {
    uint32_t k;
    for (uint32_t i = 0; i < count; i++) {
        if (!portion_list_find(portions, parts[i].name, &k)) {
            return false;
        }
    }
    return true;
}

static bool take_parts(api_request *r, const portion_list *portions, bool takes_images, metrics *m) {
    const http_request *http = r->http;
    const uint8_t *body = (const uint8_t *)http->body.bytes.at;
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    multipart_part parts[CLASSIFY_BATCH_MAX];
    uint32_t count;
    err e = multipart_boundary(http->head.fields[REQUEST_FIELD_CONTENT_TYPE], boundary);
    e = e ? e : multipart_read(body, http->body.bytes.length, boundary, parts, CLASSIFY_BATCH_MAX, &count);
    if (e) {
        return refuse(r, e, "bad_multipart");
    }
    if (takes_images && !are_portions(portions, parts, count)) {
        return take_images(r, parts, count);
    }
    return take_portions(r, portion_question_from_parts(&r->classify.portions, portions, body, parts, count), m);
}

static bool take_sample_ids(api_request *r) {
    r->classify.form = CLASSIFY_SAMPLES;
    err e = make_batch(r, r->classify.json.samples);
    return e ? refuse(r, e, NULL) : true;
}

static bool take_json(api_request *r, const portion_list *portions, metrics *m) {
    classify_items *all = &r->classify;
    err e = json_question_read(&all->json, r->http->body.bytes);
    if (!e && all->json.samples > 0) {
        return take_sample_ids(r);
    }
    bool is_taken = e ? refuse(r, e, "bad_json")
                      : take_portions(r, portion_question_from_json(&all->portions, portions, all->json.portions), m);
    json_question_free(&all->json); /* not kept until the answer: it takes many times the body's memory */
    return is_taken;
}

bool classify_body_read(api_request *r, const portion_list *portions, bool takes_images, metrics *m) {
    if (has_type(r, "multipart/form-data")) {
        return take_parts(r, portions, takes_images, m);
    }
    return has_type(r, "application/json") ? take_json(r, portions, m) : take_image(r, portions, takes_images);
}
