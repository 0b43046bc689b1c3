/* Helpers of a loop: mailboxes between threads, backoff. */
#include "base/clock.h"
#include "loop/backoff.h"
#include "loop/mailbox.h"
#include "tests/unit/child.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>

enum { DEADLINE_MS = 10000, HANG_SECONDS = 100 };

#ifdef FEWBIT_SANITIZE
/* A request that no memory can serve must come back as NULL, as it does without the sanitizer. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void) {
    return "allocator_may_return_null=1";
}
#endif

/* ---- mailbox ---- */

typedef struct calls {
    int wakes, lows;
} calls;

static void count_wake(void *context) {
    ((calls *)context)->wakes++;
}

static void count_low(void *context) {
    ((calls *)context)->lows++;
}

static void mailbox_keeps_records_in_order(void **state) {
    (void)state;
    mailbox *m;
    mail got;
    uint8_t bytes[600];
    memset(bytes, 7, sizeof bytes);
    assert_int_equal(mailbox_new(&m, 1 << 20, NULL, NULL, NULL), ERR_OK);
    assert_false(mailbox_take(m, &got));
    for (uint32_t put = 0, taken = 0; taken < 600; put += 3, taken += 2) { /* the taker falls behind */
        for (uint32_t kind = put; kind < put + 3; kind++) {
            assert_int_equal(mailbox_put(m, kind, UINT64_MAX - kind, bytes, kind % 600), ERR_OK);
        }
        for (uint32_t kind = taken; kind < taken + 2; kind++) {
            assert_true(mailbox_take(m, &got));
            assert_int_equal(got.kind, kind);
            assert_true(got.about == UINT64_MAX - kind);
            assert_int_equal(got.length, kind % 600);
            assert_memory_equal(got.bytes, bytes, got.length);
            assert_int_equal((uintptr_t)got.bytes % 8, 0);
        }
    }
    mailbox_free(m);
    mailbox_free(NULL);
}

static void mailbox_wakes_when_it_was_empty(void **state) {
    (void)state;
    mailbox *m;
    mail got;
    calls c = {0};
    assert_int_equal(mailbox_new(&m, 1 << 20, count_wake, count_low, &c), ERR_OK);
    mailbox_put(m, 1, 0, NULL, 0);
    mailbox_put(m, 2, 0, NULL, 0);
    assert_int_equal(c.wakes, 1);
    assert_true(mailbox_take(m, &got));
    mailbox_put(m, 3, 0, NULL, 0); /* the taker may have gone to sleep after record 2 */
    assert_int_equal(c.wakes, 2);
    for (uint32_t kind = 2; kind <= 3; kind++) {
        assert_true(mailbox_take(m, &got));
        assert_int_equal(got.kind, kind);
    }
    assert_false(mailbox_take(m, &got));
    assert_int_equal(c.lows, 0);
    mailbox_free(m);
}

static void mailbox_tells_when_it_is_high_and_low_again(void **state) {
    (void)state;
    mailbox *m;
    mail got;
    calls c = {0};
    const uint8_t bytes[100] = {0};
    assert_int_equal(mailbox_new(&m, 1000, NULL, count_low, &c), ERR_OK);
    for (int round = 1; round <= 3; round++) {
        int records = 0;
        while (!mailbox_is_high(m)) {
            assert_int_equal(mailbox_put(m, 1, 0, bytes, sizeof bytes), ERR_OK);
            records++;
            assert_true(records <= 11); /* more than 1000 bytes are high, whatever a record costs beside */
        }
        assert_true(records > 1);
        assert_int_equal(mailbox_put(m, 2, 0, NULL, 0), ERR_OK); /* taken all the same */
        assert_int_equal(c.lows, round - 1);
        for (int i = 0; i <= records; i++) {
            assert_true(mailbox_take(m, &got));
        }
        assert_int_equal(got.kind, 2);
        assert_int_equal(c.lows, round);
        assert_false(mailbox_is_high(m));
        assert_false(mailbox_take(m, &got));
        assert_int_equal(c.lows, round);
    }
    mailbox_free(m);
}

static void mailbox_records_can_be_made_in_place(void **state) {
    (void)state;
    mailbox *m;
    mail got;
    calls c = {0};
    assert_int_equal(mailbox_new(&m, 1000, count_wake, NULL, &c), ERR_OK);
    uint8_t *to = mailbox_begin(m, 5, 6, 3);
    assert_non_null(to);
    memcpy(to, "abc", 3);
    assert_int_equal(c.wakes, 0); /* not before it is whole */
    mailbox_end(m);
    assert_int_equal(c.wakes, 1);
    assert_null(mailbox_begin(m, 7, 8, (size_t)1 << 60));
    assert_int_equal(mailbox_put(m, 7, 8, NULL, (size_t)1 << 60), ERR_MEMORY);
    assert_int_equal(mailbox_put(m, 9, 10, "de", 2), ERR_OK); /* it is not locked, and nothing is half in */
    assert_true(mailbox_take(m, &got));
    assert_int_equal(got.kind, 5);
    assert_true(got.about == 6);
    assert_int_equal(got.length, 3);
    assert_memory_equal(got.bytes, "abc", 3);
    assert_true(mailbox_take(m, &got));
    assert_int_equal(got.kind, 9);
    assert_memory_equal(got.bytes, "de", 2);
    assert_false(mailbox_take(m, &got));
    mailbox_free(m);
}

