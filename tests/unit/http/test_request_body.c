/* The bodies of requests: chunks in pieces of every size, batches with every boundary. */
#include "decoder_server/http/chunked.h"
#include "decoder_server/http/multipart.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Chunks. */

/* The body cut in pieces; what its data are, and how much of the text it took. */
static chunked_state take_in(const char *text, size_t length, size_t cut, size_t piece, char *data, size_t *taken) {
    chunked c = {0};
    chunked_state state = CHUNKED_MORE;
    size_t at = 0, used = 0;
    while (at < length && state == CHUNKED_MORE) {
        size_t here = at < cut ? cut - at : piece;
        here = here < length - at ? here : length - at;
        char *bytes = malloc(here);
        memcpy(bytes, text + at, here);
        span rest = {bytes, here}, got;
        while ((state = chunked_take(&c, &rest, &got)) == CHUNKED_PIECE) {
            memcpy(data + used, got.at, got.length);
            used += got.length;
        }
        at += here - rest.length;
        free(bytes);
    }
    data[used] = '\0';
    *taken = at;
    return state;
}

static void good_chunks(void **state) {
    (void)state;
    static const struct {
        const char *text, *data;
    } good[] = {
        {"0\r\n\r\n", ""},
        {"5\r\nhello\r\n0\r\n\r\n", "hello"},
        {"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!"},
        {"00000005\r\nhello\r\n000\r\n\r\n", "hello"},
        {"B\r\n\r\n0\r\n\r\n5\r\n!\r\n0\r\n\r\n", "\r\n0\r\n\r\n5\r\n!"},
        {"a\r\n0123456789\r\n0\r\n\r\n", "0123456789"},
        {"5;x\r\nhello\r\n0;y=\"z;\t\"\r\n\r\n", "hello"},
        {"5 \t;x = \xfc\r\nhello\r\n0\r\n\r\n", "hello"},
        {"5\r\nhello\r\n0\r\nA: b\r\nX-Y:\r\n\r\n", "hello"},
    };
    char data[100], text[200];
    for (size_t i = 0; i < COUNT(good); i++) {
        size_t taken, length = strlen(good[i].text);
        snprintf(text, sizeof text, "%sbehind", good[i].text);
        for (size_t cut = 0; cut <= length + 6; cut++) {
            for (size_t piece = 1; piece < 5; piece++) {
                assert_int_equal(take_in(text, length + 6, cut, piece, data, &taken), CHUNKED_END);
                assert_int_equal(taken, length);
                assert_string_equal(data, good[i].data);
            }
        }
        for (size_t there = 0; there < length; there++) {
            assert_int_equal(take_in(text, there, there, 1, data, &taken), CHUNKED_MORE);
        }
    }
}

static void bad_chunks(void **state) {
    (void)state;
    static const char *const bad[] = {
        "\r\n",
        ";x\r\n",
        " 5\r\nhello\r\n",
        "-5\r\nhello",
        "+5\r\nhello",
        "0x5\r\nhello",
        "zz\r\n",
        "5\nhello\n0\n\n", /* LF alone: only heads have that */
        "5\r\nhello0\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "5\r\nhello\r\r\n",
        "5 \r\nhello",
        "5 x\r\nhello",
        "5;a\rb\r\nhello",
        "5;a\x01\r\nhello",
        "5;\x7f\r\nhello",
        "00000000000000005\r\nhello",
        "ffffffffffffffffff\r\n",
        "0\r\n\n",
        "0\r\n: b\r\n",
        "0\r\n A: b\r\n",
        "0\r\nA : b\r\n",
        "0\r\nA\r\n",
        "0\r\nA: b\x01\r\n",
        "0\r\nA: b\n\r\n",
    };
    char data[100];
    for (size_t i = 0; i < COUNT(bad); i++) {
        size_t taken, whole;
        assert_int_equal(take_in(bad[i], strlen(bad[i]), 0, SIZE_MAX, data, &whole), CHUNKED_BAD);
        for (size_t cut = 0; cut <= strlen(bad[i]); cut++) {
            assert_int_equal(take_in(bad[i], strlen(bad[i]), cut, 1, data, &taken), CHUNKED_BAD);
        }
    }
}

