/* Which request goes where, and why others do not: every path with every method, in both modes, with and without a
 * token. */
#include "decoder_server/http/routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static routes_match find(const routes_policy *policy, const char *method, const char *path, const char *authorization) {
    static char text[512];
    request_head h;
    int length = snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: here\r\n%s%s%s\r\n", method, path,
                          authorization ? "Authorization: " : "", authorization ? authorization : "",
                          authorization ? "\r\n" : "");
    assert_int_equal(request_head_read(&h, (const uint8_t *)text, (size_t)length), REQUEST_HEAD_WHOLE);
    return routes_find(policy, &h);
}

static bool is_one_of(const char *list, const char *word) {
    const char *at = strstr(list, word);
    return at && (at[strlen(word)] == ',' || at[strlen(word)] == '\0');
}

static void every_path_has_its_methods(void **state) {
    (void)state;
    static const struct {
        const char *path, *serving, *training; /* the methods that it has there */
    } paths[] = {
        {"/", "GET, HEAD", "GET, HEAD"},
        {"/v1/classify", "POST", ""},
        {"/v1/results", "GET", ""},
        {"/v1/training", "", "GET"},
        {"/v1/nodes", "GET, HEAD", "GET, HEAD"},
        {"/v1/model", "GET, HEAD", "GET, HEAD"},
        {"/v1/model/reload", "POST", ""},
        {"/metrics", "GET, HEAD", "GET, HEAD"},
        {"/healthz", "GET, HEAD", "GET, HEAD"},
        {"/readyz", "GET, HEAD", "GET, HEAD"},
        {"/v1", "", ""},
        {"/v1/classify/", "", ""},
    };
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        for (int mode = ROUTES_SERVING; mode <= ROUTES_TRAINING; mode++) {
            const routes_policy policy = {.mode = (routes_mode)mode};
            const char *there = mode == ROUTES_SERVING ? paths[i].serving : paths[i].training;
            for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++) {
                routes_match found = find(&policy, methods[m], paths[i].path, NULL);
                unsigned wanted = !there[0] ? 404 : is_one_of(there, methods[m]) ? 0 : 405;
                assert_int_equal(found.problem.status, wanted);
                assert_string_equal(found.method, methods[m]);
                assert_true(found.route == ROUTE_NONE || strcmp(routes_path(found.route), paths[i].path) == 0);
                assert_string_equal(found.allow ? found.allow : "", wanted == 405 ? there : "");
            }
        }
    }
}

static void a_token_opens_all_but_the_open_ones(void **state) {
    (void)state;
    api_token token;
    assert_int_equal(sha256_bytes("0123456789abcdef", 16, token.digest), ERR_OK);
    const routes_policy policy = {.mode = ROUTES_SERVING, .token = &token};
    static const char *const open[] = {"/", "/healthz", "/readyz"};
    static const char *const closed[] = {"/v1/nodes", "/v1/model", "/metrics", "/nothing", "/v1/training"};
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        assert_int_equal(find(&policy, "GET", open[i], NULL).problem.status, 0);
    }
    for (size_t i = 0; i < sizeof closed / sizeof closed[0]; i++) {
        assert_int_equal(find(&policy, "GET", closed[i], NULL).problem.status, 401);
        assert_int_equal(find(&policy, "GET", closed[i], "Bearer 0123456789abcdeX").problem.status, 401);
        unsigned status = find(&policy, "GET", closed[i], "Bearer 0123456789abcdef").problem.status;
        assert_int_equal(status, i < 3 ? 0 : 404);
    }
}

static void some_answers_need_no_path(void **state) {
    (void)state;
    const routes_policy any = {.mode = ROUTES_SERVING}, there = {.mode = ROUTES_SERVING, .allowed_hosts = "there"};
    assert_int_equal(find(&there, "GET", "/", NULL).problem.status, 421);
    routes_match all = find(&any, "OPTIONS", "*", NULL);
    assert_int_equal(all.problem.status, 204);
    assert_string_equal(all.allow, "GET, HEAD, POST, OPTIONS");
    routes_match unknown = find(&any, "BREW", "/", NULL);
    assert_int_equal(unknown.problem.status, 501);
    assert_string_equal(unknown.method, "other");
    assert_int_equal(unknown.route, ROUTE_NONE);
    assert_int_equal(find(&any, "GET", "/%zz", NULL).problem.status, 400);
    assert_int_equal(find(&any, "GET", "/v1/./x/../nodes?a", NULL).route, ROUTE_NODES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_path_has_its_methods),
        cmocka_unit_test(a_token_opens_all_but_the_open_ones),
        cmocka_unit_test(some_answers_need_no_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
