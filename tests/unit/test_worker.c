/* The worker beside a loop: what is posted comes to its thread, what it replies comes back, in order. */
#include "loop/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

enum { MAIL_BACK = 1, MAIL_BLOCK, MAIL_BULK, MAIL_OTHER };
enum { BULK_REPLIES = 5, BULK_BYTES = 1 << 20, DEADLINE_MS = 10000, HANG_SECONDS = 100 };

/* Both sides of one worker. What the worker's side writes is read after end_worker, or after a semaphore. */
typedef struct bench {
    uv_loop_t loop;
    uv_timer_t deadline;
    bool is_late;
    worker *w;
    pthread_t loop_thread;
    /* the worker's side */
    sem_t taken;              /* once a record, when it has been worked on (MAIL_BLOCK: before it waits) */
    uv_sem_t gate;            /* MAIL_BLOCK waits here */
    uint64_t records, strays; /* strays: nobody posted them */
    int idles;
    bool gate_passed, was_high, is_high, on_own_thread;
    /* the loop's side */
    uint64_t delivered, expected, batches;
    bool in_order, on_loop_thread, holds, caught_up;
} bench;

static void reply_in_bulk(bench *b, const mail *m) {
    b->was_high = worker_replies_are_high(b->w);
    for (uint64_t i = 0; i < BULK_REPLIES; i++) {
        uint8_t *to = worker_reply_begin(b->w, MAIL_BULK, m->about + i, BULK_BYTES);
        if (to) {
            memset(to, (int)i, BULK_BYTES);
            worker_reply_end(b->w);
        }
    }
    b->is_high = worker_replies_are_high(b->w);
}

static void receive(void *role, const mail *m) {
    bench *b = role;
    b->on_own_thread = b->on_own_thread && !pthread_equal(pthread_self(), b->loop_thread);
    b->records++;
    switch (m->kind) {
    case MAIL_BACK:
        worker_reply(b->w, m->kind, m->about, m->bytes, m->length);
        break;
    case MAIL_BLOCK:
        sem_post(&b->taken);
        uv_sem_wait(&b->gate);
        b->gate_passed = true;
        return;
    case MAIL_BULK:
        reply_in_bulk(b, m);
        break;
    case MAIL_OTHER:
        break;
    default:
        b->strays++;
        break;
    }
    sem_post(&b->taken);
}

static int64_t idle(void *role) {
    ((bench *)role)->idles++;
    return -1;
}

static void deliver(void *loop_side, const mail *m) {
    bench *b = loop_side;
    b->on_loop_thread = b->on_loop_thread && pthread_equal(pthread_self(), b->loop_thread);
    bool is_whole =
        m->kind == MAIL_BACK ? m->length == 8 && memcmp(m->bytes, &m->about, 8) == 0 : m->length == BULK_BYTES;
    b->in_order = b->in_order && m->about == b->delivered && is_whole;
    b->delivered++;
    if (b->holds) {
        worker_hold(b->w);
    }
    if (b->delivered == b->expected) {
        uv_stop(&b->loop);
    }
}

static void delivered(void *loop_side) {
    ((bench *)loop_side)->batches++;
}

static void caught_up(void *loop_side) {
    bench *b = loop_side;
    b->caught_up = true;
    uv_stop(&b->loop);
}

static void on_deadline(uv_timer_t *timer) {
    bench *b = timer->data;
    b->is_late = true;
    uv_stop(&b->loop);
}

static int open_bench(void **state) {
    static const worker_role role = {receive, idle, deliver, delivered, caught_up};
    bench *b = calloc(1, sizeof *b);
    *state = b;
    b->loop_thread = pthread_self();
    b->on_own_thread = b->in_order = b->on_loop_thread = true;
    b->deadline.data = b;
    return uv_loop_init(&b->loop) || uv_sem_init(&b->gate, 0) || sem_init(&b->taken, 0, 0) ||
           uv_timer_init(&b->loop, &b->deadline) || worker_new(&b->w, &b->loop, &role, b, b);
}

static void end_worker(bench *b) {
    worker_free(b->w);
    b->w = NULL;
}

static int close_bench(void **state) {
    bench *b = *state;
    if (b->w) {
        uv_sem_post(&b->gate); /* a test that failed may have left the worker there */
        end_worker(b);
    }
    uv_close((uv_handle_t *)&b->deadline, NULL);
    while (uv_run(&b->loop, UV_RUN_DEFAULT) != 0) { /* the last deliveries may have stopped it beforehand */
    }
    int unclean = uv_loop_close(&b->loop);
    uv_sem_destroy(&b->gate);
    sem_destroy(&b->taken);
    free(b);
    return unclean;
}

/* Runs the loop until an event of the test stops it. */
static void run(bench *b) {
    uv_timer_start(&b->deadline, on_deadline, DEADLINE_MS, 0);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    uv_timer_stop(&b->deadline);
    assert_false(b->is_late);
}

static void await_taken(bench *b, int records) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_MS / 1000;
    while (records > 0) {
        int waited = sem_timedwait(&b->taken, &until);
        assert_true(waited == 0 || errno == EINTR);
        records -= waited == 0;
    }
}

static void post_numbers(bench *b, uint64_t first, uint64_t count) {
    for (uint64_t i = first; i < first + count; i++) {
        assert_int_equal(worker_post(b->w, MAIL_BACK, i, &i, sizeof i), ERR_OK);
    }
}

static void worker_answers_in_order(void **state) {
    bench *b = *state;
    for (int round = 1; round <= 2; round++) {
        b->expected = (uint64_t)round * 3000;
        post_numbers(b, b->expected - 3000, 3000);
        run(b);
    }
    end_worker(b);
    assert_int_equal(b->delivered, 6000);
    assert_true(b->in_order);
    assert_true(b->on_loop_thread);
    assert_true(b->on_own_thread);
    assert_in_range(b->batches, 2, 6000);
}

