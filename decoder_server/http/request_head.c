#include "decoder_server/http/request_head.h"

#include <string.h>

enum { LENGTH_DIGITS_MAX = 18 };

static const http_problem malformed = {400, "bad_request", "this is no HTTP request"};
static const http_problem bad_target = {400, "bad_request", "the request's target has none of the forms it may have"};
static const http_problem bad_version = {505, "bad_version", "only HTTP/1.0 and HTTP/1.1 are spoken here"};
static const http_problem bad_line = {400, "bad_request",
                                      "a field has a control character, or a line does not end with CRLF"};
static const http_problem folded = {400, "bad_request", "a line begins with a blank: fields are not folded here"};
static const http_problem bad_field = {400, "bad_request", "a line of the head is no field: a name, a colon, a value"};
static const http_problem twice = {400, "bad_request", "a field that can be there once is there twice"};
static const http_problem no_host = {400, "bad_request", "the field Host is missing"};
static const http_problem bad_host = {400, "bad_request", "the field Host names no host"};
static const http_problem bad_length = {400, "bad_request", "Content-Length is no length"};
static const http_problem two_lengths = {400, "bad_request", "both Transfer-Encoding and Content-Length are there"};
static const http_problem old_coding = {400, "bad_request", "HTTP/1.0 has no Transfer-Encoding"};
static const http_problem no_end = {400, "bad_request", "the last transfer coding is not chunked, or not it alone"};
static const http_problem other_coding = {501, "not_implemented", "of transfer codings only chunked is known here"};
static const http_problem other_expectation = {417, "expectation_failed", "only 100-continue can be expected here"};
static const http_problem long_target = {414, "head_too_long", "the request's first line is too long"};
static const http_problem long_head = {431, "head_too_long", "the request's head is too long"};

static const char *const field_names[REQUEST_FIELDS] = {
    [REQUEST_FIELD_AUTHORIZATION] = "Authorization", [REQUEST_FIELD_CONTENT_ENCODING] = "Content-Encoding",
    [REQUEST_FIELD_CONTENT_TYPE] = "Content-Type",   [REQUEST_FIELD_HOST] = "Host",
    [REQUEST_FIELD_IF_NONE_MATCH] = "If-None-Match", [REQUEST_FIELD_ORIGIN] = "Origin",
    [REQUEST_FIELD_REQUEST_ID] = "X-Request-Id",     [REQUEST_FIELD_SEC_FETCH_SITE] = "Sec-Fetch-Site",
    [REQUEST_FIELD_TRACEPARENT] = "traceparent",
};

/* What is seen on the way to the end of the head, and looked at there. */
typedef struct reading {
    request_head *head;
    bool has_length, has_coding, keeps_alive, is_repeated[REQUEST_FIELDS];
    unsigned chunked, other_codings;
    bool is_chunked_last, has_other_expectation;
} reading;

/* Lines. */

/* Takes a line that ends with CRLF or LF off *rest. WHOLE: *line is it, without its end; BAD: it has a control
 * character, or a CR that ends none. */
static request_head_state take_line(span *rest, span *line) {
    const char *end = rest->at + rest->length;
    for (const char *at = rest->at; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        if ((c >= ' ' && c != 0x7f) || c == '\t') {
            continue;
        }
        if (c == '\r' && at + 1 == end) {
            return REQUEST_HEAD_MORE;
        }
        if (!(c == '\r' && at[1] == '\n') && c != '\n') {
            return REQUEST_HEAD_BAD;
        }
        *line = (span){rest->at, (size_t)(at - rest->at)};
        at += c == '\r' ? 2 : 1;
        *rest = (span){at, (size_t)(end - at)};
        return REQUEST_HEAD_WHOLE;
    }
    return REQUEST_HEAD_MORE;
}

