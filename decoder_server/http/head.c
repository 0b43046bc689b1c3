#include "decoder_server/http/head.h"

#include <microhttpd.h>
#include <string.h>
#include <strings.h>

static const head_problem malformed = {MHD_HTTP_BAD_REQUEST, "Bad Request", "bad_request", "this is no HTTP request"};
static const head_problem bad_length = {MHD_HTTP_BAD_REQUEST, "Bad Request", "bad_request",
                                        "Content-Length is no length"};
static const head_problem bad_version = {MHD_HTTP_HTTP_VERSION_NOT_SUPPORTED, "HTTP Version Not Supported",
                                         "bad_version", "only HTTP/1.0 and HTTP/1.1 are spoken here"};
static const head_problem long_target = {MHD_HTTP_URI_TOO_LONG, "URI Too Long", "head_too_long",
                                         "the request's first line is too long"};
static const head_problem long_head = {MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large",
                                       "head_too_long", "the request's head is too long"};

typedef struct line {
    const char *begin, *end; /* without its end of line */
} line;

/* The next line, from *at on; false: there is no whole one. */
static bool take_line(const char **at, const char *end, line *out) {
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    if (!newline) {
        return false;
    }
    *out = (line){*at, newline};
    if (out->end > out->begin && out->end[-1] == '\r') {
        out->end--;
    }
    *at = newline + 1;
    return true;
}

/* The first line that is not empty: empty ones before a request are overlooked. */
static bool take_first(const char **at, const char *end, line *out) {
    while (take_line(at, end, out)) {
        if (out->begin < out->end) {
            return true;
        }
    }
    return false;
}

bool head_is_whole(const uint8_t *bytes, size_t length) {
    const char *at = (const char *)bytes, *end = at + length;
    line l;
    bool have = take_first(&at, end, &l);
    while (have && l.begin < l.end) {
        have = take_line(&at, end, &l);
    }
    return have;
}

/* As HTTP has them in a method or a header's name. */
static const char token[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static const char *skip(const char *at, const char *end, const char *of) {
    while (at < end && *at && strchr(of, *at)) {
        at++;
    }
    return at;
}

static const head_problem *check_first(const line *l) {
    const char *after_method = skip(l->begin, l->end, token);
    const char *target = skip(after_method, l->end, " ");
    const char *after_target = target;
    while (after_target < l->end && (unsigned char)*after_target > ' ') {
        after_target++;
    }
    const char *version = skip(after_target, l->end, " ");
    if (after_method == l->begin || target == after_method || version == after_target || l->end - version != 8 ||
        memcmp(version, "HTTP/", 5) != 0 || version[6] != '.') {
        return &malformed;
    }
    return version[5] == '1' ? NULL : &bad_version;
}

static const head_problem *check_header(const line *l) {
    static const char length[] = "Content-Length";
    if (*l->begin == ' ' || *l->begin == '\t') {
        return NULL; /* the one before goes on */
    }
    const char *colon = memchr(l->begin, ':', (size_t)(l->end - l->begin));
    if (!colon || colon == l->begin) {
        return &malformed;
    }
    if ((size_t)(colon - l->begin) != sizeof length - 1 || strncasecmp(l->begin, length, sizeof length - 1) != 0) {
        return NULL;
    }
    const char *digits = skip(colon + 1, l->end, " \t"), *after = skip(digits, l->end, "0123456789");
    bool is_number = after > digits && after - digits < 19 && skip(after, l->end, " \t") == l->end;
    return is_number ? NULL : &bad_length;
}

const head_problem *head_check(const uint8_t *bytes, size_t length) {
    const char *at = (const char *)bytes, *end = at + length;
    line l;
    if (!take_first(&at, end, &l)) {
        return &long_target;
    }
    const head_problem *problem = check_first(&l);
    while (!problem) {
        if (!take_line(&at, end, &l)) {
            return &long_head;
        }
        if (l.begin == l.end) {
            return NULL;
        }
        problem = check_header(&l);
    }
    return problem;
}