/* As many extensions, or trailers, as there may be, and one more byte. */
static void what_is_beside_the_data_is_bounded(void **state) {
    (void)state;
    static char text[2 * CHUNKED_EXTRA_MAX], data[16];
    for (int more = 0; more < 2; more++) {
        for (int is_trailer = 0; is_trailer < 2; is_trailer++) {
            size_t fixed = is_trailer ? strlen("A:\r") : strlen(";");
            size_t taken, used = (size_t)sprintf(text, is_trailer ? "0\r\nA:" : "0;");
            memset(text + used, 'x', CHUNKED_EXTRA_MAX - fixed + (size_t)more);
            used += CHUNKED_EXTRA_MAX - fixed + (size_t)more;
            used += (size_t)sprintf(text + used, "\r\n\r\n");
            assert_int_equal(take_in(text, used, 0, SIZE_MAX, data, &taken), more ? CHUNKED_BAD : CHUNKED_END);
        }
    }
}

/* Boundaries. */

static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'()+_,-./:=? ";

static void assert_boundary(const char *type, const char *wanted) {
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    err e = multipart_boundary(span_of(type), boundary);
    if (e != (wanted ? ERR_OK : ERR_INPUT) || (wanted && strcmp(boundary, wanted) != 0)) {
        fail_msg("%s: %d, '%s'", type, (int)e, boundary);
    }
}

static void boundaries_are_read(void **state) {
    (void)state;
    static const struct {
        const char *type, *boundary;
    } types[] = {
        {"multipart/form-data; boundary=BB", "BB"},
        {"multipart/form-data;boundary=BB", "BB"},
        {"multipart/form-data ; boundary = BB ", "BB"},
        {"Multipart/Form-Data; BOUNDARY=BB", "BB"},
        {"multipart/form-data; charset=utf-8; boundary=BB", "BB"},
        {"multipart/form-data; boundary=BB; charset=utf-8", "BB"},
        {"multipart/form-data; boundary=BB;", "BB"},
        {"multipart/form-data; ; boundary=\"B;B\"", NULL}, /* a semicolon within quotes is none of its letters */
        {"multipart/form-data; ; boundary=\"B=\\B\"; x", "B=B"},
        {"multipart/form-data; x=\"; boundary=YY\"; boundary=BB", "BB"},
        {"multipart/form-data; xboundary=YY; boundary=B=B", "B=B"},
        {"multipart/form-data; boundary=\"a b\"", "a b"},
        {"multipart/form-data; boundary=----=_Part_1_:x", "----=_Part_1_:x"},
        {"multipart/form-data", NULL},
        {"multipart/form-data; boundary", NULL},
        {"multipart/form-data; boundary=", NULL},
        {"multipart/form-data; boundary=\"\"", NULL},
        {"multipart/form-data; boundary=\"BB", NULL},
        {"multipart/form-data; boundary=\"BB\"x", NULL},
        {"multipart/form-data; boundary=\"BB \"", NULL},
        {"multipart/form-data; boundary=B*B", NULL},
        {"multipart/form-data; boundary=\xc3\xbc", NULL},
        {"multipart/form-data; boundary=BB; boundary=BB", NULL},
        {"multipart/form-data; boundary=BB; Boundary=CC", NULL},
    };
    for (size_t i = 0; i < COUNT(types); i++) {
        assert_boundary(types[i].type, types[i].boundary);
    }
    for (size_t length = 1; length < 80; length++) {
        char type[200], boundary[100];
        memset(boundary, 'b', length);
        boundary[length] = '\0';
        for (int is_quoted = 0; is_quoted < 2; is_quoted++) {
            const char *quote = is_quoted ? "\"" : "";
            snprintf(type, sizeof type, "multipart/form-data; boundary=%s%s%s; x=y", quote, boundary, quote);
            assert_boundary(type, length <= MULTIPART_BOUNDARY_MAX ? boundary : NULL);
        }
    }
    for (int c = 1; c < 256; c++) {
        char type[64], boundary[] = {'a', (char)c, 'b', 0};
        snprintf(type, sizeof type, "multipart/form-data; boundary=\"a%s%cb\"", strchr("\"\\", c) ? "\\" : "", c);
        assert_boundary(type, strchr(letters, c) ? boundary : NULL);
    }
}

/* Batches. */

enum { PARTS_MAX = 6, BODY_MAX = 4096 };

typedef struct batch {
    char bytes[BODY_MAX];
    size_t length;
} batch;

static void add(batch *b, const char *bytes, size_t length) {
    memcpy(b->bytes + b->length, bytes, length);
    b->length += length;
}

static void add_text(batch *b, const char *text) {
    add(b, text, strlen(text));
}

