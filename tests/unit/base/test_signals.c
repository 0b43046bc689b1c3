/* Signals from main's first instruction on and as events of a loop; work in the background. */
#include "base/clock.h"
#include "base/interrupt.h"
#include "base/process.h"
#include "loop/background.h"
#include "loop/signals.h"
#include "tests/lib/child.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>

enum { HANG_SECONDS = 100 };

/* ---- signals ---- */

typedef struct signal_loop {
    uv_loop_t loop;
    signals caught;
    uv_timer_t again;
    int stops;
} signal_loop;

static void on_stop(void *context) {
    signal_loop *l = context;
    l->stops++;
    uv_stop(&l->loop);
}

/* The timer only keeps the loop alive, as links and listeners do. */
static void on_again(uv_timer_t *timer) {
    (void)timer;
}

static void start_signal_loop(signal_loop *l) {
    *l = (signal_loop){.stops = 0};
    uv_loop_init(&l->loop);
    uv_timer_init(&l->loop, &l->again);
    uv_timer_start(&l->again, on_again, 1000, 1000);
    process_start();
    signals_catch(&l->caught, &l->loop, on_stop, l);
}

static void end_signal_loop(signal_loop *l) {
    signals_release(&l->caught);
    uv_close((uv_handle_t *)&l->again, NULL);
    uv_run(&l->loop, UV_RUN_DEFAULT);
}

static int stop_once(int number) {
    signal_loop l;
    start_signal_loop(&l);
    kill(getpid(), number);
    uv_run(&l.loop, UV_RUN_DEFAULT);
    end_signal_loop(&l);
    return l.stops == 1 && uv_loop_close(&l.loop) == 0 ? STATUS_FINE : 1;
}

static int stop_on_terminate(void) {
    return stop_once(SIGTERM);
}

static int stop_on_interrupt(void) {
    return stop_once(SIGINT);
}

static int end_on_the_second(void) {
    signal_loop l;
    start_signal_loop(&l);
    kill(getpid(), SIGTERM);
    uv_run(&l.loop, UV_RUN_DEFAULT);
    if (l.stops != 1) {
        return 1;
    }
    kill(getpid(), SIGINT);
    uv_run(&l.loop, UV_RUN_DEFAULT);
    return 2;
}

/* A stop that was asked for before there was a loop. */
static int stop_before_the_loop(void) {
    process_start();
    kill(getpid(), SIGTERM);
    signal_loop l = {.stops = 0};
    uv_loop_init(&l.loop);
    uv_timer_init(&l.loop, &l.again);
    uv_timer_start(&l.again, on_again, 1000, 1000);
    signals_catch(&l.caught, &l.loop, on_stop, &l);
    uv_run(&l.loop, UV_RUN_DEFAULT);
    end_signal_loop(&l);
    return l.stops == 1 && interrupt_check() == ERR_STOPPED ? STATUS_FINE : 1;
}

/* Whoever waits for a stop beside the loop hears of it, though the loop has drained what told of it. */
static int stop_is_heard_by_all(void) {
    process_start();
    struct pollfd waits = {.fd = interrupt_descriptor(), .events = POLLIN};
    kill(getpid(), SIGHUP);
    if (poll(&waits, 1, 0) != 1) {
        return 1;
    }
    interrupt_drain();
    if (poll(&waits, 1, 0) != 0) {
        return 2;
    }
    kill(getpid(), SIGTERM);
    interrupt_drain();
    return poll(&waits, 1, 0) == 1 ? STATUS_FINE : 3;
}

static int stop_while_blocked(void) {
    process_start();
    interrupt_block();
    kill(getpid(), SIGTERM);
    if (interrupt_asked()) {
        return 1;
    }
    interrupt_unblock();
    return interrupt_asked() ? STATUS_FINE : 2;
}

static int reloads;

static void on_reload(void *context) {
    reloads++;
    uv_stop(context);
}

/* One that came before there was a loop, and two later: none stops. */
static int reload_at_hang_up(void) {
    process_start();
    kill(getpid(), SIGHUP);
    signal_loop l;
    start_signal_loop(&l);
    signals_on_reload(&l.caught, on_reload, &l.loop);
    for (int i = 1; i <= 3; i++) {
        uv_run(&l.loop, UV_RUN_DEFAULT);
        if (reloads != i) {
            return i;
        }
        kill(getpid(), SIGHUP);
    }
    return l.stops == 0 && !interrupt_asked() ? STATUS_FINE : 4;
}

static int stop_at_hang_up(void) {
    process_start();
    kill(getpid(), SIGHUP);
    if (interrupt_asked()) {
        return 1;
    }
    interrupt_hang_up_stops();
    kill(getpid(), SIGHUP); /* a terminal that goes says so more than once */
    return interrupt_asked() ? STATUS_FINE : 2;
}

