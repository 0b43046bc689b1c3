#include "cli/commands/classify.h"

#include "base/file.h"
#include "base/interrupt.h"
#include "base/options.h"
#include "cli/http_client.h"
#include "data/idx.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_SERVER = 256, KEY_JSON, KEY_SUMMARY, KEY_LABELS, KEY_TIMEOUT, KEY_TOKEN_FILE };
enum { IMAGE_MAX = 1 << 20, STATUS_OK = 200, MS_MAX = 1 << 20 };
static const size_t idx_max = (size_t)1 << 30;

typedef struct classify_options {
    const char *server, *labels, *token_file;
    int64_t timeout_ms;
    bool json, summary;
    const char **images; /* [image_count], in argv */
    int image_count;
} classify_options;

/* What has come back so far. */
typedef struct tally {
    uint64_t answered, right, labelled, degraded;
    uint64_t frame_bytes, payload_bits;
    double *ms; /* [answered], at most MS_MAX of them */
    size_t ms_count;
} tally;

typedef struct session {
    const classify_options *options;
    http_client *http;
    idx_array labels; /* rank 0: none */
    tally tally;
} session;

static const struct argp_option known[] = {
    {"server", KEY_SERVER, "URL", 0, "the decoder server's HTTP address, http://HOST:PORT", 0},
    {"labels", KEY_LABELS, "FILE", 0, "IDX file of the true classes, to count how many of FILE:FIRST-LAST are right",
     0},
    {"summary", KEY_SUMMARY, NULL, 0, "only the summary at the end, no line an image", 0},
    {"json", KEY_JSON, NULL, 0, "print the server's answers as they are, one a line", 0},
    {"token-file", KEY_TOKEN_FILE, "FILE", 0, "the server's API token", 0},
    {"timeout", KEY_TIMEOUT, "MS", 0, "give up on an answer after this (default 10000)", 0},
    {0},
};

static int take(int key, char *value, struct argp_state *state) {
    classify_options *o = state->input;
    switch (key) {
    case KEY_SERVER:
        o->server = value;
        return 0;
    case KEY_LABELS:
        o->labels = value;
        return 0;
    case KEY_SUMMARY:
        o->summary = true;
        return 0;
    case KEY_JSON:
        o->json = true;
        return 0;
    case KEY_TOKEN_FILE:
        o->token_file = value;
        return 0;
    case KEY_TIMEOUT:
        return options_number(value, "--timeout", 1, 3600000, &o->timeout_ms) ? EINVAL : 0;
    case ARGP_KEY_ARG:
        o->images[o->image_count++] = value;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

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

static void count(tally *t, const json_t *answer, int truth) {
    t->answered++;
    t->labelled += truth >= 0;
    t->right += truth >= 0 && json_integer_value(json_object_get(answer, "class")) == truth;
    t->degraded += json_is_true(json_object_get(answer, "degraded"));
    t->frame_bytes += (uint64_t)json_integer_value(json_object_get(answer, "frame_bytes"));
    t->payload_bits += (uint64_t)json_integer_value(json_object_get(answer, "payload_bits"));
    if (t->ms_count < MS_MAX) {
        t->ms[t->ms_count++] = json_number_value(json_object_get(answer, "ms"));
    }
}

/* `truth`: the class it should be, or -1. */
static err classify_one(session *s, const char *image, const http_client_body *body, int truth) {
    long status = 0;
    json_t *answer = NULL;
    err e = interrupt_check();
    e = e ? e : http_client_call(s->http, "/v1/classify", body, &status, &answer);
    if (e) {
        return e == ERR_REFUSED ? err_prefix(e, "%s", image) : e;
    }
    if (status != STATUS_OK) {
        e = http_client_refusal(image, answer, status);
    } else if (!json_is_integer(json_object_get(answer, "class")) ||
               !json_is_string(json_object_get(answer, "label"))) {
        e = err_fail(ERR_REFUSED, "%s: the server's answer names no class", image);
    } else if (s->options->json) {
        puts(http_client_text(s->http));
    } else if (!s->options->summary) {
        print_for_people(image, answer);
    }
    if (!e) {
        count(&s->tally, answer, truth);
        e = fflush(stdout) == 0 ? ERR_OK : err_system(ERR_IO, "standard output");
    }
    json_decref(answer);
    return e;
}

/* The server knows a JPEG as one whatever it is called here, and says of what is none that it is no PNG. */
static err classify_picture(session *s, const char *path) {
    uint8_t *bytes = NULL;
    http_client_body body = {.type = "image/png"};
    err e = file_read(path, IMAGE_MAX, &bytes, &body.length);
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

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_summary(tally *t) {
    if (t->answered == 0) {
        return;
    }
    qsort(t->ms, t->ms_count, sizeof *t->ms, by_value);
    double images = (double)t->answered;
    printf("%" PRIu64 " images", t->answered);
    if (t->labelled > 0) {
        printf(": %" PRIu64 " of %" PRIu64 " right (%.2f %%)", t->right, t->labelled,
               100.0 * (double)t->right / (double)t->labelled);
    }
    printf(", %" PRIu64 " degraded; an image: %.1f bits of codes, %.1f bytes of frames to the nodes and back, %.2f ms "
           "(median)\n",
           t->degraded, (double)t->payload_bits / images, (double)t->frame_bytes / images, t->ms[t->ms_count / 2]);
}

static err classify_all(const classify_options *o) {
    session s = {.options = o};
    s.tally.ms = malloc(MS_MAX * sizeof *s.tally.ms);
    err e =
        s.tally.ms ? http_client_new(&s.http, o->server, o->timeout_ms) : err_fail(ERR_MEMORY, "no memory to count");
    e = e ? e : http_client_read_token(s.http, o->token_file);
    e = e ? e : read_labels(&s);
    for (int i = 0; i < o->image_count && !e; i++) {
        const char *colon = strrchr(o->images[i], ':');
        e = colon && !file_exists(o->images[i]) ? classify_idx(&s, o->images[i], colon)
                                                : classify_picture(&s, o->images[i]);
    }
    if (o->summary) {
        print_summary(&s.tally);
    }
    idx_free(&s.labels);
    http_client_free(s.http);
    free(s.tally.ms);
    return e;
}

static const char doc[] = "Asks a decoder server for the class of images.\v"
                          "An IMAGE is a PNG or JPEG file, or FILE:INDEX or FILE:FIRST-LAST, images of an IDX file "
                          "(gzipped or not). Every option "
                          "can stand in the environment: --server as FEWBIT_SERVER.";

err classify_main(int argc, char **argv) {
    const struct argp argp = {.options = known, .parser = take, .args_doc = "IMAGE...", .doc = doc};
    classify_options o = {.timeout_ms = 10000};
    o.images = calloc((size_t)argc, sizeof *o.images);
    if (!o.images) {
        return err_fail(ERR_MEMORY, "no memory for %d images", argc);
    }
    err e = options_parse(&argp, argc, argv, 0, NULL, &o);
    if (!e && (!o.server || o.image_count == 0)) {
        e = err_fail(ERR_USAGE, "%s is missing", o.server ? "an image" : "--server");
    }
    e = e ? e : classify_all(&o);
    free(o.images);
    return e;
}