static void assert_parts(const batch *b, const char *boundary, const char *const *contents, uint32_t count) {
    multipart_part parts[PARTS_MAX];
    uint32_t there;
    uint8_t *body = malloc(b->length);
    memcpy(body, b->bytes, b->length);
    err e = multipart_read(body, b->length, boundary, parts, PARTS_MAX, &there);
    if (e || there != count) {
        fail_msg("boundary %s: %d, %u parts of %u: %s", boundary, (int)e, there, count, e ? err_text() : "");
    }
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(parts[i].length, strlen(contents[i]));
        assert_memory_equal(body + parts[i].from, contents[i], parts[i].length);
    }
    free(body);
}

static void parts_have_the_names_that_they_are_given(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"Content-Disposition: form-data; name=\"guest\"", "guest"},
        {"content-DISPOSITION:form-data;NAME=guest", "guest"},
        {"Content-Disposition: form-data; filename=\"a; name=b\"; name=\"guest\"", "guest"},
        {"Content-Disposition: form-data;\r\n name=\"guest\";\r\n filename=x", "guest"},
        {"Content-Type: text/csv\r\nContent-Disposition: form-data; name = \"guest\"", "guest"},
        {"Content-Disposition: form-data; filename=\"guest\"", ""},
        {"Content-Disposition: form-data; name=", ""},
        {"Content-Disposition: form-data; name", ""},
        {"Content-Disposition: form-data; name=\"", "\""},
        {"Content-Disposition: form-data", ""},
        {"Content-Type: text/csv; name=guest", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[256];
        multipart_part part;
        uint32_t count;
        int length = snprintf(body, sizeof body, "--BB\r\n%s\r\n\r\nx\r\n--BB--\r\n", cases[i][0]);
        assert_int_equal(multipart_read((const uint8_t *)body, (size_t)length, "BB", &part, 1, &count), ERR_OK);
        assert_int_equal(part.name.length, strlen(cases[i][1]));
        assert_memory_equal(part.name.at ? part.name.at : "", cases[i][1], part.name.length);
    }
}

/* Every boundary by length and by letter; with preamble, epilogue, padding, fields, and content that looks like it. */
static void parts_are_what_was_sent(void **state) {
    (void)state;
    static const char *const heads[] = {"", "Content-Type: image/png\r\n",
                                        "content-TYPE:\r\n image/png\r\nA: b;\r\n\tc\r\n"};
    static const char *const preambles[] = {"", "hello\r\n", "\r\n", "--\r\n--x\r\n"};
    static const char *const epilogues[] = {"", "\r\n", "\r\nbye", " \t\r\n--bye\r\n", " "};
    static const char *const paddings[] = {"", " ", "\t  "};
    rng r = rng_at(3, 1, 4);
    for (size_t length = 1; length <= MULTIPART_BOUNDARY_MAX; length++) {
        for (int turn = 0; turn < 40; turn++) {
            char boundary[MULTIPART_BOUNDARY_MAX + 1], contents[PARTS_MAX][300];
            const char *wanted[PARTS_MAX];
            for (size_t i = 0; i < length; i++) {
                boundary[i] = letters[rng_below(&r, (uint32_t)strlen(letters) - (i + 1 == length))];
            }
            boundary[length] = '\0';
            batch b = {.length = 0};
            uint32_t count = 1 + rng_below(&r, PARTS_MAX);
            add_text(&b, preambles[rng_below(&r, COUNT(preambles))]);
            for (uint32_t i = 0; i < count; i++) {
                const char *const looks[] = {"", "x", "\r\n", "\r\n\r\n", " y: z\r\n", "--", "\r\n--"};
                const char *look = looks[rng_below(&r, COUNT(looks))];
                int cut = (int)rng_below(&r, (uint32_t)length); /* a piece of the boundary after an end of line, */
                snprintf(contents[i], sizeof contents[i], "%s\r\n--%.*s\r%s--%s\r\n--%s!%s", look, cut, boundary, "x",
                         boundary, boundary, look); /* all of it within a line, and all of it with something after it */
                contents[i][rng_below(&r, 3) ? strlen(contents[i]) : strlen(look)] = '\0';
                wanted[i] = contents[i];
                add_text(&b, "--");
                add_text(&b, boundary);
                add_text(&b, paddings[rng_below(&r, COUNT(paddings))]);
                add_text(&b, "\r\n");
                add_text(&b, heads[rng_below(&r, COUNT(heads))]);
                add_text(&b, "\r\n");
                add_text(&b, contents[i]);
                add_text(&b, "\r\n");
            }
            add_text(&b, "--");
            add_text(&b, boundary);
            add_text(&b, "--");
            add_text(&b, epilogues[rng_below(&r, COUNT(epilogues))]);
            assert_parts(&b, boundary, wanted, count);
        }
    }
}

