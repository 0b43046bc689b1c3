/* The heads of requests, by what RFC 9112 and 9110 say a server must do with them. Every one is read with every number
 * of its bytes, and from a place of its own, so that AddressSanitizer sees what is read beyond the end. */
#include "decoder_server/http/request_head.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define GET "GET /healthz HTTP/1.1\r\n"
#define HOST "Host: here\r\n"
#define POST "POST /v1/classify HTTP/1.1\r\n" HOST

/* The head in memory that ends where it does; freed by the caller. */
static uint8_t *copy(const char *text, size_t length) {
    uint8_t *bytes = malloc(length + !length);
    memcpy(bytes, text, length);
    return bytes;
}

/* As what is read comes in, byte by byte: once it is told, more changes nothing. */
static request_head_state read_in_pieces(const char *text, size_t length, const http_problem **problem) {
    request_head h;
    request_head_state state = REQUEST_HEAD_MORE;
    for (size_t there = 0; there <= length; there++) {
        uint8_t *bytes = copy(text, there);
        request_head_state now = request_head_read(&h, bytes, there);
        if (state != REQUEST_HEAD_MORE) {
            assert_int_equal(now, state);
            assert_ptr_equal(h.problem, *problem);
        }
        state = now;
        *problem = now == REQUEST_HEAD_MORE ? NULL : h.problem;
        free(bytes);
    }
    return state;
}

static void assert_bad(const char *text, size_t length, unsigned status) {
    const http_problem *problem = NULL;
    request_head_state state = read_in_pieces(text, length, &problem);
    if (state != REQUEST_HEAD_BAD || problem->status != status) {
        fail_msg("%u wanted, %d %u: %.200s", status, (int)state, problem ? problem->status : 0, text);
    }
    assert_true(problem->code[0] && problem->message[0]);
}

static void assert_good(const char *text, request_head *h) {
    const http_problem *problem = NULL;
    request_head_state state = read_in_pieces(text, strlen(text), &problem);
    if (state != REQUEST_HEAD_WHOLE) {
        fail_msg("%d %s: %s", (int)state, problem ? problem->message : "", text);
    }
    assert_int_equal(request_head_read(h, (const uint8_t *)text, strlen(text)), REQUEST_HEAD_WHOLE);
}

static void good_heads(void **state) {
    (void)state;
    static const char *const good[] = {
        GET HOST "\r\n",
        "GET / HTTP/1.0\r\n\r\n",                    /* 1.0 has no Host */
        "GET / HTTP/1.9\r\n" HOST "\r\n",            /* RFC 9110, 2.5: as the highest that is known */
        "GET / HTTP/1.1\nHost: here\n\n",            /* RFC 9112, 2.2: LF alone may be taken */
        "\r\n\r\n\nGET / HTTP/1.1\r\n" HOST "\r\n",  /* 2.2: empty lines before a request */
        GET "Host:\r\n\r\n",                         /* 3.2: empty, where there is no authority */
        GET "host:here:80\r\nEmpty:\r\nA:b\r\n\r\n", /* 5.1: no blank is needed */
        GET HOST "A: \tb c\t \xff\r\n\r\n",          /* 5.5: obs-text */
        "M-SEARCH /x HTTP/1.1\r\n" HOST "\r\n",      /* a method that nobody knows */
        GET "Host: [::1]:8080\r\n\r\n",
        GET "Host: 127.0.0.1:65535\r\n\r\n",
        GET "Host: a-b.c_d~%41!$&'()*+,;=\r\n\r\n",
        POST "Content-Length: 0\r\n\r\n",
        POST "Transfer-Encoding:chunked\r\n\r\n",
        POST "Transfer-Encoding: , Chunked ,\r\n\r\n", /* RFC 9110, 5.6.1: empty elements */
        "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n",
        GET HOST "X-Request-Id: a\r\nX-Request-Id: b\r\n\r\n", /* none, rather than one of the two */
        GET HOST "Expect: 100-Continue\r\n\r\n",
        "GET / HTTP/1.0\r\nExpect: nothing\r\n\r\n", /* RFC 9110, 10.1.1: of 1.0 it is overlooked */
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        request_head h;
        assert_good(good[i], &h);
        assert_int_equal(h.length, strlen(good[i]));
    }
}

