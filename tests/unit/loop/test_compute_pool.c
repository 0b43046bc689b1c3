/* The compute pool beside a loop: work is done on its thread, one job after another, and comes back to the loop. */
#include "loop/compute_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

enum { JOBS = 1000, DEADLINE_MS = 20000 };

/* What is lent: plain numbers, without a lock; ThreadSanitizer sees whoever has them out of turn. */
typedef struct bench {
    uv_loop_t loop;
    uv_timer_t deadline;
    compute_pool *pool;
    pthread_t loop_thread;
    uint64_t works, dones, wanted;
    bool was_elsewhere, was_here, is_late;
    sem_t begun, may_end;
} bench;

static void on_deadline(uv_timer_t *timer) {
    ((bench *)timer->data)->is_late = true;
    uv_stop(timer->loop);
}

static void free_pool(bench *b) {
    compute_pool_free(b->pool);
    b->pool = NULL;
}

/* Until nothing is under way any more. */
static void run(bench *b) {
    uv_timer_start(&b->deadline, on_deadline, DEADLINE_MS, 0);
    uv_unref((uv_handle_t *)&b->deadline);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_false(b->is_late);
}

static int begin(void **state) {
    static bench b;
    memset(&b, 0, sizeof b);
    b.loop_thread = pthread_self();
    b.was_elsewhere = b.was_here = true;
    *state = &b;
    int failed = uv_loop_init(&b.loop) || sem_init(&b.begun, 0, 0) || sem_init(&b.may_end, 0, 0);
    uv_timer_init(&b.loop, &b.deadline);
    b.deadline.data = &b;
    return failed || compute_pool_new(&b.pool, &b.loop) ? -1 : 0;
}

static int end(void **state) {
    bench *b = *state;
    free_pool(b);
    uv_close((uv_handle_t *)&b->deadline, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    sem_destroy(&b->begun);
    sem_destroy(&b->may_end);
    return uv_loop_close(&b->loop);
}

static void work(void *context) {
    bench *b = context;
    b->was_elsewhere = b->was_elsewhere && !pthread_equal(pthread_self(), b->loop_thread);
    b->works++;
}

static void done(void *context) {
    bench *b = context;
    b->was_here = b->was_here && pthread_equal(pthread_self(), b->loop_thread);
    b->dones++;
    if (b->dones < b->wanted) {
        assert_int_equal(compute_pool_run(b->pool, work, done, b), ERR_OK);
    }
}

static void lends_and_gives_back(void **state) {
    bench *b = *state;
    b->wanted = JOBS;
    assert_false(compute_pool_is_busy(b->pool));
    assert_int_equal(compute_pool_run(b->pool, work, done, b), ERR_OK);
    assert_true(compute_pool_is_busy(b->pool));
    run(b);
    assert_int_equal(b->works, JOBS);
    assert_int_equal(b->dones, JOBS);
    assert_true(b->was_elsewhere && b->was_here);
    assert_false(compute_pool_is_busy(b->pool));
}

static void an_idle_pool_keeps_no_loop_alive(void **state) {
    run(*state);
}

/* Jobs of several lenders, each with a number of its own: they are worked on and come back in order. */
typedef struct numbered {
    bench *b;
    uint64_t number;
    bool in_order;
} numbered;

static void work_in_order(void *context) {
    numbered *n = context;
    n->in_order = n->b->works++ == n->number;
}

static void done_in_order(void *context) {
    numbered *n = context;
    n->in_order = n->in_order && n->b->dones++ == n->number;
}

static void wait_in_work(void *context) {
    bench *b = context;
    sem_post(&b->begun);
    sem_wait(&b->may_end);
}

static void nothing(void *context) {
    (void)context;
}

static void jobs_come_in_order_and_are_bounded(void **state) {
    bench *b = *state;
    numbered jobs[COMPUTE_POOL_JOBS_MAX];
    assert_int_equal(compute_pool_run(b->pool, wait_in_work, nothing, b), ERR_OK);
    for (uint64_t i = 1; i < COMPUTE_POOL_JOBS_MAX; i++) {
        jobs[i] = (numbered){b, i - 1, false};
        assert_int_equal(compute_pool_run(b->pool, work_in_order, done_in_order, &jobs[i]), ERR_OK);
    }
    assert_int_equal(compute_pool_run(b->pool, work, done, b), ERR_FULL);
    sem_post(&b->may_end);
    run(b);
    for (uint64_t i = 1; i < COMPUTE_POOL_JOBS_MAX; i++) {
        assert_true(jobs[i].in_order);
    }
    assert_int_equal(b->works, COMPUTE_POOL_JOBS_MAX - 1);
    assert_int_equal(compute_pool_run(b->pool, work, done, b), ERR_OK); /* there is room again */
    run(b);
}

static void *let_end(void *argument) {
    bench *b = argument;
    sem_wait(&b->begun);
    sem_post(&b->may_end);
    return NULL;
}

/* The job under way is waited for; what has not begun never does, and nobody is told. */
static void free_waits_for_what_is_under_way(void **state) {
    bench *b = *state;
    pthread_t other;
    assert_int_equal(compute_pool_run(b->pool, wait_in_work, done, b), ERR_OK);
    assert_int_equal(pthread_create(&other, NULL, let_end, b), 0);
    pthread_join(other, NULL); /* it has begun */
    assert_int_equal(compute_pool_run(b->pool, nothing, done, b), ERR_OK);
    free_pool(b);
    run(b);
    assert_int_equal(b->dones, 0);
}

static void done_may_free(void *context) {
    bench *b = context;
    b->dones++;
    free_pool(b);
}

static void done_may_free_the_pool(void **state) {
    bench *b = *state;
    assert_int_equal(compute_pool_run(b->pool, work, done_may_free, b), ERR_OK);
    run(b);
    assert_int_equal(b->dones, 1);
    assert_null(b->pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lends_and_gives_back, begin, end),
        cmocka_unit_test_setup_teardown(an_idle_pool_keeps_no_loop_alive, begin, end),
        cmocka_unit_test_setup_teardown(jobs_come_in_order_and_are_bounded, begin, end),
        cmocka_unit_test_setup_teardown(free_waits_for_what_is_under_way, begin, end),
        cmocka_unit_test_setup_teardown(done_may_free_the_pool, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
