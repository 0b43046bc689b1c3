#include "cli/commands/commands.h"

#include "base/file.h"
#include "base/interrupt.h"
#include "base/options.h"
#include "cli/http_client.h"
#include "cli/latency.h"
#include "cli/portion_form.h"
#include "data/idx.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { IMAGE_MAX = 1 << 20, LIST_MAX = 1000 };
static const size_t idx_max = (size_t)1 << 30;

/* The values of an option that may come again and again. */
typedef struct text_list {
    const char *of[LIST_MAX];
    int count;
} text_list;

typedef struct classify_options {
    const char *server, *labels, *token_file;
    int64_t timeout_ms;
    bool json, summary;
    text_list samples, portions;
} classify_options;

static err take_more(const char *text, void *to, const options_entry *entry) {
    text_list *l = to;
    if (l->count == LIST_MAX) {
        return err_fail(ERR_USAGE, "--%s is there more than %d times", entry->name, LIST_MAX);
    }
    l->of[l->count++] = text;
    return ERR_OK;
}

static const options_entry entries[] = {
    {OPTIONS_TEXT(classify_options, server, "server", "URL", "the decoder server's HTTP address, http://HOST:PORT"),
     .is_required = true},
    {OPTIONS_PARSED(classify_options, samples, "sample", "ID", take_more,
                    "instead of an IMAGE a sample that the nodes have, by its id; up to 1000")},
    {OPTIONS_PARSED(classify_options, portions, "portion", "NAME=FILE", take_more,
                    "instead of an IMAGE a portion of one sample; once for each portion")},
    {OPTIONS_TEXT(classify_options, labels, "labels", "FILE",
                  "IDX file of the true classes, to count how many of FILE:FIRST-LAST are right")},
    {OPTIONS_FLAG(classify_options, summary, "summary", "only the summary at the end, no line an image")},
    {OPTIONS_FLAG(classify_options, json, "json", "print the server's answers as they are, one a line")},
    {OPTIONS_TEXT(classify_options, token_file, "token-file", "FILE", "the server's API token")},
    {OPTIONS_NUMBER(classify_options, timeout_ms, "timeout", "MS", 1, 3600000, "give up on an answer after this"),
     .preset = "10000"},
    {0},
};

static const options_command command = {
    .arguments = "[IMAGE...]",
    .least = 0,
    .most = INT_MAX,
    .summary =
        "Asks a decoder server for the class of images, of samples that the nodes have, or of one sample that is "
        "handed over by portion.",
    .notes =
        "An IMAGE is a PNG or JPEG file, or FILE:INDEX or FILE:FIRST-LAST, images of an IDX file (gzipped or not). A "
        "portion's FILE is a .npy array, JSON numbers (.json), a row of its table with or without a header (.csv), a "
        "PNG or JPEG, or raw values.",
    .entries = entries,
};

/* What has come back so far. */
typedef struct tally {
    uint64_t answered, right, labelled, degraded;
    uint64_t frame_bytes, payload_bits;
    latency ms; /* that the server took */
} tally;

typedef struct session {
    const classify_options *options;
    http_client *http;
    idx_array labels; /* rank 0: none */
    tally tally;
} session;

static void print_for_people(const char *image, const json_t *answer) {
    double probability = json_number_value(json_object_get(answer, "probability"));
    printf("%s: %s (%.1f %%), %lld bits in", image, json_string_value(json_object_get(answer, "label")),
           100 * probability, (long long)json_integer_value(json_object_get(answer, "payload_bits")));
    size_t index;
    json_t *code;
    json_array_foreach(json_object_get(answer, "bits"), index, code) {
        printf(" %s", json_is_string(code) ? json_string_value(code) : "-");
    }
    printf(", %.2f ms%s\n", json_number_value(json_object_get(answer, "ms")),
           json_is_true(json_object_get(answer, "degraded")) ? ", DEGRADED" : "");
}

static err count(tally *t, const json_t *answer, int truth) {
    t->answered++;
    t->labelled += truth >= 0;
    t->right += truth >= 0 && json_integer_value(json_object_get(answer, "class")) == truth;
    t->degraded += json_is_true(json_object_get(answer, "degraded"));
    t->frame_bytes += (uint64_t)json_integer_value(json_object_get(answer, "frame_bytes"));
    t->payload_bits += (uint64_t)json_integer_value(json_object_get(answer, "payload_bits"));
    return latency_add(&t->ms, (uint64_t)(1e6 * fmax(0, json_number_value(json_object_get(answer, "ms")))));
}