/* The field's name and its value. */
static const http_problem *split_field(span line, span *name, span *value) {
    if (line.length > 0 && (line.at[0] == ' ' || line.at[0] == '\t')) {
        return &folded;
    }
    const char *colon = line.length > 0 ? memchr(line.at, ':', line.length) : NULL;
    if (!colon) {
        return &bad_field;
    }
    *name = (span){line.at, (size_t)(colon - line.at)};
    *value = span_trim((span){colon + 1, line.length - name->length - 1});
    return span_is_token(*name) ? NULL : &bad_field;
}

/* The first line. */

/* As much of a method as is there can become one; the line may have no end yet, or half of it. */
static bool may_be_method(span line) {
    line.length -= line.length > 0 && line.at[line.length - 1] == '\r';
    const char *blank = line.length > 0 ? memchr(line.at, ' ', line.length) : NULL;
    span method = {line.at, blank ? (size_t)(blank - line.at) : line.length};
    return line.length == 0 || span_is_token(method);
}

static const http_problem *read_first(request_head *h, span line) {
    const char *first = memchr(line.at, ' ', line.length);
    const char *last = memrchr(line.at, ' ', line.length);
    if (!may_be_method(line) || !first || first == last) {
        return &malformed;
    }
    h->method = (span){line.at, (size_t)(first - line.at)};
    span target = {first + 1, (size_t)(last - first - 1)};
    span version = {last + 1, (size_t)(line.at + line.length - last - 1)};
    bool is_version = version.length == 8 && memcmp(version.at, "HTTP/", 5) == 0 && version.at[6] == '.' &&
                      version.at[5] >= '0' && version.at[5] <= '9' && version.at[7] >= '0' && version.at[7] <= '9';
    if (!is_version || target.length == 0 || memchr(target.at, ' ', target.length)) {
        return &malformed;
    }
    if (version.at[5] != '1') {
        return &bad_version;
    }
    h->minor = version.at[7] > '0' ? 1 : 0;
    return request_target_read(target, h->method, &h->target) ? NULL : &bad_target;
}

/* Fields. */

static const http_problem *read_length(reading *r, span value) {
    if (r->has_length || !span_has_only(value, "0123456789")) {
        return r->has_length ? &twice : &bad_length;
    }
    r->has_length = true;
    while (value.length > 1 && value.at[0] == '0') {
        value.at++;
        value.length--;
    }
    uint64_t length = value.length > LENGTH_DIGITS_MAX ? UINT64_MAX : 0;
    for (size_t i = 0; i < value.length && length != UINT64_MAX; i++) {
        length = length * 10 + (uint64_t)(value.at[i] - '0');
    }
    r->head->content_length = length;
    return NULL;
}

static void read_codings(reading *r, span value) {
    span coding;
    r->has_coding = true;
    while (span_take(&value, ',', &coding)) {
        if (coding.length > 0) {
            r->is_chunked_last = span_is(coding, "chunked");
            *(r->is_chunked_last ? &r->chunked : &r->other_codings) += 1;
        }
    }
}

static void read_connection(reading *r, span value) {
    span option;
    while (span_take(&value, ',', &option)) {
        r->head->is_last = r->head->is_last || span_is(option, "close");
        r->keeps_alive = r->keeps_alive || span_is(option, "keep-alive");
    }
}

static void read_expectation(reading *r, span value) {
    bool is_continue = span_is(value, "100-continue");
    r->head->expects_continue = is_continue;
    r->has_other_expectation = r->has_other_expectation || !is_continue;
}

static const http_problem *keep_field(reading *r, span name, span value) {
    for (request_field f = 0; f < REQUEST_FIELDS; f++) {
        if (!span_is(name, field_names[f])) {
            continue;
        }
        bool only_tells =
            f == REQUEST_FIELD_REQUEST_ID || f == REQUEST_FIELD_TRACEPARENT || f == REQUEST_FIELD_IF_NONE_MATCH;
        if (r->head->fields[f].at && !only_tells) {
            return &twice;
        }
        r->is_repeated[f] = r->head->fields[f].at != NULL;
        r->head->fields[f] = value;
        return NULL;
    }
    return NULL;
}