static int sleep_until_asked(void) {
    process_start();
    uint64_t from = clock_now_ns();
    interrupt_sleep(20);
    if (clock_seconds_since(from) < 0.02) {
        return 1;
    }
    kill(getpid(), SIGTERM);
    interrupt_sleep(1000 * HANG_SECONDS);
    return STATUS_FINE;
}

static int write_to_nobody(void) {
    signal_loop l;
    start_signal_loop(&l);
    int ends[2];
    return pipe(ends) == 0 && close(ends[0]) == 0 && write(ends[1], "x", 1) == -1 && errno == EPIPE ? STATUS_FINE : 1;
}

/* With nothing else to do, a loop that only catches signals ends. */
static int run_to_the_end(void) {
    signal_loop l;
    start_signal_loop(&l);
    uv_close((uv_handle_t *)&l.again, NULL);
    uv_run(&l.loop, UV_RUN_DEFAULT);
    return l.stops == 0 ? STATUS_FINE : 1;
}

static void signals_stop_once(void **state) {
    (void)state;
    assert_int_equal(status_of(stop_on_terminate), STATUS_FINE);
    assert_int_equal(status_of(stop_on_interrupt), STATUS_FINE);
}

static void signals_end_the_process_the_second_time(void **state) {
    (void)state;
    assert_int_equal(status_of(end_on_the_second), 130);
}

static void signals_count_from_the_start(void **state) {
    (void)state;
    assert_int_equal(status_of(stop_before_the_loop), STATUS_FINE);
    assert_int_equal(status_of(stop_is_heard_by_all), STATUS_FINE);
    assert_int_equal(status_of(stop_while_blocked), STATUS_FINE);
    assert_int_equal(status_of(sleep_until_asked), STATUS_FINE);
}

static void signals_hang_up(void **state) {
    (void)state;
    assert_int_equal(status_of(reload_at_hang_up), STATUS_FINE);
    assert_int_equal(status_of(stop_at_hang_up), STATUS_FINE);
}

static void signals_of_broken_pipes_are_ignored(void **state) {
    (void)state;
    assert_int_equal(status_of(write_to_nobody), STATUS_FINE);
}

static void signals_do_not_keep_a_loop_alive(void **state) {
    (void)state;
    assert_int_equal(status_of(run_to_the_end), STATUS_FINE);
}

/* ---- background ---- */

typedef struct piece_of_work {
    uv_loop_t loop;
    background *background;
    sem_t may_end, is_released;
    int done;
} piece_of_work;

static void wait_for_leave(void *context) {
    piece_of_work *w = context;
    sem_wait(&w->may_end);
}

static void on_done(void *context) {
    piece_of_work *w = context;
    w->done++;
}

static void on_release(void *context) {
    piece_of_work *w = context;
    sem_post(&w->is_released);
}

static void start_work(piece_of_work *w) {
    *w = (piece_of_work){.done = 0};
    sem_init(&w->may_end, 0, 0);
    sem_init(&w->is_released, 0, 0);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(background_start(&w->background, &w->loop, wait_for_leave, on_done, w), ERR_OK);
}

static void background_is_waited_for_by_the_loop(void **state) {
    (void)state;
    piece_of_work w;
    start_work(&w);
    sem_post(&w.may_end);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    assert_int_equal(w.done, 1);
    assert_int_equal(uv_loop_close(&w.loop), 0);
}

/* While it works, and at any moment about its end: the loop ends without it, and it is released once. */
static void background_can_be_left(void **state) {
    (void)state;
    for (int i = 0; i < 300; i++) {
        piece_of_work w;
        start_work(&w);
        if (i > 0) {
            sem_post(&w.may_end);
            for (int spin = 0; spin < 40 * i; spin++) {
                __asm__ volatile("" ::: "memory");
            }
        }
        background_leave(w.background, on_release);
        uv_run(&w.loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&w.loop), 0);
        sem_post(&w.may_end);
        sem_wait(&w.is_released);
        assert_int_equal(w.done, 0);
    }
}

int main(void) {
    alarm(HANG_SECONDS);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals_stop_once),
        cmocka_unit_test(signals_end_the_process_the_second_time),
        cmocka_unit_test(signals_count_from_the_start),
        cmocka_unit_test(signals_hang_up),
        cmocka_unit_test(signals_of_broken_pipes_are_ignored),
        cmocka_unit_test(signals_do_not_keep_a_loop_alive),
        cmocka_unit_test(background_is_waited_for_by_the_loop),
        cmocka_unit_test(background_can_be_left),
    };
    return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
