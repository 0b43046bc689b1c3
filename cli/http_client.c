#include "cli/http_client.h"

#include "base/file.h"
#include "base/interrupt.h"
#include "base/utf8.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MAX = 1 << 20, URL_MAX = 1024, TOKEN_MAX = 512 };

struct http_client {
    CURL *curl;
    const char *server;
    int64_t timeout_ms;
    char authorization[TOKEN_MAX + 32]; /* the header; "": none */
    char *text;                         /* the answer so far */
    size_t length;
};

static err open_client(http_client **out, const char *server, int64_t timeout_ms) {
    http_client *h = calloc(1, sizeof *h);
    if (!h) {
        return err_fail(ERR_MEMORY, "no memory to call a server");
    }
    h->server = server;
    h->timeout_ms = timeout_ms;
    h->curl = curl_easy_init();
    if (!h->curl) {
        free(h);
        return err_fail(ERR_MEMORY, "libcurl could not be started");
    }
    *out = h;
    return ERR_OK;
}

void http_client_free(http_client *h) {
    if (h) {
        curl_easy_cleanup(h->curl);
        free(h->text);
        free(h);
    }
}

static err read_token(http_client *h, const char *path) {
    uint8_t *bytes;
    size_t length;
    err e = file_read(path, TOKEN_MAX + 2, &bytes, &length);
    if (e) {
        return e;
    }
    length = strcspn((const char *)bytes, "\r\n");
    if (length == 0 || length > TOKEN_MAX) {
        e = err_fail(ERR_INPUT, "%s: holds no token", path);
    } else {
        snprintf(h->authorization, sizeof h->authorization, "Authorization: Bearer %.*s", (int)length, bytes);
    }
    free(bytes);
    return e;
}

err http_client_open(http_client **out, const char *server, int64_t timeout_ms, const char *token_file) {
    err e = open_client(out, server, timeout_ms);
    return e || !token_file ? e : read_token(*out, token_file);
}

const char *http_client_authorization(const http_client *h) {
    return h->authorization[0] ? h->authorization : NULL;
}

static size_t take_answer(char *bytes, size_t size, size_t count, void *context) {
    http_client *h = context;
    size_t length = size * count;
    if (h->length + length > ANSWER_MAX) {
        return 0;
    }
    char *grown = realloc(h->text, h->length + length + 1);
    if (!grown) {
        return 0;
    }
    memcpy(grown + h->length, bytes, length);
    h->text = grown;
    h->length += length;
    h->text[h->length] = '\0';
    return length;
}

static int on_progress(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now) {
    (void)context, (void)total, (void)now, (void)up_total, (void)up_now;
    return interrupt_asked();
}

static err build_url(const http_client *h, const char *path, char url[URL_MAX]) {
    size_t length = strlen(h->server);
    length -= length > 0 && h->server[length - 1] == '/';
    int printed = snprintf(url, URL_MAX, "%.*s%s", (int)length, h->server, path);
    return printed > 0 && printed < URL_MAX ? ERR_OK : err_fail(ERR_USAGE, "--server is too long");
}

static void prepare(http_client *h, const char *url, const http_client_body *body, struct curl_slist *headers) {
    curl_easy_setopt(h->curl, CURLOPT_URL, url);
    curl_easy_setopt(h->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h->curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(h->curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h->curl, CURLOPT_TIMEOUT_MS, (long)h->timeout_ms);
    curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, h);
    curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(h->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(h->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    if (body) {
        curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE, (long)body->length);
        curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, body->bytes);
    } else {
        curl_easy_setopt(h->curl, CURLOPT_HTTPGET, 1L);
    }
}

static err perform(http_client *h, const char *url, const http_client_body *body, long *status) {
    struct curl_slist *headers = NULL;
    if (body) {
        char type[128];
        snprintf(type, sizeof type, "Content-Type: %s", body->type);
        headers = curl_slist_append(NULL, type);
    }
    if (h->authorization[0]) {
        headers = curl_slist_append(headers, h->authorization);
    }
    h->length = 0;
    prepare(h, url, body, headers);
    CURLcode code = curl_easy_perform(h->curl);
    curl_slist_free_all(headers);
    if (code != CURLE_OK) {
        return err_fail(code == CURLE_ABORTED_BY_CALLBACK ? ERR_STOPPED : ERR_NETWORK, "%s: %s", url,
                        curl_easy_strerror(code));
    }
    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, status);
    return ERR_OK;
}

/* What a server says goes to a terminal. */
static void make_printable(json_t *value) {
    const char *key;
    size_t index;
    json_t *inner;
    if (json_is_string(value)) {
        char *text = strdup(json_string_value(value));
        if (text) {
            utf8_make_plain(text);
        }
        json_string_set(value, text ? text : "");
        free(text);
    }
    json_object_foreach(value, key, inner) {
        make_printable(inner);
    }
    json_array_foreach(value, index, inner) {
        make_printable(inner);
    }
}

err http_client_call(http_client *h, const char *path, const http_client_body *body, long *status, json_t **answer) {
    char url[URL_MAX];
    err e = build_url(h, path, url);
    e = e ? e : perform(h, url, body, status);
    if (e) {
        return e;
    }
    json_error_t problem;
    *answer = h->length ? json_loadb(h->text, h->length, 0, &problem) : NULL;
    if (!json_is_object(*answer)) {
        json_decref(*answer);
        *answer = NULL;
        return err_fail(ERR_REFUSED, "%s: the server's answer is no JSON object (status %ld)", url, *status);
    }
    make_printable(*answer);
    utf8_make_plain(h->text);
    return ERR_OK;
}

err http_client_fetch(http_client *h, const char *path, long *status) {
    char url[URL_MAX];
    err e = build_url(h, path, url);
    return e ? e : perform(h, url, NULL, status);
}

const char *http_client_text(const http_client *h) {
    return h->length ? h->text : "";
}

err http_client_refusal(const char *about, const json_t *answer, long status) {
    const char *message = json_string_value(json_object_get(json_object_get(answer, "error"), "message"));
    return err_fail(status >= 500 ? ERR_REFUSED : ERR_INPUT, "%s: %s (status %ld)", about,
                    message ? message : "the server gives no reason", status);
}