static err read_text(const char *text, multipart_part parts[PARTS_MAX], uint32_t *count) {
    return multipart_read((const uint8_t *)text, strlen(text), "BB", parts, PARTS_MAX, count);
}

static void heads_of_parts(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint32_t count; /* 0: damaged */
        const char *type;
    } bodies[] = {
        {"--BB\r\n\r\n--BB--", 1, NULL}, /* nothing at all */
        {"--BB\r\n\r\n\r\n--BB--", 1, NULL},
        {"--BB\r\nContent-Type: a/b\r\n--BB--", 1, "a/b"}, /* a head alone */
        {"--BB\r\nContent-Type: a/b\r\n\r\n--BB--", 1, "a/b"},
        {"--BB\r\nX: y\r\nCONTENT-type :a/b ;c=d\r\n\r\nz\r\n--BB--", 1, "a/b ;c=d"},
        {"--BB\r\nContent-Type: a/b\r\n\r\n1\r\n--BB\r\n\r\n2\r\n--BB--", 2, "a/b"},
        {"--BB\r\n\r\n1\r\n--BB\r\n\r\n\r\n--BB\r\n\r\n3\r\n--BB--\r\n--BB\r\n\r\n4\r\n--BB--", 3, NULL},
        {"--BB\r\nContent-Transfer-Encoding: 8Bit\r\n\r\nz\r\n--BB--", 1, NULL},
        {"--BB\r\nContent-Transfer-Encoding: binary\r\n\r\nz\r\n--BB--", 1, NULL},
        {"--BB\r\ncontent-transfer-encoding: base64\r\n\r\nz\r\n--BB--", 0, NULL},
        {"--BB\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nz\r\n--BB--", 0, NULL},
        {"--BB\r\nno field\r\n\r\nz\r\n--BB--", 0, NULL},
        {"--BB\r\n: x\r\n\r\nz\r\n--BB--", 0, NULL},
        {"--BB\r\na b: x\r\n\r\nz\r\n--BB--", 0, NULL},
        {"--BB\r\n--BB--", 0, NULL},
        {"--BB--", 0, NULL},
        {"", 0, NULL},
        {"nothing", 0, NULL},
        {"--BB", 0, NULL},
        {"--BB\r\n", 0, NULL},
        {"--BB\r\n\r\nz\r\n--BB", 0, NULL},
        {"--BB\r\n\r\nz\r\n--BB-", 0, NULL},
        {"--BB\r\n\r\nz\r\n--BB\r\n", 0, NULL},
        {"--BB\r\n\r\nz\r\n--BBB--", 0, NULL},
        {"--BB\r\n\r\nz\n--BB--", 0, NULL},
        {"--BB\n\nz\n--BB--\n", 0, NULL},
        {"x--BB\r\n\r\nz\r\n--BB--", 0, NULL},
    };
    for (size_t i = 0; i < COUNT(bodies); i++) {
        multipart_part parts[PARTS_MAX];
        uint32_t count;
        err e = read_text(bodies[i].text, parts, &count);
        if (e != (bodies[i].count ? ERR_OK : ERR_INPUT) || (!e && count != bodies[i].count)) {
            fail_msg("%s: %d, %u parts", bodies[i].text, (int)e, count);
        }
        if (!e) {
            assert_true(bodies[i].type ? span_equals(parts[0].type, bodies[i].type) : !parts[0].type.at);
        }
    }
}

static void no_more_parts_than_there_may_be(void **state) {
    (void)state;
    multipart_part parts[PARTS_MAX];
    char text[200] = "";
    uint32_t count;
    for (uint32_t wanted = 1; wanted <= PARTS_MAX + 1; wanted++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "--BB\r\n\r\n%u\r\n", wanted);
        char whole[220];
        snprintf(whole, sizeof whole, "%s--BB--", text);
        assert_int_equal(read_text(whole, parts, &count), wanted > PARTS_MAX ? ERR_FULL : ERR_OK);
        assert_int_equal(count, wanted > PARTS_MAX ? PARTS_MAX : wanted);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_chunks),
        cmocka_unit_test(bad_chunks),
        cmocka_unit_test(what_is_beside_the_data_is_bounded),
        cmocka_unit_test(boundaries_are_read),
        cmocka_unit_test(parts_are_what_was_sent),
        cmocka_unit_test(parts_have_the_names_that_they_are_given),
        cmocka_unit_test(heads_of_parts),
        cmocka_unit_test(no_more_parts_than_there_may_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