static void worker_sleeps_when_there_is_nothing_to_do(void **state) {
    bench *b = *state;
    for (uint64_t i = 0; i < 50; i++) {
        b->expected = i + 1;
        post_numbers(b, i, 1);
        run(b);
    }
    end_worker(b);
    assert_in_range(b->idles, 1, 52); /* at the start, behind each record, behind the end */
}

static void worker_ends_after_what_it_was_sent(void **state) {
    bench *b = *state;
    worker_hold(b->w); /* the end lets go of it */
    post_numbers(b, 0, 500);
    end_worker(b);
    assert_int_equal(b->delivered, 500);
    assert_true(b->in_order);
    assert_int_equal(b->batches, 1);
}

static void worker_gives_its_role_only_what_was_posted(void **state) {
    bench *b = *state;
    post_numbers(b, 0, 3);
    end_worker(b);
    assert_int_equal(b->strays, 0);
    assert_int_equal(b->records, 3);
}

static void worker_holds_records_until_released(void **state) {
    bench *b = *state;
    b->holds = true; /* from within the first delivery */
    b->expected = 1;
    post_numbers(b, 0, 20);
    await_taken(b, 20);
    run(b);
    assert_int_equal(b->delivered, 1);
    post_numbers(b, 20, 20);
    await_taken(b, 20);
    for (int i = 0; i < 5; i++) {
        uv_run(&b->loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(b->delivered, 1);
    b->holds = false;
    b->expected = 40;
    worker_release(b->w);
    assert_int_equal(b->delivered, 1); /* from the loop, not from inside the call */
    run(b);
    assert_true(b->in_order);
}

static void worker_tells_when_it_is_behind_and_when_it_caught_up(void **state) {
    bench *b = *state;
    static const uint8_t bytes[BULK_BYTES];
    assert_int_equal(worker_post(b->w, MAIL_BLOCK, 0, NULL, 0), ERR_OK);
    await_taken(b, 1);
    assert_false(worker_is_behind(b->w));
    int posted = 0;
    for (; !worker_is_behind(b->w) && posted < 10; posted++) {
        assert_int_equal(worker_post(b->w, MAIL_OTHER, 0, bytes, sizeof bytes), ERR_OK);
    }
    assert_int_equal(posted, WORKER_MAIL_HIGH / BULK_BYTES);
    uv_run(&b->loop, UV_RUN_NOWAIT);
    assert_false(b->caught_up);
    uv_sem_post(&b->gate);
    run(b);
    assert_true(b->caught_up);
    assert_true(b->gate_passed);
    assert_false(worker_is_behind(b->w));
}

static void worker_tells_when_its_replies_pile_up(void **state) {
    bench *b = *state;
    assert_int_equal(worker_post(b->w, MAIL_BULK, 0, NULL, 0), ERR_OK);
    await_taken(b, 1);
    assert_false(b->was_high);
    assert_true(b->is_high);
    b->expected = BULK_REPLIES;
    run(b);
    assert_true(b->in_order);
    assert_false(worker_replies_are_high(b->w));
}

/* Posted in turn, a sleeping worker learns of records when the loop runs; gathered, its replies come together. */
static void many_records_make_one_waking(void **state) {
    bench *b = *state;
    worker_gather(b->w);
    for (uint64_t round = 0; round < 50; round++) {
        for (uint64_t i = round * 100; i < (round + 1) * 100; i++) {
            assert_int_equal(worker_post_in_turn(b->w, MAIL_BACK, i, &i, sizeof i), ERR_OK);
        }
        b->expected = (round + 1) * 100;
        run(b);
    }
    end_worker(b);
    assert_int_equal(b->delivered, 5000);
    assert_true(b->in_order);
    assert_in_range(b->batches, 50, 500); /* 50, but where the worker was not asleep yet */
}

/* One record asks for 5 MiB; of a hundred that wait, the next one is taken only when the loop has taken that. */
static void a_worker_that_gathers_waits_for_its_loop(void **state) {
    enum { ASKED = 100 };
    bench *b = *state;
    size_t in, out;
    worker_gather(b->w);
    for (uint64_t i = 0; i < ASKED; i++) {
        assert_int_equal(worker_post(b->w, MAIL_BULK, i * BULK_REPLIES, NULL, 0), ERR_OK);
    }
    await_taken(b, 1);
    for (int i = 0; i < 100; i++) { /* as long as it would have needed for all of them */
        worker_waiting(b->w, &in, &out);
        assert_in_range(out, 0, WORKER_MAIL_HIGH + 2 * BULK_REPLIES * BULK_BYTES);
        usleep(1000);
    }
    b->expected = (uint64_t)ASKED * BULK_REPLIES;
    run(b);
    assert_true(b->in_order);
}

#define ON_BENCH(test) cmocka_unit_test_setup_teardown(test, open_bench, close_bench)

int main(void) {
    alarm(HANG_SECONDS); /* a thread that does not end must not hold up everything else */
    const struct CMUnitTest tests[] = {
        ON_BENCH(worker_answers_in_order),
        ON_BENCH(worker_sleeps_when_there_is_nothing_to_do),
        ON_BENCH(worker_ends_after_what_it_was_sent),
        ON_BENCH(worker_gives_its_role_only_what_was_posted),
        ON_BENCH(worker_holds_records_until_released),
        ON_BENCH(worker_tells_when_it_is_behind_and_when_it_caught_up),
        ON_BENCH(worker_tells_when_its_replies_pile_up),
        ON_BENCH(many_records_make_one_waking),
        ON_BENCH(a_worker_that_gathers_waits_for_its_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
