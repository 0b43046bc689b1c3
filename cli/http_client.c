#include "cli/http_client.h"

#include "base/dynbuf.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_MAX = 8 << 20 /* about 1,000 samples of many portions and classes */, URL_MAX = 1024, TOKEN_MAX = 512 };

struct http_client {
    CURL *curl;
    const char *server;
    int64_t timeout_ms;
    char authorization[TOKEN_MAX + 32]; /* the header; "": none */
    dynbuf answer;
};

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
    http_client *h = *out = calloc(1, sizeof *h);
    if (!h || !(h->curl = curl_easy_init())) {
        return err_fail(ERR_MEMORY, "no memory to call a server");
    }
    h->server = server;
    h->timeout_ms = timeout_ms;
    h->answer = dynbuf_make(ANSWER_MAX);
    return token_file ? read_token(h, token_file) : ERR_OK;
}

void http_client_free(http_client *h) {
    if (h) {
        curl_easy_cleanup(h->curl);
        dynbuf_free(&h->answer);
        free(h);
    }
}

const char *http_client_authorization(const http_client *h) {
    return h->authorization[0] ? h->authorization : NULL;
}

static size_t take_answer(char *bytes, size_t size, size_t count, void *context) {
    dynbuf *answer = context;
    dynbuf_add(answer, bytes, size * count);
    return answer->has_failed ? 0 : size * count;
}

static int on_progress(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now) {
    (void)context, (void)total, (void)now, (void)up_total, (void)up_now;
    return interrupt_asked();
}

err http_client_prepare(CURL *curl, const char *server, const char *path, int64_t timeout_ms) {
    char url[URL_MAX];
    size_t length = strlen(server);
    length -= length > 0 && server[length - 1] == '/';
    int printed = snprintf(url, URL_MAX, "%.*s%s", (int)length, server, path);
    if (printed < 0 || printed >= URL_MAX) {
        return err_fail(ERR_USAGE, "--server is too long");
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    return ERR_OK;
}

static void set_body(CURL *curl, const http_client_body *body) {
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)body->length);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->bytes);
    } else {
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    }
}

static err perform(http_client *h, const char *path, const http_client_body *body, long *status) {
    err e = http_client_prepare(h->curl, h->server, path, h->timeout_ms);
    if (e) {
        return e;
    }
    struct curl_slist *headers = NULL;
    if (body) {
        char type[128];
        snprintf(type, sizeof type, "Content-Type: %s", body->type);
        headers = curl_slist_append(NULL, type);
    }
    if (h->authorization[0]) {
        headers = curl_slist_append(headers, h->authorization);
    }
    dynbuf_reset(&h->answer);
    set_body(h->curl, body);
    curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, &h->answer);
    curl_easy_setopt(h->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(h->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    CURLcode code = curl_easy_perform(h->curl);
    curl_slist_free_all(headers);
    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, status);
    if (h->answer.has_failed) {
        return err_fail(ERR_NETWORK, "%s%s: the answer has more than %d MiB", h->server, path, ANSWER_MAX >> 20);
    }
    return code == CURLE_OK ? ERR_OK
                            : err_fail(code == CURLE_ABORTED_BY_CALLBACK ? ERR_STOPPED : ERR_NETWORK, "%s%s: %s",
                                       h->server, path, curl_easy_strerror(code));
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
    err e = perform(h, path, body, status);
    if (e) {
        return e;
    }
    *answer = h->answer.length ? json_loadb(h->answer.bytes, h->answer.length, 0, NULL) : NULL;
    if (!json_is_object(*answer)) {
        json_decref(*answer);
        *answer = NULL;
        return err_fail(ERR_REFUSED, "%s%s: the server's answer is no JSON object (status %ld)", h->server, path,
                        *status);
    }
    make_printable(*answer);
    utf8_make_plain(h->answer.bytes);
    return ERR_OK;
}

err http_client_get(http_client *h, const char *path, json_t **answer) {
    long status = 0;
    err e = http_client_call(h, path, NULL, &status, answer);
    if (!e && status != HTTP_OK) {
        e = http_client_refusal(path, *answer, status);
        json_decref(*answer);
        *answer = NULL;
    }
    return e;
}

err http_client_fetch(http_client *h, const char *path) {
    long status = 0;
    err e = perform(h, path, NULL, &status);
    return e || status == HTTP_OK ? e : err_fail(ERR_REFUSED, "%s: status %ld", path, status);
}

const char *http_client_text(const http_client *h) {
    return h->answer.length ? h->answer.bytes : "";
}

err http_client_refusal(const char *what, const json_t *answer, long status) {
    const char *message = json_string_value(json_object_get(json_object_get(answer, "error"), "message"));
    return err_fail(status >= 500 ? ERR_REFUSED : ERR_INPUT, "%s: %s (status %ld)", what,
                    message ? message : "the server gives no reason", status);
}