/* `truth`: the class it should be, or -1. */
static err take_answer(session *s, const char *about, const json_t *answer, int truth) {
    if (!json_is_integer(json_object_get(answer, "class")) || !json_is_string(json_object_get(answer, "label"))) {
        return err_fail(ERR_REFUSED, "%s: the server's answer names no class", about);
    }
    if (!s->options->json && !s->options->summary) {
        print_for_people(about, answer);
    }
    err e = count(&s->tally, answer, truth);
    return e || fflush(stdout) == 0 ? e : err_system(ERR_IO, "standard output");
}

/* The answer to a request, for the caller to json_decref; printed where it is wanted as it is. */
static err ask(session *s, const char *about, const http_client_body *body, json_t **answer) {
    long status = 0;
    err e = interrupt_check();
    e = e ? e : http_client_call(s->http, "/v1/classify", body, &status, answer);
    if (e) {
        return e == ERR_REFUSED ? err_prefix(e, "%s", about) : e;
    }
    if (status != HTTP_OK) {
        return http_client_refusal(about, *answer, status);
    }
    if (s->options->json) {
        puts(http_client_text(s->http));
    }
    return ERR_OK;
}

static err classify_one(session *s, const char *about, const http_client_body *body, int truth) {
    json_t *answer = NULL;
    err e = ask(s, about, body, &answer);
    e = e ? e : take_answer(s, about, answer, truth);
    json_decref(answer);
    return e;
}

/* All that were answered, and then why another one was not. */
static err take_answers(session *s, const json_t *answer) {
    const text_list *samples = &s->options->samples;
    const json_t *results = json_object_get(answer, "results");
    const json_t *refused = NULL;
    int refused_at = 0;
    err e = json_array_size(results) == (size_t)samples->count
                ? ERR_OK
                : err_fail(ERR_REFUSED, "the server's answer is not about %d samples", samples->count);
    for (int i = 0; i < samples->count && !e; i++) {
        const json_t *one = json_array_get(results, (size_t)i);
        if (json_is_object(json_object_get(one, "error"))) {
            refused_at = refused ? refused_at : i;
            refused = refused ? refused : one;
        } else {
            e = take_answer(s, samples->of[i], one, -1);
        }
    }
    long status = (long)json_integer_value(json_object_get(refused, "status"));
    return e || !refused ? e : http_client_refusal(samples->of[refused_at], refused, status);
}

static err classify_samples(session *s) {
    const text_list *samples = &s->options->samples;
    json_t *answer = NULL, *ids = json_array();
    err e = ERR_OK;
    for (int i = 0; i < samples->count && !e; i++) {
        bool fits = json_array_append_new(ids, json_string(samples->of[i])) == 0;
        e = fits ? ERR_OK : err_fail(ERR_USAGE, "--sample: '%s' is not UTF-8", samples->of[i]);
    }
    json_t *request = json_pack("{s:o}", "samples", ids);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    e = e || text ? e : err_fail(ERR_MEMORY, "no memory for a request");
    if (!e) {
        e = ask(s, "the samples", &(http_client_body){text, strlen(text), "application/json"}, &answer);
    }
    e = e ? e : take_answers(s, answer);
    json_decref(answer);
    json_decref(request);
    free(text);
    return e;
}

static err classify_portions(session *s) {
    const text_list *portions = &s->options->portions;
    dynbuf form = dynbuf_make(PORTION_FORM_BYTES_MAX + 4096);
    char type[PORTION_FORM_TYPE_MAX];
    err e = ERR_OK;
    portion_form_begin(type);
    for (int i = 0; i < portions->count && !e; i++) {
        e = portion_form_add_file(&form, type, portions->of[i]);
    }
    portion_form_end(&form, type);
    e = e ? e : dynbuf_check(&form, "the portions, which may have 1 MiB together");
    const http_client_body body = {form.bytes, form.length, type};
    e = e ? e : classify_one(s, "the portions", &body, -1);
    dynbuf_free(&form);
    return e;
}

/* The server knows a JPEG as one whatever it is called here, and says of what is none that it is no PNG. */
static err classify_picture(session *s, const char *path) {
    uint8_t *bytes = NULL;
    http_client_body body = {.type = "image/png"};
    err e = file_read(path, IMAGE_MAX, &bytes, &body.length);
    if (e == ERR_NOT_FOUND) {
        return err_fail(e, "%s: there is no such file (--sample asks about a sample that the nodes have)", path);
    }
    body.bytes = bytes;
    e = e ? e : classify_one(s, path, &body, -1);
    free(bytes);
    return e;
}