static void mailbox_wait_ends_in_time(void **state) {
    (void)state;
    mailbox *m;
    mail got;
    assert_int_equal(mailbox_new(&m, 1000, NULL, NULL, NULL), ERR_OK);
    uint64_t start = clock_now_ns();
    mailbox_wait(m, 0);
    mailbox_wait(m, 20000);
    assert_true(clock_now_ns() - start >= 20 * 1000000u);
    mailbox_put(m, 1, 0, NULL, 0);
    mailbox_put(m, 2, 0, NULL, 0);
    mailbox_wait(m, -1); /* a record is there */
    assert_true(mailbox_take(m, &got));
    mailbox_wait(m, -1); /* one is left */
    mailbox_free(m);
}

enum { PRODUCERS = 3, RECORDS = 20000 };

typedef struct producer {
    mailbox *to;
    uint32_t number;
    pthread_t thread;
} producer;

static void *produce(void *argument) {
    producer *p = argument;
    uint64_t words[4];
    for (uint64_t i = 0; i < RECORDS; i++) {
        for (size_t word = 0; word < 4; word++) {
            words[word] = i * 4 + word;
        }
        size_t length = 8 * (size_t)(i % 5);
        if (i % 2) {
            mailbox_put(p->to, p->number, i, words, length);
        } else {
            uint8_t *room = mailbox_begin(p->to, p->number, i, length);
            if (room) {
                memcpy(room, words, length);
                mailbox_end(p->to);
            }
        }
    }
    return NULL;
}

static void mailbox_loses_nothing_between_threads(void **state) {
    (void)state;
    mailbox *m;
    producer producers[PRODUCERS];
    uint64_t next[PRODUCERS] = {0}, sum = 0;
    assert_int_equal(mailbox_new(&m, 1000, NULL, NULL, NULL), ERR_OK);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (producer){.to = m, .number = i};
        assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
    uint64_t start = clock_now_ms();
    while (sum < PRODUCERS * RECORDS && clock_now_ms() - start < DEADLINE_MS) {
        mail got;
        mailbox_wait(m, DEADLINE_MS * 1000);
        while (mailbox_take(m, &got)) {
            assert_true(got.kind < PRODUCERS);
            assert_true(got.about == next[got.kind]);
            assert_int_equal(got.length, 8 * (got.about % 5));
            const uint64_t *words = (const uint64_t *)(const void *)got.bytes;
            for (size_t word = 0; word < got.length / 8; word++) {
                assert_true(words[word] == got.about * 4 + word);
            }
            next[got.kind]++;
            sum++;
        }
    }
    assert_int_equal(sum, PRODUCERS * RECORDS);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        assert_int_equal(pthread_join(producers[i].thread, NULL), 0);
    }
    mailbox_free(m);
}

/* Waits for the next record of a mailbox that another thread fills; false when nothing woke it. */
static bool woken_for(mailbox *m, mail *got) {
    while (!mailbox_take(m, got)) {
        uint64_t start = clock_now_ms();
        mailbox_wait(m, DEADLINE_MS * 1000);
        if (clock_now_ms() - start >= DEADLINE_MS) {
            return false;
        }
    }
    return true;
}

typedef struct players {
    mailbox *there, *back;
} players;

static void *return_everything(void *argument) {
    const players *p = argument;
    mail got;
    do {
        if (!woken_for(p->there, &got)) {
            return NULL;
        }
        mailbox_put(p->back, got.kind, got.about, got.bytes, got.length);
    } while (got.kind != 0);
    return NULL;
}

