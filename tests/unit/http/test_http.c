/* What HTTP answers are made of: text, identities, tokens, metrics; and the shape of a run in /v1/model. */
#include "decoder_server/http/api_token.h"
#include "decoder_server/http/json_views.h"
#include "decoder_server/http/metrics.h"
#include "decoder_server/http/request_id.h"
#include "decoder_server/http/request_origin.h"
#include "decoder_server/http/response_head.h"
#include "experiment/derive.h"
#include "tests/lib/folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Who asks. */

static void ids_are_taken_where_they_are_harmless(void **state) {
    (void)state;
    static const char *const bad[] = {NULL, "", "a b", "a\"b", "a\nb", "\xc3\xbc", "a/b"};
    char id[REQUEST_ID_MAX + 1], other[REQUEST_ID_MAX + 1], longest[REQUEST_ID_MAX + 2];
    request_id_choose(span_of("Az09._-"), 1, id);
    assert_string_equal(id, "Az09._-");
    memset(longest, 'x', sizeof longest);
    longest[REQUEST_ID_MAX] = '\0';
    request_id_choose(span_of(longest), 1, id);
    assert_string_equal(id, longest);
    for (size_t i = 0; i < COUNT(bad); i++) {
        request_id_choose(span_of(bad[i]), i, id);
        request_id_choose(span_of(bad[i]), i + 1, other);
        assert_true(strlen(id) >= 10 && strspn(id, "0123456789abcdef-") == strlen(id));
        assert_string_not_equal(id, other);
    }
    longest[REQUEST_ID_MAX] = 'x';
    longest[REQUEST_ID_MAX + 1] = '\0';
    request_id_choose(span_of(longest), 1, id);
    assert_int_not_equal(id[0], 'x');
}

static void traces_are_checked(void **state) {
    (void)state;
    static const char good[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    static const char *const bad[] = {
        NULL,
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473 -00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
    };
    char trace[REQUEST_ID_TRACE_LENGTH + 1];
    bool is_sampled;
    assert_true(request_id_trace(span_of(good), trace, &is_sampled));
    assert_string_equal(trace, good);
    assert_true(is_sampled);
    assert_true(
        request_id_trace(span_of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02"), trace, &is_sampled));
    assert_false(is_sampled);
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(request_id_trace(span_of(bad[i]), trace, &is_sampled));
        assert_string_equal(trace, "");
    }
}

static void tokens_fit_as_a_whole(void **state) {
    (void)state;
    static const char *const bad[] = {NULL,
                                      "",
                                      "Bearer",
                                      "Bearer ",
                                      "0123456789abcdef",
                                      "Basic 0123456789abcdef",
                                      "Bearer 0123456789abcde",
                                      "Bearer 0123456789abcdef0",
                                      "Bearer 0123456789abcdeF",
                                      "Bearer 0123456789abcdef x",
                                      "Bearer0123456789abcdef"};
    char path[FILE_PATH_MAX];
    snprintf(path, sizeof path, "%s/token", folder);
    const file_span content = {"0123456789abcdef\r\n", 18};
    assert_int_equal(file_write_atomic(path, &content, 1), ERR_OK);
    api_token t;
    assert_int_equal(api_token_load(&t, path), ERR_OK);
    assert_true(api_token_matches(&t, span_of("Bearer 0123456789abcdef")));
    assert_true(api_token_matches(&t, span_of("bearer   0123456789abcdef")));
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(api_token_matches(&t, span_of(bad[i])));
    }
}

/* Whose pages may ask. */

static void hosts_are_named(void **state) {
    (void)state;
    static const char list[] = "Here.example, there:8080,[::1]";
    static const char *const good[] = {"here.example", "HERE.EXAMPLE:80", "there:8080", "[::1]", "[::1]:9"};
    static const char *const bad[] = {NULL,    "",    "here",          "evil", "there", "there:80", "here.example.evil",
                                      "[::2]", "::1", "xhere.example", ":80"};
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(request_origin_is_allowed_host(list, span_of(good[i])));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(request_origin_is_allowed_host(list, span_of(bad[i])));
    }
    static const char *const lists[] = {"", ",", "a,,b", "a b", "http://a", "a/b", ":80", "a:99999", "[::1"};
    assert_int_equal(request_origin_check_hosts(list), ERR_OK);
    for (size_t i = 0; i < COUNT(lists); i++) {
        assert_int_equal(request_origin_check_hosts(lists[i]), ERR_USAGE);
    }
}

