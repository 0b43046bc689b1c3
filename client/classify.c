#include "client/classify.h"

#include "base/file.h"
#include "base/options.h"
#include "data/idx.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_SERVER = 256, KEY_JSON, KEY_TIMEOUT };
enum { ANSWER_MAX = 1 << 20, IMAGE_MAX = 1 << 20 };
static const size_t idx_max = (size_t)1 << 30;

typedef struct classify_options {
    const char *server;
    int64_t timeout_ms;
    bool json;
    const char **images; /* [image_count], in argv */
    int image_count;
} classify_options;

static const struct argp_option known[] = {
    {"server", KEY_SERVER, "URL", 0, "the decoder server's HTTP address, http://HOST:PORT", 0},
    {"json", KEY_JSON, NULL, 0, "print the server's answers as they are, one a line", 0},
    {"timeout", KEY_TIMEOUT, "MS", 0, "give up on an answer after this (default 10000)", 0},
    {0},
};

static int take(int key, char *value, struct argp_state *state) {
    classify_options *o = state->input;
    switch (key) {
    case KEY_SERVER:
        o->server = value;
        return 0;
    case KEY_JSON:
        o->json = true;
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

/* What is sent for one image. */
typedef struct upload {
    uint8_t *bytes;
    size_t length;
    const char *type;
} upload;

/* "FILE:INDEX", the last colon counting. */
static err read_idx_item(const char *image, const char *colon, upload *u) {
    char path[FILE_PATH_MAX];
    int64_t index = 0;
    idx_array a = {0};
    err e = file_path(path, sizeof path, "%.*s", (int)(colon - image), image);
    e = e ? e : options_number(colon + 1, "the index", 0, UINT32_MAX, &index);
    e = e ? e : idx_read(path, idx_max, &a);
    if (e) {
        return e;
    }
    if (a.rank < 2 || index >= a.dims[0]) {
        e = err_fail(ERR_INPUT, "%s: has no image %lld, only 0 to %u", path, (long long)index, a.dims[0] - 1);
    } else {
        u->length = a.length / a.dims[0];
        u->type = "Content-Type: application/octet-stream";
        u->bytes = malloc(u->length);
        e = u->bytes ? ERR_OK : err_fail(ERR_MEMORY, "no memory for an image");
    }
    if (!e) {
        memcpy(u->bytes, a.bytes + (size_t)index * u->length, u->length);
    }
    idx_free(&a);
    return e;
}

static err read_image(const char *image, upload *u) {
    const char *colon = strrchr(image, ':');
    if (colon && !file_exists(image)) {
        return read_idx_item(image, colon, u);
    }
    u->type = "Content-Type: image/png";
    return file_read(image, IMAGE_MAX, &u->bytes, &u->length);
}

typedef struct download {
    char *text;
    size_t length;
} download;

static size_t take_answer(char *bytes, size_t size, size_t count, void *context) {
    download *d = context;
    size_t length = size * count;
    if (d->length + length > ANSWER_MAX) {
        return 0;
    }
    char *grown = realloc(d->text, d->length + length + 1);
    if (!grown) {
        return 0;
    }
    memcpy(grown + d->length, bytes, length);
    d->text = grown;
    d->length += length;
    d->text[d->length] = '\0';
    return length;
}

static err post(CURL *curl, const classify_options *o, const upload *u, download *d, long *status) {
    char url[1024];
    const char *base = o->server;
    size_t length = strlen(base);
    length -= length > 0 && base[length - 1] == '/';
    int printed = snprintf(url, sizeof url, "%.*s/v1/classify", (int)length, base);
    if (printed < 0 || (size_t)printed >= sizeof url) {
        return err_fail(ERR_USAGE, "--server is too long");
    }
    struct curl_slist *headers = curl_slist_append(NULL, u->type);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, u->bytes);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)u->length);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, d);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)o->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    CURLcode code = curl_easy_perform(curl);
    curl_slist_free_all(headers);
    if (code != CURLE_OK) {
        return err_fail(ERR_NETWORK, "%s: %s", url, curl_easy_strerror(code));
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    return ERR_OK;
}

static err explain_refusal(const char *image, const json_t *answer, long status) {
    const json_t *error = json_object_get(answer, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    return err_fail(status >= 500 ? ERR_REFUSED : ERR_INPUT, "%s: %s (status %ld)", image,
                    message ? message : "the server gives no reason", status);
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

static err classify_one(CURL *curl, const classify_options *o, const char *image) {
    upload u = {0};
    download d = {0};
    long status = 0;
    err e = read_image(image, &u);
    e = e ? e : post(curl, o, &u, &d, &status);
    json_error_t problem;
    json_t *answer = e ? NULL : json_loads(d.text ? d.text : "", 0, &problem);
    if (!e && !json_is_object(answer)) {
        e = err_fail(ERR_REFUSED, "%s: the server's answer is no JSON (status %ld)", image, status);
    } else if (!e && status != 200) {
        e = explain_refusal(image, answer, status);
    } else if (!e && o->json) {
        puts(d.text);
    } else if (!e) {
        print_for_people(image, answer);
    }
    fflush(stdout);
    json_decref(answer);
    free(u.bytes);
    free(d.text);
    return e;
}

static err classify_all(const classify_options *o) {
    CURL *curl = curl_easy_init();
    if (!curl) {
        return err_fail(ERR_MEMORY, "libcurl could not be started");
    }
    err e = ERR_OK;
    for (int i = 0; i < o->image_count && !e; i++) {
        e = classify_one(curl, o, o->images[i]);
    }
    curl_easy_cleanup(curl);
    return e;
}

err classify_main(int argc, char **argv) {
    const struct argp argp = {
        .options = known,
        .parser = take,
        .args_doc = "IMAGE...",
        .doc = "Asks a decoder server for the class of images.\vAn IMAGE is a PNG file, or FILE:INDEX, one image of an IDX "
               "file (gzipped or not). Every option can stand in the environment: --server as FEWBIT_SERVER.",
    };
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
