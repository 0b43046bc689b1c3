/* The live page as it is compiled in, and what a client that may have it already gets. */
#include "decoder_server/http/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static unsigned status_for(const page *p, const char *offered) {
    unsigned status = 0;
    struct MHD_Response *response = page_answer(p, offered, &status);
    assert_non_null(response);
    assert_string_equal(MHD_get_response_header(response, "ETag"), p->tag);
    assert_string_equal(MHD_get_response_header(response, "Content-Security-Policy"), p->policy);
    MHD_destroy_response(response);
    return status;
}

static void test_tag_and_policy(void **state) {
    (void)state;
    page p, again;
    assert_int_equal(page_init(&p), ERR_OK);
    assert_int_equal(page_init(&again), ERR_OK);
    assert_string_equal(p.tag, again.tag);
    assert_int_equal(strlen(p.tag), 66);
    assert_non_null(strstr(p.policy, "default-src 'none'; script-src 'sha256-"));
    assert_non_null(strstr(p.policy, "require-trusted-types-for 'script'")); /* its end: nothing was cut off */
}

static void test_who_has_it(void **state) {
    (void)state;
    page p;
    char several[2 * PAGE_TAG_MAX], weak[2 * PAGE_TAG_MAX];
    assert_int_equal(page_init(&p), ERR_OK);
    snprintf(several, sizeof several, "\"old\", %s", p.tag);
    snprintf(weak, sizeof weak, "W/%s", p.tag);
    assert_int_equal(status_for(&p, NULL), 200);
    assert_int_equal(status_for(&p, ""), 200);
    assert_int_equal(status_for(&p, "\"old\""), 200);
    assert_int_equal(status_for(&p, p.tag), 304);
    assert_int_equal(status_for(&p, several), 304);
    assert_int_equal(status_for(&p, weak), 304);
    assert_int_equal(status_for(&p, "*"), 304);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tag_and_policy), cmocka_unit_test(test_who_has_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