static err parse_range(const char *text, int64_t *first, int64_t *last) {
    char start[24];
    const char *dash = strchr(text, '-');
    size_t length = dash ? (size_t)(dash - text) : strlen(text);
    if (length >= sizeof start) {
        return err_fail(ERR_USAGE, "the index '%s' is too long", text);
    }
    memcpy(start, text, length);
    start[length] = '\0';
    err e = options_number(start, "the index", 0, UINT32_MAX, first);
    *last = *first;
    return e || !dash ? e : options_number(dash + 1, "the last index", *first, UINT32_MAX, last);
}

static err classify_items(session *s, const char *path, const idx_array *images, int64_t first, int64_t last) {
    if (images->rank < 2 || last >= images->dims[0]) {
        return err_fail(ERR_INPUT, "%s: has no image %" PRId64 ", only 0 to %u", path, last, images->dims[0] - 1);
    }
    const idx_array *labels = &s->labels;
    if (labels->rank > 0 && last >= labels->dims[0]) {
        return err_fail(ERR_INPUT, "%s: has no label %" PRId64, s->options->labels, last);
    }
    size_t size = images->length / images->dims[0];
    err e = ERR_OK;
    for (int64_t i = first; i <= last && !e; i++) {
        char name[FILE_PATH_MAX + 24];
        snprintf(name, sizeof name, "%s:%" PRId64, path, i);
        http_client_body body = {images->bytes + (size_t)i * size, size, "application/octet-stream"};
        e = classify_one(s, name, &body, labels->rank ? labels->bytes[i] : -1);
    }
    return e;
}

/* "FILE:FIRST-LAST" or "FILE:INDEX", the last colon counting. */
static err classify_idx(session *s, const char *image, const char *colon) {
    char path[FILE_PATH_MAX];
    int64_t first = 0, last = 0;
    idx_array images = {0};
    err e = file_path(path, sizeof path, "%.*s", (int)(colon - image), image);
    e = e ? e : parse_range(colon + 1, &first, &last);
    e = e ? e : idx_read(path, idx_max, &images);
    e = e ? e : classify_items(s, path, &images, first, last);
    idx_free(&images);
    return e;
}

static err read_labels(session *s) {
    const char *path = s->options->labels;
    err e = path ? idx_read(path, idx_max, &s->labels) : ERR_OK;
    if (!e && path && s->labels.rank != 1) {
        e = err_fail(ERR_INPUT, "%s: is no list of labels", path);
    }
    return e;
}

static void print_summary(tally *t, const char *what) {
    if (t->answered == 0) {
        return;
    }
    double images = (double)t->answered;
    printf("%" PRIu64 " %s", t->answered, what);
    if (t->labelled > 0) {
        printf(": %" PRIu64 " of %" PRIu64 " right (%.2f %%)", t->right, t->labelled,
               100.0 * (double)t->right / (double)t->labelled);
    }
    printf(", %" PRIu64 " degraded; each: %.1f bits of codes, %.1f bytes of frames to the nodes and back, %.2f ms "
           "(median)\n",
           t->degraded, (double)t->payload_bits / images, (double)t->frame_bytes / images,
           latency_percentile(&t->ms, 50));
}

static err classify_all(const classify_options *o, const options_arguments *images) {
    session s = {.options = o, .tally.ms = latency_make()};
    err e = http_client_open(&s.http, o->server, o->timeout_ms, o->token_file);
    e = e ? e : read_labels(&s);
    for (int i = 0; i < images->count && !e; i++) {
        const char *image = images->list[i], *colon = strrchr(image, ':');
        e = colon && !file_exists(image) ? classify_idx(&s, image, colon) : classify_picture(&s, image);
    }
    e = e || o->samples.count == 0 ? e : classify_samples(&s);
    e = e || o->portions.count == 0 ? e : classify_portions(&s);
    if (o->summary) {
        print_summary(&s.tally, images->count > 0 ? "images" : "samples");
    }
    idx_free(&s.labels);
    http_client_free(s.http);
    latency_free(&s.tally.ms);
    return e;
}

err classify_main(int argc, char **argv) {
    classify_options o = {0};
    options_arguments images;
    err e = options_parse(&command, argc, argv, &o, &images);
    int ways = (images.count > 0) + (o.samples.count > 0) + (o.portions.count > 0);
    if (!e && ways != 1) {
        e = err_fail(ERR_USAGE, "name either IMAGEs, or --sample, or --portion (see --help)");
    }
    return e ? e : classify_all(&o, &images);
}