static const http_problem *read_field(reading *r, span line) {
    span name, value;
    const http_problem *problem = split_field(line, &name, &value);
    if (problem) {
        return problem;
    }
    if (span_is(name, "Content-Length")) {
        return read_length(r, value);
    }
    if (span_is(name, "Transfer-Encoding")) {
        read_codings(r, value);
    } else if (span_is(name, "Connection")) {
        read_connection(r, value);
    } else if (span_is(name, "Expect")) {
        read_expectation(r, value);
    } else {
        return keep_field(r, name, value);
    }
    return NULL;
}

/* The end. */

static const http_problem *check_host(request_head *h) {
    span field = h->fields[REQUEST_FIELD_HOST];
    if (!field.at && h->minor >= 1) {
        return &no_host;
    }
    if (!request_host_is_good(field)) {
        return &bad_host;
    }
    h->host = h->target.host.at ? h->target.host : field;
    return NULL;
}

static const http_problem *check_codings(reading *r) {
    if (!r->has_coding) {
        return NULL;
    }
    r->head->is_chunked = true;
    return r->head->minor == 0                     ? &old_coding
           : r->has_length                         ? &two_lengths
           : !r->is_chunked_last || r->chunked > 1 ? &no_end
           : r->other_codings > 0                  ? &other_coding
                                                   : NULL;
}

static const http_problem *check_whole(reading *r) {
    request_head *h = r->head;
    for (request_field f = 0; f < REQUEST_FIELDS; f++) {
        h->fields[f] = r->is_repeated[f] ? (span){0} : h->fields[f];
    }
    h->is_last = h->is_last || (h->minor == 0 && !r->keeps_alive);
    h->expects_continue = h->expects_continue && h->minor >= 1;
    const http_problem *problem = check_host(h);
    problem = problem ? problem : check_codings(r);
    return problem || h->minor == 0 || !r->has_other_expectation ? problem : &other_expectation;
}

static request_head_state read_lines(reading *r, span *rest, const http_problem **problem) {
    span line = {0};
    request_head_state state;
    do { /* empty lines before a request are overlooked */
        state = take_line(rest, &line);
    } while (state == REQUEST_HEAD_WHOLE && line.length == 0);
    *problem = state == REQUEST_HEAD_WHOLE                          ? read_first(r->head, line)
               : state == REQUEST_HEAD_BAD || !may_be_method(*rest) ? &malformed
                                                                    : NULL;
    bool has_first = state == REQUEST_HEAD_WHOLE;
    while (!*problem && state == REQUEST_HEAD_WHOLE) {
        state = take_line(rest, &line);
        if (state == REQUEST_HEAD_WHOLE && line.length == 0) {
            *problem = check_whole(r);
            return REQUEST_HEAD_WHOLE;
        }
        *problem = state == REQUEST_HEAD_WHOLE ? read_field(r, line) : state == REQUEST_HEAD_BAD ? &bad_line : NULL;
    }
    r->head->problem = has_first ? &long_head : &long_target; /* if it is already as long as that */
    return state;
}

request_head_state request_head_read(request_head *h, const uint8_t *bytes, size_t length) {
    reading r = {.head = h};
    size_t most = length < REQUEST_HEAD_MAX ? length : REQUEST_HEAD_MAX;
    span rest = {(const char *)bytes, most};
    const http_problem *problem = NULL;
    *h = (request_head){0};
    request_head_state state = read_lines(&r, &rest, &problem);
    if (problem) {
        h->problem = problem;
        return REQUEST_HEAD_BAD;
    }
    if (state == REQUEST_HEAD_WHOLE) {
        h->length = most - rest.length;
        return REQUEST_HEAD_WHOLE;
    }
    return most == REQUEST_HEAD_MAX ? REQUEST_HEAD_BAD : REQUEST_HEAD_MORE;
}