static void pages_of_other_sites_are_told(void **state) {
    (void)state;
    static const struct {
        const char *site, *origin;
        bool is_foreign;
    } heads[] = {
        {NULL, NULL, false},
        {"same-origin", NULL, false},
        {"none", NULL, false},
        {"same-site", NULL, true},
        {"cross-site", NULL, true},
        {"", NULL, true},
        {"nonsense", NULL, true},
        {"cross-site", "http://here:8080", true},
        {NULL, "http://here:8080", false},
        {NULL, "https://HERE:8080", false},
        {NULL, "http://here", true},
        {NULL, "http://here:8081", true},
        {NULL, "http://evil", true},
        {NULL, "http://evil.here:8080", true},
        {NULL, "null", true},
        {NULL, "", true},
        {NULL, "here:8080", true},
    };
    for (size_t i = 0; i < COUNT(heads); i++) {
        request_head h = {.host = span_of("here:8080")};
        h.fields[REQUEST_FIELD_SEC_FETCH_SITE] = span_of(heads[i].site);
        h.fields[REQUEST_FIELD_ORIGIN] = span_of(heads[i].origin);
        assert_int_equal(request_origin_is_foreign(&h), heads[i].is_foreign);
    }
}

/* Heads of answers. */

static void assert_head(const response_head *a, const char *wanted) {
    char head[RESPONSE_HEAD_MAX + 1];
    size_t length = response_head_write(head, a, "D");
    head[length] = '\0';
    assert_string_equal(head, wanted);
}

