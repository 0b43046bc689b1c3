/* A worker whose mail never ends still takes its turns: deadlines hold while a peer floods. */
#include "loop/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>

enum { RECORDS_MAX = 5000000 };

typedef struct flooded {
    uv_loop_t loop;
    worker *worker;
    uint32_t received, idled;
} flooded;

/* Each record brings the next one, as from a peer that is never slower than we are, until a turn has come. */
static void receive(void *role, const mail *m) {
    flooded *f = role;
    f->received++;
    if (f->idled == 0 && f->received < RECORDS_MAX) {
        worker_post(f->worker, m->kind, 0, NULL, 0);
    }
}

static int64_t take_turn(void *role) {
    flooded *f = role;
    f->idled += f->received > 0;
    return -1;
}

static void deliver(void *loop_side, const mail *m) {
    (void)loop_side, (void)m;
}

static void turns_come_though_mail_never_ends(void **state) {
    (void)state;
    static const worker_role role = {receive, take_turn, deliver, NULL, NULL};
    static flooded f;
    assert_int_equal(uv_loop_init(&f.loop), 0);
    assert_int_equal(worker_new(&f.worker, &f.loop, &role, &f, &f), ERR_OK);
    worker_post(f.worker, 1, 0, NULL, 0);
    worker_free(f.worker);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f.loop), 0);
    assert_int_not_equal(f.idled, 0);
    assert_in_range(f.received, 1, RECORDS_MAX - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(turns_come_though_mail_never_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
