/* Images read on another thread: each once and in order, the requests by turns, and nothing of what is cancelled. */
#include "decoder_server/http/image_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ELEMENTS = 784, BAD_EVERY = 10, LARGE = 2000, TASKS = 3, IMAGES = 150, CALLS_MAX = 1000 };

static const image_shape shape = {1, 28, 28};

typedef struct request {
    image_task task; /* first */
    uint32_t id, seen;
    bool is_small;
    uint32_t cancel_at; /* the image with which `victim` is cancelled */
    struct request *victim;
} request;

static image_queue *queue;
static uint32_t stopped;                      /* images that were not read before the queue was closed */
static uint32_t calls[CALLS_MAX], call_count; /* whose images came */

/* Every tenth image is no good PNG, the others are raw: the task's number and the image's. */
static image_source source(image_task *task, uint32_t index) {
    static uint8_t bytes[LARGE];
    request *r = (request *)task;
    if (index % BAD_EVERY == 0 && !r->is_small) {
        memset(bytes, 0, sizeof bytes);
        memcpy(bytes, "\x89PNG\r\n\x1a\n", 8);
        return (image_source){IMAGE_OTHER, bytes, LARGE, shape};
    }
    memset(bytes, (int)(r->id + index), ELEMENTS);
    return (image_source){IMAGE_RAW, bytes, ELEMENTS, shape};
}

static void on_image(image_task *task, uint32_t index, err e, const uint8_t *sample) {
    request *r = (request *)task;
    assert_int_equal(index, r->seen++);
    assert_true(call_count < CALLS_MAX);
    calls[call_count++] = r->id;
    if (e == ERR_STOPPED) {
        stopped++;
    } else if (index % BAD_EVERY == 0 && !r->is_small) {
        assert_int_equal(e, ERR_INPUT);
        assert_non_null(strstr(err_text(), "the PNG is damaged"));
    } else {
        assert_int_equal(e, ERR_OK);
        for (size_t i = 0; i < ELEMENTS; i++) {
            assert_int_equal(sample[i], (uint8_t)(r->id + index));
        }
    }
    if (index + 1 == IMAGES) {
        memset(task, 0xff, sizeof *task); /* its memory is another's now */
    }
    if (r->victim && index == r->cancel_at && r->victim->seen < IMAGES) {
        image_queue_cancel(queue, &r->victim->task);
    }
}

static const image_queue_callbacks host = {source, on_image};

static void start(uv_loop_t *loop) {
    call_count = stopped = 0;
    assert_int_equal(uv_loop_init(loop), 0);
    assert_int_equal(image_queue_new(&queue, loop, ELEMENTS, &host), ERR_OK);
}

static void end(uv_loop_t *loop) {
    image_queue_close(queue);
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

static void what_is_small_is_read_at_once(void **state) {
    (void)state;
    uv_loop_t loop;
    start(&loop);
    request r = {.id = 1, .is_small = true};
    image_queue_add(queue, &r.task, IMAGES);
    assert_int_equal(r.seen, IMAGES);
    end(&loop);
}

static void requests_are_read_by_turns(void **state) {
    (void)state;
    uv_loop_t loop;
    start(&loop);
    request r[TASKS] = {{.id = 0}, {.id = 1}, {.id = 2}}, small = {.id = 9, .is_small = true};
    for (uint32_t i = 0; i < TASKS; i++) {
        image_queue_add(queue, &r[i].task, IMAGES);
        assert_int_equal(r[i].seen, 0);
    }
    image_queue_add(queue, &small.task, 1);
    assert_int_equal(small.seen, 1); /* waits for none of them */
    uv_run(&loop, UV_RUN_DEFAULT);
    uint32_t changes = 0;
    for (uint32_t i = 1; i < call_count; i++) {
        changes += calls[i] != calls[i - 1];
    }
    for (uint32_t i = 0; i < TASKS; i++) {
        assert_int_equal(r[i].seen, IMAGES);
    }
    uint32_t turns = (IMAGES + IMAGE_QUEUE_TURN_IMAGES - 1) / IMAGE_QUEUE_TURN_IMAGES;
    assert_true(changes >= turns * TASKS);
    end(&loop);
}

/* Whoever is cancelled, and when: while it is under way, while it waits, first and last in the queue, by itself. */
static void nothing_comes_of_what_is_cancelled(void **state) {
    (void)state;
    for (uint32_t by = 0; by < TASKS; by++) {
        for (uint32_t victim = 0; victim < TASKS; victim++) {
            for (uint32_t at = 0; at < IMAGES; at += 7) {
                uv_loop_t loop;
                start(&loop);
                request r[TASKS] = {{.id = 0}, {.id = 1}, {.id = 2}};
                r[by].victim = &r[victim];
                r[by].cancel_at = at;
                for (uint32_t i = 0; i < TASKS; i++) {
                    image_queue_add(queue, &r[i].task, IMAGES);
                }
                uv_run(&loop, UV_RUN_DEFAULT);
                assert_true(r[victim].seen <= (by == victim ? at + 1 : IMAGES));
                for (uint32_t i = 0; i < TASKS; i++) {
                    assert_true(i == victim || r[i].seen == IMAGES);
                }
                end(&loop);
            }
        }
    }
}

static void cancelled_before_the_loop_turns(void **state) {
    (void)state;
    for (uint32_t gone = 1; gone < 1u << TASKS; gone++) { /* every set of them */
        uv_loop_t loop;
        start(&loop);
        request r[TASKS] = {{.id = 0}, {.id = 1}, {.id = 2}}, late = {.id = 3};
        for (uint32_t i = 0; i < TASKS; i++) {
            image_queue_add(queue, &r[i].task, IMAGES);
        }
        for (uint32_t i = 0; i < TASKS; i++) {
            if (gone & 1u << i) {
                image_queue_cancel(queue, &r[i].task);
                memset(&r[i].task, 0xff, sizeof r[i].task); /* its memory is another's now */
            }
        }
        image_queue_add(queue, &late.task, IMAGES);
        uv_run(&loop, UV_RUN_DEFAULT);
        for (uint32_t i = 0; i < TASKS; i++) {
            assert_int_equal(r[i].seen, gone & 1u << i ? 0 : IMAGES);
        }
        assert_int_equal(late.seen, IMAGES);
        end(&loop);
    }
}

/* After any number of the loop's turns, with every one of the tasks cancelled by another's last word, or none. */
static void a_queue_is_closed_at_any_time(void **state) {
    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        for (uint32_t victim = 0; victim <= TASKS; victim++) {
            uv_loop_t loop;
            start(&loop);
            request r[TASKS] = {{.id = 0}, {.id = 1}, {.id = 2}};
            r[0].cancel_at = IMAGES - 1;
            r[0].victim = victim < TASKS ? &r[victim] : NULL;
            for (uint32_t i = 0; i < TASKS; i++) {
                image_queue_add(queue, &r[i].task, IMAGES);
            }
            for (int i = 0; i < turns; i++) {
                uv_run(&loop, UV_RUN_ONCE);
            }
            uint32_t before = call_count;
            end(&loop);
            assert_int_equal(stopped, call_count - before);
            for (uint32_t i = 0; i < TASKS; i++) {
                assert_true(i == victim || r[i].seen == IMAGES);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_small_is_read_at_once),      cmocka_unit_test(requests_are_read_by_turns),
        cmocka_unit_test(nothing_comes_of_what_is_cancelled), cmocka_unit_test(cancelled_before_the_loop_turns),
        cmocka_unit_test(a_queue_is_closed_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