static void heads_of_answers(void **state) {
    (void)state;
    const http_field fields[] = {{"A", "b"}, {"C", "d"}};
    assert_head(&(response_head){.status = 200, .fields = fields, .field_count = 2, .length = 1234567890},
                "HTTP/1.1 200 OK\r\nDate: D\r\nA: b\r\nC: d\r\nContent-Length: 1234567890\r\n\r\n");
    assert_head(&(response_head){.status = 400, .connection = "close"},
                "HTTP/1.1 400 Bad Request\r\nDate: D\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_head(&(response_head){.status = 204, .length = 5}, "HTTP/1.1 204 No Content\r\nDate: D\r\n\r\n");
    assert_head(&(response_head){.status = 304, .length = 5}, "HTTP/1.1 304 Not Modified\r\nDate: D\r\n\r\n");
    assert_head(&(response_head){.status = 200, .is_chunked = true, .has_no_length = true},
                "HTTP/1.1 200 OK\r\nDate: D\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_head(&(response_head){.status = 200, .has_no_length = true, .connection = "close"},
                "HTTP/1.1 200 OK\r\nDate: D\r\nConnection: close\r\n\r\n");
    char longest[RESPONSE_HEAD_MAX + 1], head[RESPONSE_HEAD_MAX];
    memset(longest, 'x', RESPONSE_HEAD_MAX);
    longest[RESPONSE_HEAD_MAX] = '\0';
    const http_field field = {"A", longest};
    assert_int_equal(
        response_head_write(head, &(response_head){.status = 200, .fields = &field, .field_count = 1}, "D"), 0);
    static const struct {
        time_t seconds;
        const char *date;
    } dates[] = {{0, "Thu, 01 Jan 1970 00:00:00 GMT"},
                 {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* RFC 9110, 5.6.7 */
                 {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
                 {4102444799, "Thu, 31 Dec 2099 23:59:59 GMT"}};
    char date[HTTP_DATE_MAX];
    for (size_t i = 0; i < COUNT(dates); i++) {
        http_date(date, dates[i].seconds);
        assert_string_equal(date, dates[i].date);
    }
}

/* Counters. */

static void a_histogram_is_cumulative(void **state) {
    (void)state;
    static stats r = {.portions = 1};
    metrics m = {0};
    sse_counters e = {0};
    dynbuf t = dynbuf_make(JSON_VIEWS_MAX);
    const double seconds[] = {0.0001, 0.00025, 0.0004, 0.09, 5};
    for (size_t i = 0; i < COUNT(seconds); i++) {
        metrics_count_time(&m, seconds[i]);
    }
    metrics_count_request(&m, ROUTE_CLASSIFY, 200);
    metrics_count_request(&m, ROUTE_CLASSIFY, 418);
    metrics_write(&t, &m, &e, &r);
    static const char *const lines[] = {"_bucket{le=\"0.00025\"} 2\n",
                                        "_bucket{le=\"0.0005\"} 3\n",
                                        "_bucket{le=\"0.05\"} 3\n",
                                        "_bucket{le=\"0.1\"} 4\n",
                                        "_bucket{le=\"2\"} 4\n",
                                        "_bucket{le=\"+Inf\"} 5\n",
                                        "_count 5\n",
                                        "{route=\"/v1/classify\",status=\"200\"} 1\n",
                                        "{route=\"/v1/classify\",status=\"other\"} 1\n"};
    for (size_t i = 0; i < COUNT(lines); i++) {
        assert_non_null(strstr(t.bytes, lines[i]));
    }
    dynbuf_free(&t);
}

/* /v1/model. */

/* From 1 to 64. */
static uint32_t bits_of(uint32_t portion) {
    return 1 + portion * 21 % 64;
}

static void check_portions(const json_t *model, const experiment *e) {
    const json_t *each = json_object_get(model, "portions");
    uint32_t portions = e->portion_count;
    uint32_t sum = 0;
    assert_int_equal(json_array_size(each), portions);
    for (uint32_t k = 0; k < portions; k++) {
        const json_t *one = json_array_get(each, k);
        const portion_shape *s = &e->portions[k].shape;
        assert_int_equal(json_integer_value(json_object_get(one, "bits")), bits_of(k));
        assert_string_equal(json_string_value(json_object_get(one, "name")), e->portions[k].name);
        assert_string_equal(json_string_value(json_object_get(one, "type")), s->type == PORTION_U8 ? "u8" : "f32");
        assert_int_equal(json_array_size(json_object_get(one, "shape")), s->rank);
        for (uint32_t i = 0; i < s->rank; i++) {
            assert_int_equal(json_integer_value(json_array_get(json_object_get(one, "shape"), i)), s->dims[i]);
        }
        sum += bits_of(k);
    }
    assert_int_equal(json_integer_value(json_object_get(model, "payload_bits")), sum);
}

/* Every element of the sample is in one portion, at the place where partition_take puts it. */
static void check_ranges(partition_kind kind, uint32_t portions, const char *name) {
    static run_dir r;
    partition s;
    snprintf(r.experiment.dataset.name, sizeof r.experiment.dataset.name, "%s", name);
    r.experiment.dataset.partition = kind;
    r.experiment.dataset.portions = portions;
    assert_int_equal(experiment_fill_portions(&r.experiment), ERR_OK);
    assert_int_equal(experiment_partition(&r.experiment, &s, NULL), ERR_OK);
    dynbuf t = dynbuf_make(JSON_VIEWS_MAX);
    codeword layout = codeword_empty();
    for (uint32_t k = 0; k < portions; k++) {
        codeword_append(&layout, &(refinement){1, {bits_of(k)}});
    }
    assert_int_equal(json_views_model(&t, &r, &layout, NULL), ERR_OK);
    json_t *model = json_loads(t.bytes, 0, NULL);
    json_t *ranges = json_object_get(json_object_get(model, "split"), "ranges"), *range;
    assert_int_equal(json_array_size(ranges), portions);
    check_portions(model, &r.experiment);
    uint8_t sample[3 * 32 * 32], portion[3 * 32 * 32];
    for (size_t i = 0; i < partition_sample_elements(&s); i++) {
        sample[i] = (uint8_t)(i * 31 >> 2);
    }
    for (uint32_t k = 0; k < portions; k++) {
        size_t at = 0, index;
        partition_take(&s, k, sample, portion);
        json_array_foreach(json_array_get(ranges, k), index, range) {
            size_t first = (size_t)json_integer_value(json_array_get(range, 0));
            size_t count = (size_t)json_integer_value(json_array_get(range, 1));
            assert_memory_equal(portion + at, sample + first, count);
            at += count;
        }
        assert_int_equal(at, partition_portion_elements(&s));
    }
    json_decref(model);
    dynbuf_free(&t);
}

static void ranges_say_where_a_portion_is(void **state) {
    (void)state;
    check_ranges(PARTITION_SLICES, 4, "mnist");
    check_ranges(PARTITION_SLICES, 16, "cifar10");
    check_ranges(PARTITION_QUADRANTS, 4, "cifar10");
    check_ranges(PARTITION_QUADRANTS, 4, "mnist");
    check_ranges(PARTITION_PLANES, 3, "cifar10");
}

/* Of owners' own data nothing is cut: there is no whole sample. */
static void portions_that_are_listed_have_no_whole(void **state) {
    (void)state;
    static run_dir r = {.experiment = {.dataset = {.name = "breast", .partition = PARTITION_NONE},
                                       .portions = {{.name = "guest", .shape = {PORTION_F32, 1, {10}}},
                                                    {.name = "eye", .shape = {PORTION_U8, 3, {3, 4, 5}}},
                                                    {.name = "ear", .shape = {PORTION_F32, 2, {2, 100}}}},
                                       .portion_count = 3}};
    codeword layout = codeword_empty();
    for (uint32_t k = 0; k < r.experiment.portion_count; k++) {
        codeword_append(&layout, &(refinement){1, {bits_of(k)}});
    }
    dynbuf t = dynbuf_make(JSON_VIEWS_MAX);
    assert_int_equal(json_views_model(&t, &r, &layout, NULL), ERR_OK);
    json_t *model = json_loads(t.bytes, 0, NULL);
    check_portions(model, &r.experiment);
    assert_true(json_is_null(json_object_get(model, "split")));
    assert_true(json_is_null(json_object_get(model, "sample_shape")));
    assert_int_equal(json_integer_value(json_object_get(model, "raw_bits")), 8 * (40 + 60 + 800));
    json_decref(model);
    dynbuf_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_taken_where_they_are_harmless),
        cmocka_unit_test(traces_are_checked),
        cmocka_unit_test_setup_teardown(tokens_fit_as_a_whole, make_folder, remove_folder),
        cmocka_unit_test(hosts_are_named),
        cmocka_unit_test(pages_of_other_sites_are_told),
        cmocka_unit_test(heads_of_answers),
        cmocka_unit_test(a_histogram_is_cumulative),
        cmocka_unit_test(ranges_say_where_a_portion_is),
        cmocka_unit_test(portions_that_are_listed_have_no_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