static void mailbox_wakes_who_waits(void **state) {
    (void)state;
    players p;
    pthread_t thread;
    bool came_back = true;
    assert_int_equal(mailbox_new(&p.there, 1000, NULL, NULL, NULL), ERR_OK);
    assert_int_equal(mailbox_new(&p.back, 1000, NULL, NULL, NULL), ERR_OK);
    assert_int_equal(pthread_create(&thread, NULL, return_everything, &p), 0);
    for (uint32_t left = 500; came_back && left-- > 0;) {
        mail got;
        mailbox_put(p.there, left, 0, NULL, 0);
        came_back = woken_for(p.back, &got) && got.kind == left;
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(came_back);
    mailbox_free(p.there);
    mailbox_free(p.back);
}

/* Without memory, what comes from outside is refused before what must get through, of which there is room for a lot. */
static int fill_without_memory(void) {
    enum { LARGE = 10000, SMALL = 600, OUTSIDE = 100000, MUST = 1500 };
    static const uint8_t bytes[LARGE];
    mailbox *m = NULL;
    struct rlimit none = {1 << 20, 1 << 20};
    if (mailbox_new(&m, 1 << 20, NULL, NULL, NULL) || setrlimit(RLIMIT_AS, &none) != 0) {
        return 1;
    }
    uint64_t outside = 0, must = 0;
    while (outside < OUTSIDE && mailbox_put_quietly(m, 1, outside, bytes, LARGE) == ERR_OK) {
        outside++;
    }
    while (must < MUST && mailbox_put(m, 2, must, bytes, SMALL) == ERR_OK) {
        must++;
    }
    mail got;
    for (uint64_t i = 0; i < outside + must; i++) {
        if (!mailbox_take(m, &got) || got.kind != (i < outside ? 1 : 2) ||
            got.about != (i < outside ? i : i - outside)) {
            return 2;
        }
    }
    return outside < OUTSIDE && must == MUST && !mailbox_take(m, &got) ? STATUS_FINE : 3;
}

static void mailbox_keeps_room_for_what_must_get_through(void **state) {
    (void)state;
#ifdef FEWBIT_SANITIZE
    skip(); /* a sanitizer takes address space as it likes */
#endif
    assert_int_equal(status_of(fill_without_memory), STATUS_FINE);
}

/* ---- backoff ---- */

static void backoff_doubles_within_its_bounds(void **state) {
    (void)state;
    static const uint32_t spans[] = {100, 200, 400, 800, 1000, 1000, 1000};
    backoff b;
    for (uint64_t seed = 0; seed < 200; seed++) {
        backoff_init(&b, 100, 1000, seed);
        for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
            assert_in_range(backoff_next_ms(&b), spans[i] / 2, spans[i]);
        }
        backoff_reset(&b);
        assert_in_range(backoff_next_ms(&b), 50, 100);
        assert_in_range(backoff_next_ms(&b), 100, 200);
    }
    backoff_init(&b, 1, UINT32_MAX, 1);
    for (int i = 0; i < 100; i++) {
        assert_in_range(backoff_next_ms(&b), 1, UINT32_MAX);
    }
    assert_in_range(backoff_next_ms(&b), UINT32_MAX / 2, UINT32_MAX);
}

static void backoff_takes_another_limit(void **state) {
    (void)state;
    backoff b;
    backoff_init(&b, 100, 5000, 1);
    for (int i = 0; i < 10; i++) {
        backoff_next_ms(&b);
    }
    assert_in_range(backoff_next_ms(&b), 2500, 5000);
    backoff_limit(&b, 500);
    assert_in_range(backoff_next_ms(&b), 250, 500);
    assert_in_range(backoff_next_ms(&b), 250, 500);
    backoff_limit(&b, 5000);
    assert_in_range(backoff_next_ms(&b), 250, 500);
    assert_in_range(backoff_next_ms(&b), 500, 1000);
}

/* Of 1000 clients that lose their server at once, every tenth of the span gets about a tenth. */
static void backoff_spreads_clients_evenly(void **state) {
    (void)state;
    enum { CLIENTS = 1000, TENTHS = 10 };
    int counts[2][TENTHS] = {{0}};
    for (uint64_t seed = 0; seed < CLIENTS; seed++) {
        backoff b;
        backoff_init(&b, 2000, 2000, seed);
        for (int attempt = 0; attempt < 2; attempt++) {
            uint32_t wait = backoff_next_ms(&b) - 1000;
            counts[attempt][wait < 1000 ? wait / 100 : TENTHS - 1]++;
        }
    }
    for (int attempt = 0; attempt < 2; attempt++) {
        for (int i = 0; i < TENTHS; i++) {
            assert_in_range(counts[attempt][i], 60, 140);
        }
    }
}

static void backoff_waits_differ_from_try_to_try(void **state) {
    (void)state;
    backoff b;
    backoff_init(&b, 1u << 30, 1u << 30, 7);
    uint32_t first = backoff_next_ms(&b), second = backoff_next_ms(&b);
    backoff_reset(&b);
    uint32_t third = backoff_next_ms(&b);
    assert_true(first != second && second != third && first != third);
}

int main(void) {
    alarm(HANG_SECONDS); /* a mutex that stays locked must not hold up everything else */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mailbox_keeps_records_in_order),
        cmocka_unit_test(mailbox_wakes_when_it_was_empty),
        cmocka_unit_test(mailbox_tells_when_it_is_high_and_low_again),
        cmocka_unit_test(mailbox_records_can_be_made_in_place),
        cmocka_unit_test(mailbox_wait_ends_in_time),
        cmocka_unit_test(mailbox_loses_nothing_between_threads),
        cmocka_unit_test(mailbox_wakes_who_waits),
        cmocka_unit_test(mailbox_keeps_room_for_what_must_get_through),
        cmocka_unit_test(backoff_doubles_within_its_bounds),
        cmocka_unit_test(backoff_takes_another_limit),
        cmocka_unit_test(backoff_spreads_clients_evenly),
        cmocka_unit_test(backoff_waits_differ_from_try_to_try),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
