/* What nodes offer, and what of it all have. */
#include "decoder_server/serve/offered_samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static offered_samples offered;

static int forget_all(void **state) {
    (void)state;
    offered_samples_free(&offered);
    return 0;
}

static err offer(uint32_t portion, size_t count, const char *const *ids) {
    Fewbit__Ready r = FEWBIT__READY__INIT;
    r.n_samples = count;
    r.samples = (char **)(uintptr_t)ids;
    return offered_samples_set(&offered, portion, &r);
}

static void assert_shown(const char *json) {
    dynbuf t = dynbuf_make(1 << 16);
    offered_samples_write(&offered, &t);
    assert_string_equal(t.bytes, json);
    dynbuf_free(&t);
}

static void those_that_all_have_are_shown(void **state) {
    (void)state;
    const char *const first[] = {"b", "a", "d", "a"}, *const second[] = {"d", "c", "b"};
    assert_shown("{\"samples\":[]}");
    assert_int_equal(offer(3, 4, first), ERR_OK);
    assert_shown("{\"samples\":[\"a\",\"b\",\"d\"]}");
    assert_int_equal(offer(63, 3, second), ERR_OK);
    assert_shown("{\"samples\":[\"b\",\"d\"]}");
    assert_int_equal(offer(0, 0, NULL), ERR_OK); /* one that offers none says nothing of what it has */
    assert_shown("{\"samples\":[\"b\",\"d\"]}");
    offered_samples_forget(&offered, 3);
    assert_shown("{\"samples\":[\"b\",\"c\",\"d\"]}");
    assert_int_equal(offer(63, 1, first), ERR_OK);
    assert_shown("{\"samples\":[\"b\"]}");
}

static void what_is_no_offer_is_refused(void **state) {
    (void)state;
    const char *many[MESSAGE_OFFERED_MAX + 1], *const good[] = {"a"};
    static const char *const bad[] = {"", "a\nb", "\xff",
                                      "0123456789012345678901234567890123456789012345678901234567890123x"};
    static char names[MESSAGE_OFFERED_MAX + 1][8];
    for (size_t i = 0; i <= MESSAGE_OFFERED_MAX; i++) {
        snprintf(names[i], sizeof names[i], "%zu", i);
        many[i] = names[i];
    }
    assert_int_equal(offer(1, MESSAGE_OFFERED_MAX, many), ERR_OK);
    assert_int_equal(offer(1, MESSAGE_OFFERED_MAX + 1, many), ERR_INPUT);
    assert_shown("{\"samples\":[]}");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(offer(1, 1, good), ERR_OK);
        assert_int_equal(offer(1, 1, &bad[i]), ERR_INPUT);
        assert_shown("{\"samples\":[]}");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(those_that_all_have_are_shown, forget_all),
        cmocka_unit_test_teardown(what_is_no_offer_is_refused, forget_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
