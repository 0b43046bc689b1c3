/* The live page as it is compiled in, and what a client that may have it already gets. */
#include "decoder_server/http/ui.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_tag_and_policy(void **state) {
    (void)state;
    ui p, again;
    assert_int_equal(ui_init(&p), ERR_OK);
    assert_int_equal(ui_init(&again), ERR_OK);
    assert_string_equal(p.tag, again.tag);
    assert_int_equal(strlen(p.tag), 66);
    assert_non_null(strstr(p.policy, "default-src 'none'; script-src 'sha256-"));
    assert_string_equal(p.fields[2].value, p.tag);
    assert_string_equal(p.fields[3].value, p.policy);
    assert_true(ui_text().length > 1000 && memmem(ui_text().at, ui_text().length, "</html>", 7));
    assert_non_null(strstr(p.policy, "require-trusted-types-for 'script'")); /* its end: nothing was cut off */
}

static void test_who_has_it(void **state) {
    (void)state;
    ui p;
    char several[2 * UI_TAG_MAX], weak[2 * UI_TAG_MAX];
    assert_int_equal(ui_init(&p), ERR_OK);
    snprintf(several, sizeof several, "\"old\", %s", p.tag);
    snprintf(weak, sizeof weak, "W/%s", p.tag);
    assert_false(ui_is_known(&p, span_of(NULL)));
    assert_false(ui_is_known(&p, span_of("")));
    assert_false(ui_is_known(&p, span_of("\"old\"")));
    assert_true(ui_is_known(&p, span_of(p.tag)));
    assert_true(ui_is_known(&p, span_of(several)));
    assert_true(ui_is_known(&p, span_of(weak)));
    assert_true(ui_is_known(&p, span_of("*")));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tag_and_policy), cmocka_unit_test(test_who_has_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