static const struct {
    unsigned status;
    const char *text;
} bad[] = {
    /* RFC 9112, 3: the first line */
    {400, "GET /\r\n\r\n"},
    {400, "GARBAGE\r\n\r\n"},
    {400, " GET / HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET  / HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /  HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET / HTTP/1.1 \r\n" HOST "\r\n"},
    {400, "GET / x HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET\t/\tHTTP/1.1\r\n" HOST "\r\n"},
    {400, "G\x01T / HTTP/1.1\r\n" HOST "\r\n"},
    {400, "G@T / HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /\x7f HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /\xc3\xbc HTTP/1.1\r\n" HOST "\r\n"},
    /* 2.3: versions */
    {400, "GET / http/1.1\r\n" HOST "\r\n"},
    {400, "GET / HTTP/1\r\n" HOST "\r\n"},
    {400, "GET / HTTP/11\r\n" HOST "\r\n"},
    {400, "GET / HTTP/1.10\r\n" HOST "\r\n"},
    {400, "GET / HTTP/1,1\r\n" HOST "\r\n"},
    {400, "GET / XTTP/1.1\r\n" HOST "\r\n"},
    {505, "GET / HTTP/0.9\r\n" HOST "\r\n"},
    {505, "GET / HTTP/2.0\r\n" HOST "\r\n"},
    {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
    {505, "GET / HTTP/9.9\r\n" HOST "\r\n"},
    /* 3.2: Host, and targets */
    {400, GET "\r\n"},
    {400, GET HOST HOST "\r\n"},
    {400, GET "Host: a\r\nHost: b\r\n\r\n"},
    {400, GET "Host: a b\r\n\r\n"},
    {400, GET "Host: a/b\r\n\r\n"},
    {400, GET "Host: user@a\r\n\r\n"},
    {400, GET "Host: a:b\r\n\r\n"},
    {400, GET "Host: a:99999\r\n\r\n"},
    {400, GET "Host: a:80:80\r\n\r\n"},
    {400, GET "Host: [::1\r\n\r\n"},
    {400, GET "Host: [::1]x\r\n\r\n"},
    {400, GET "Host: [nothing]\r\n\r\n"},
    {400, GET "Host: %4\r\n\r\n"},
    {400, GET "Host: \xc3\xbc\r\n\r\n"},
    {400, "GET / HTTP/1.0\r\nHost: a b\r\n\r\n"},
    {400, "GET healthz HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET * HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET here:80 HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET ftp://here/ HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET http:///x HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET http://:80/ HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET http://a@b/ HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET http://a/ HTTP/1.1\r\n\r\n"},
    {400, "GET /#x HTTP/1.1\r\n" HOST "\r\n"},
    {400, "CONNECT / HTTP/1.1\r\n" HOST "\r\n"},
    {400, "CONNECT here HTTP/1.1\r\n" HOST "\r\n"},
    {400, "CONNECT :80 HTTP/1.1\r\n" HOST "\r\n"},
    /* 5: fields */
    {400, GET "Host : here\r\n\r\n"},
    {400, GET HOST "A\t: b\r\n\r\n"},
    {400, GET HOST "A B: c\r\n\r\n"},
    {400, GET HOST ": b\r\n\r\n"},
    {400, GET HOST "no colon\r\n\r\n"},
    {400, GET HOST "\xc3\xbc: b\r\n\r\n"},
    {400, GET HOST "A: b\x01\r\n\r\n"},
    {400, GET HOST "A: b\x7f\r\n\r\n"},
    {400, GET HOST "A: b\rc\r\n\r\n"}, /* 2.2: CR alone */
    {400, GET HOST "A: b\r\r\n\r\n"},
    {400, "GET / HTTP/1.1\rHost: here\r\r"},
    {400, GET HOST "A: b\r\n c\r\n\r\n"}, /* 5.2: folded */
    {400, GET HOST "A: b\r\n\tc\r\n\r\n"},
    {400, GET " " HOST "\r\n"}, /* 2.2: a blank before the first field */
    {400, GET HOST "Authorization: a\r\nAuthorization: b\r\n\r\n"},
    {400, POST "Content-Type: a/b\r\nContent-Type: a/c\r\n\r\n"},
    /* 6.1: Transfer-Encoding */
    {400, POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"},
    {400, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {400, POST "Transfer-Encoding: chunked, chunked\r\n\r\n"},
    {400, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {400, POST "Transfer-Encoding: chunked, gzip\r\n\r\n"},
    {400, POST "Transfer-Encoding: gzip\r\n\r\n"},
    {400, POST "Transfer-Encoding: identity\r\n\r\n"},
    {400, POST "Transfer-Encoding: xchunked\r\n\r\n"},
    {400, POST "Transfer-Encoding: chunked;a=b\r\n\r\n"},
    {400, POST "Transfer-Encoding: \"chunked\"\r\n\r\n"},
    {400, POST "Transfer-Encoding:\r\n\r\n"},
    {400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {501, POST "Transfer-Encoding: gzip, chunked\r\n\r\n"},
    {501, POST "Transfer-Encoding: other\r\nTransfer-Encoding: chunked\r\n\r\n"},
    /* 6.2, 6.3: Content-Length */
    {400, POST "Content-Length:\r\n\r\n"},
    {400, POST "Content-Length: -1\r\n\r\n"},
    {400, POST "Content-Length: +1\r\n\r\n"},
    {400, POST "Content-Length: 0x10\r\n\r\n"},
    {400, POST "Content-Length: 1e3\r\n\r\n"},
    {400, POST "Content-Length: 7 84\r\n\r\n"},
    {400, POST "Content-Length: 5,\r\n\r\n"},
    {400, POST "Content-Length: 5, 5\r\n\r\n"},
    {400, POST "Content-Length: 5, 6\r\n\r\n"},
    {400, POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"},
    {400, POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"},
    {400, POST "Content-Length: 0\r\nContent-Length: 5\r\n\r\n"},
    {417, POST "Expect: 200-ok\r\n\r\n"},
    {400, "\x16\x03\x01\x02"}, /* TLS */
    {400, "\xff\x0f\x01"},     /* a node's frame */
    {400, "SSH-2.0-x\r\n"},
};

static void bad_heads(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_bad(bad[i].text, strlen(bad[i].text), bad[i].status);
    }
    static const char zero[] = GET HOST "A: b\0c\r\n\r\n", frame[] = "\x10\0\0\x01";
    assert_bad(zero, sizeof zero - 1, 400);
    assert_bad(frame, sizeof frame - 1, 400);
}

/* A head with so many more bytes in it, or after it. */
static void assert_long(const char *before, size_t more, const char *after, request_head_state wanted,
                        unsigned status) {
    size_t first = strlen(before), last = strlen(after);
    char *text = malloc(first + more + last + 1);
    memcpy(text, before, first);
    memset(text + first, 'x', more);
    memcpy(text + first + more, after, last + 1);
    request_head h;
    assert_int_equal(request_head_read(&h, (const uint8_t *)text, first + more + last), wanted);
    assert_true(wanted != REQUEST_HEAD_BAD || h.problem->status == status);
    free(text);
}

static void long_heads(void **state) {
    (void)state;
    const size_t fixed = strlen(GET HOST "A: \r\n\r\n");
    assert_long(GET HOST "A: ", REQUEST_HEAD_MAX - fixed, "\r\n\r\n", REQUEST_HEAD_WHOLE, 0);
    assert_long(GET HOST "A: ", REQUEST_HEAD_MAX - fixed, "\r\n\r\nmore", REQUEST_HEAD_WHOLE, 0);
    assert_long(GET HOST "A: ", REQUEST_HEAD_MAX - fixed + 1, "\r\n\r\n", REQUEST_HEAD_BAD, 431);
    assert_long(GET HOST "A: ", REQUEST_HEAD_MAX, "", REQUEST_HEAD_BAD, 431);
    assert_long("GET /", REQUEST_HEAD_MAX, "", REQUEST_HEAD_BAD, 414);
    assert_long("", REQUEST_HEAD_MAX, "", REQUEST_HEAD_BAD, 414);
    assert_long("", REQUEST_HEAD_MAX - 1, "", REQUEST_HEAD_MORE, 0);
    assert_long("GET /", REQUEST_HEAD_MAX, " HTTP/1.1\r\n" HOST "\r\n", REQUEST_HEAD_BAD, 414);
}

/* What a good head is read as. */

static void framing(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t length;
        bool is_chunked, is_last, expects;
    } heads[] = {
        {GET HOST "\r\n", 0, false, false, false},
        {POST "Content-Length: 784\r\n\r\n", 784, false, false, false},
        {POST "content-LENGTH:\t784 \t\r\n\r\n", 784, false, false, false},
        {POST "Content-Length: 000000000000000000000000784\r\n\r\n", 784, false, false, false},
        {POST "Content-Length: 99999999999999999999999\r\n\r\n", UINT64_MAX, false, false, false},
        {POST "Content-Length: 18446744073709551616\r\n\r\n", UINT64_MAX, false, false, false},
        {POST "Transfer-Encoding: chunked \t\r\n\r\n", 0, true, false, false},
        {POST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", 5, false, false, true},
        {GET HOST "Connection: close\r\n\r\n", 0, false, true, false},
        {GET HOST "Connection: x , CLOSE\r\n\r\n", 0, false, true, false},
        {GET HOST "Connection: keep-alive\r\nConnection: close\r\n\r\n", 0, false, true, false},
        {GET HOST "Connection: closed\r\n\r\n", 0, false, false, false},
        {"GET / HTTP/1.0\r\n\r\n", 0, false, true, false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 0, false, false, false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", 0, false, true, false},
        {"GET / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", 5, false, true, false},
    };
    for (size_t i = 0; i < COUNT(heads); i++) {
        request_head h;
        assert_good(heads[i].text, &h);
        assert_true(h.content_length == heads[i].length);
        assert_int_equal(h.is_chunked, heads[i].is_chunked);
        assert_int_equal(h.is_last, heads[i].is_last);
        assert_int_equal(h.expects_continue, heads[i].expects);
    }
}

/* RFC 9112, 5.1: blanks around a value do not belong to it, of any field. */
static void values_have_no_blanks(void **state) {
    (void)state;
    static const char *const names[REQUEST_FIELDS] = {"Authorization", "content-encoding", "content-type",
                                                      "HOST",          "if-none-match",    "Origin",
                                                      "X-Request-Id",  "sec-fetch-site",   "TraceParent"};
    static const char *const blanks[] = {"", " ", "\t", " \t  "};
    for (request_field f = 0; f < REQUEST_FIELDS; f++) {
        for (size_t b = 0; b < COUNT(blanks); b++) {
            for (size_t a = 0; a < COUNT(blanks); a++) {
                char text[200];
                request_head h;
                snprintf(text, sizeof text, GET "%s%s:%sva%slue%s\r\n\r\n", f == REQUEST_FIELD_HOST ? "" : HOST,
                         names[f], blanks[b], f == REQUEST_FIELD_HOST ? "" : " ", blanks[a]);
                assert_good(text, &h);
                assert_true(span_equals(h.fields[f], f == REQUEST_FIELD_HOST ? "value" : "va lue"));
            }
        }
    }
}

static void targets(void **state) {
    (void)state;
    static const struct {
        const char *method, *target, *host, *path;
    } forms[] = {
        {"GET", "/", "here", "/"},
        {"GET", "/a?b=/c", "here", "/a"},
        {"GET", "/?", "here", "/"},
        {"GET", "//a", "here", "//a"},
        {"GET", "http://there/a", "there", "/a"},
        {"GET", "HTTPS://there:8/a?b", "there:8", "/a"},
        {"GET", "http://there", "there", "/"},
        {"GET", "http://there?b", "there", "/"},
        {"GET", "http://[::1]:80/", "[::1]:80", "/"},
        {"OPTIONS", "http://there", "there", "*"},
        {"OPTIONS", "*", "here", "*"},
        {"OPTIONS", "/a", "here", "/a"},
        {"CONNECT", "there:80", "there:80", NULL},
        {"CONNECT", "[::1]:80", "[::1]:80", NULL},
    };
    for (size_t i = 0; i < COUNT(forms); i++) {
        char text[200];
        request_head h;
        snprintf(text, sizeof text, "%s %s HTTP/1.1\r\n" HOST "\r\n", forms[i].method, forms[i].target);
        assert_good(text, &h);
        assert_true(span_equals(h.method, forms[i].method));
        assert_true(span_equals(h.host, forms[i].host));
        assert_true(forms[i].path ? span_equals(h.target.path, forms[i].path) : !h.target.path.at);
    }
}

static void paths(void **state) {
    (void)state;
    static const struct {
        const char *from, *to; /* NULL: none */
    } all[] = {
        {"/", "/"},
        {"/v1/classify", "/v1/classify"},
        {"/v1/%63lassify", "/v1/classify"},
        {"/%76%31/%63%6c%61%73%73%69%66%79", "/v1/classify"},
        {"/v1/%63%6C%61%73%73%69%66%79", "/v1/classify"},
        {"/v1%2fclassify", "/v1%2fclassify"},
        {"/v1%2Fclassify", "/v1%2Fclassify"},
        {"/v1/classify%00", "/v1/classify%00"},
        {"/v1/classify%3f", "/v1/classify%3f"},
        {"/%2576", "/%2576"}, /* decoded once */
        {"/v1/./classify", "/v1/classify"},
        {"/v1/x/../classify", "/v1/classify"},
        {"/v1/%2e%2E/v1/classify", "/v1/classify"},
        {"/../../v1/classify", "/v1/classify"},
        {"/v1/classify/.", "/v1/classify/"},
        {"/v1/classify/..", "/v1/"},
        {"/..", "/"},
        {"/.", "/"},
        {"/...", "/..."},
        {"/.a/..b", "/.a/..b"},
        {"//v1/classify", "//v1/classify"},
        {"/v1//classify", "/v1//classify"},
        {"/%", NULL},
        {"/%4", NULL},
        {"/%zz", NULL},
        {"/a%4", NULL},
        {"*", "*"},
    };
    char path[REQUEST_PATH_MAX + 1], text[3 * 256];
    for (size_t i = 0; i < COUNT(all); i++) {
        assert_int_equal(request_path_read(span_of(all[i].from), path), all[i].to != NULL);
        assert_true(!all[i].to || strcmp(path, all[i].to) == 0);
    }
    for (unsigned c = 0; c < 256; c++) { /* only what need not be encoded is one with its code */
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~";
        snprintf(text, sizeof text, "/x%%%02x", c);
        assert_true(request_path_read(span_of(text), path));
        assert_int_equal(strlen(path) == 3, (c && strchr(plain, (int)c)) || c == '.');
        assert_true(strlen(path) == 3 ? (unsigned char)path[2] == c : strcmp(path, text) == 0);
    }
    for (size_t length = 1; length < 700; length++) {
        memset(text, 'a', sizeof text);
        text[0] = '/';
        text[length] = '\0';
        assert_true(request_path_read(span_of(text), path));
        assert_int_equal(strlen(path), length <= REQUEST_PATH_MAX ? length : 0);
    }
}

/* A method, and what is in a name or in a value, by character. */
static void characters(void **state) {
    (void)state;
    static const char token[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (int c = 0; c < 256; c++) {
        bool is_token = c && strchr(token, c), is_value = (c >= ' ' && c != 0x7f) || c == '\t';
        const struct {
            const char *before, *after;
            bool is_good;
        } places[] = {
            {"G", "T / HTTP/1.1\r\n" HOST "\r\n", is_token},
            {GET HOST "A", "B: c\r\n\r\n", is_token || c == ':'},
            {GET HOST "A: b", "c\r\n\r\n", is_value},
            {"GET /", " HTTP/1.1\r\n" HOST "\r\n", c > ' ' && c < 0x7f && c != '#'},
        };
        for (size_t i = 0; i < COUNT(places); i++) {
            char text[100];
            request_head h;
            size_t first = strlen(places[i].before), last = strlen(places[i].after);
            memcpy(text, places[i].before, first);
            text[first] = (char)c;
            memcpy(text + first + 1, places[i].after, last);
            bool is_line_end = c == '\n' && i == 2; /* "c" is then a line of its own */
            bool is_good = places[i].is_good && !is_line_end;
            assert_int_equal(request_head_read(&h, (uint8_t *)text, first + 1 + last) == REQUEST_HEAD_WHOLE, is_good);
        }
    }
}

/* Of use under AddressSanitizer: the bytes end where their memory does. */
static void nothing_is_read_beyond_the_end(void **state) {
    (void)state;
    static const char seed[] = POST "Content-Length: 784\r\nA: b\r\n\r\n";
    rng r = rng_at(1, 2, 3);
    for (int turn = 0; turn < 20000; turn++) {
        size_t length = rng_below(&r, sizeof seed);
        uint8_t *bytes = copy(seed, length);
        for (uint32_t i = rng_below(&r, 4); i > 0 && length > 0; i--) {
            bytes[rng_below(&r, (uint32_t)length)] = (uint8_t)rng_below(&r, 256);
        }
        request_head h;
        request_head_state s = request_head_read(&h, bytes, length);
        assert_true(s != REQUEST_HEAD_WHOLE || (h.length <= length && !h.problem));
        assert_true(s != REQUEST_HEAD_BAD || h.problem);
        free(bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_heads),
        cmocka_unit_test(bad_heads),
        cmocka_unit_test(long_heads),
        cmocka_unit_test(framing),
        cmocka_unit_test(values_have_no_blanks),
        cmocka_unit_test(targets),
        cmocka_unit_test(paths),
        cmocka_unit_test(characters),
        cmocka_unit_test(nothing_is_read_beyond_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
