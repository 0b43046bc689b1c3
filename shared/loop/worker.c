#include "loop/worker.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WAKE_UP = UINT16_MAX }; /* a record that is for nobody: to end the thread's sleep */
enum {
    RECORDS_A_TURN = 256
}; /* after so many the role gets its turn, whatever waits: a flood must not stop its clock */
enum { PAUSE_NS = 1000000 };
enum { NEWS_NONE = 0, NEWS_MAIL = 1, NEWS_CAUGHT_UP = 2 };

struct worker {
    worker_role role;
    void *role_context;
    void *loop_side;
    mailbox *in, *out;
    uv_async_t *async;
    uv_prepare_t *prepare;
    bool has_posted;  /* the loop's: since the worker was last woken */
    bool has_replied; /* the worker's: the loop is not told yet */
    atomic_bool gathers;
    uv_thread_t thread;
    atomic_int news;
    atomic_bool stop;
    bool is_held;
};

static void tell_loop(worker *w, int news) {
    atomic_fetch_or(&w->news, news);
    uv_async_send(w->async);
}

/* On the worker's thread. */
static void on_out_filled(void *context) {
    worker *w = context;
    if (atomic_load_explicit(&w->gathers, memory_order_relaxed)) {
        w->has_replied = true;
    } else {
        tell_loop(w, NEWS_MAIL);
    }
}

/* The loop is about to wait. */
static void on_prepare(uv_prepare_t *prepare) {
    worker *w = prepare->data;
    if (w->has_posted) {
        w->has_posted = false;
        mailbox_wake(w->in);
    }
}

static void pass_replies(worker *w) {
    if (w->has_replied) {
        w->has_replied = false;
        tell_loop(w, NEWS_MAIL);
    }
}

static int64_t idle(worker *w) {
    pass_replies(w);
    int64_t sleep = w->role.idle(w->role_context);
    pass_replies(w);
    return sleep;
}

static void on_in_low(void *context) {
    tell_loop(context, NEWS_CAUGHT_UP);
}

/* Whether so many replies wait that the worker has to wait for the loop: whoever asks for much with little, again and
 * again, must not fill the memory between the two. */
static bool is_ahead(worker *w) {
    return atomic_load_explicit(&w->gathers, memory_order_relaxed) && !atomic_load(&w->stop) && mailbox_is_high(w->out);
}

static void worker_main(void *argument) {
    worker *w = argument;
    for (unsigned since_turn = 0;; since_turn++) {
        mail m;
        if (is_ahead(w)) {
            pass_replies(w);
            uv_sleep(1);
            continue;
        }
        if (since_turn < RECORDS_A_TURN && mailbox_take(w->in, &m)) {
            if (m.kind != WAKE_UP) {
                w->role.receive(w->role_context, &m);
            }
            continue;
        }
        if (since_turn == RECORDS_A_TURN) {
            since_turn = 0;
            idle(w);
            continue;
        }
        since_turn = 0;
        if (atomic_load(&w->stop)) {
            return;
        }
        int64_t sleep = idle(w);
        if (sleep != 0) {
            mailbox_wait(w->in, sleep);
        }
    }
}

static void deliver_all(worker *w) {
    mail m;
    bool any = false;
    while (!w->is_held && mailbox_take(w->out, &m)) {
        w->role.deliver(w->loop_side, &m);
        any = true;
    }
    if (any && w->role.delivered) {
        w->role.delivered(w->loop_side);
    }
}

static void on_async(uv_async_t *async) {
    worker *w = async->data;
    int news = atomic_exchange(&w->news, NEWS_NONE);
    if (news & NEWS_MAIL) {
        deliver_all(w);
    }
    if ((news & NEWS_CAUGHT_UP) && w->role.caught_up) {
        w->role.caught_up(w->loop_side);
    }
}

static void free_handle(uv_handle_t *handle) {
    free(handle);
}

static void release(worker *w) {
    mailbox_free(w->in);
    mailbox_free(w->out);
    if (w->async) {
        uv_close((uv_handle_t *)w->async, free_handle);
        uv_close((uv_handle_t *)w->prepare, free_handle);
    }
    free(w);
}

err worker_new(worker **out, uv_loop_t *loop, const worker_role *role, void *role_context, void *loop_side) {
    worker *w = calloc(1, sizeof *w);
    uv_async_t *async = malloc(sizeof *async);
    uv_prepare_t *prepare = malloc(sizeof *prepare);
    if (!w || !async || !prepare) {
        free(w);
        free(async);
        free(prepare);
        return err_fail(ERR_MEMORY, "no memory for a worker");
    }
    w->role = *role;
    w->role_context = role_context;
    w->loop_side = loop_side;
    int status = uv_async_init(loop, async, on_async);
    if (status < 0) {
        free(w);
        free(async);
        free(prepare);
        return err_fail(ERR_IO, "cannot make a worker: %s", uv_strerror(status));
    }
    uv_prepare_init(loop, prepare);
    uv_prepare_start(prepare, on_prepare);
    uv_unref((uv_handle_t *)prepare);
    async->data = prepare->data = w;
    w->async = async;
    w->prepare = prepare;
    err e = mailbox_new(&w->in, WORKER_MAIL_HIGH, NULL, on_in_low, w);
    e = e ? e : mailbox_new(&w->out, WORKER_MAIL_HIGH, on_out_filled, NULL, w);
    *out = w; /* the role may reply from its first moment */
    if (!e && uv_thread_create(&w->thread, worker_main, w) != 0) {
        e = err_fail(ERR_IO, "cannot start the worker thread");
    }
    if (e) {
        *out = NULL;
        release(w);
    }
    return e;
}

void worker_gather(worker *w) {
    atomic_store(&w->gathers, true);
}

void worker_free(worker *w) {
    if (!w) {
        return;
    }
    atomic_store(&w->stop, true);
    mailbox_put(w->in, WAKE_UP, 0, NULL, 0);
    mailbox_wake(w->in); /* what was put quietly has woken nobody yet */
    uv_thread_join(&w->thread);
    w->is_held = false;
    deliver_all(w);
    release(w);
}

err worker_post(worker *w, uint32_t kind, uint64_t about, const void *bytes, size_t length) {
    return mailbox_put(w->in, kind, about, bytes, length);
}

err worker_post_in_turn(worker *w, uint32_t kind, uint64_t about, const void *bytes, size_t length) {
    w->has_posted = true;
    return mailbox_put_quietly(w->in, kind, about, bytes, length);
}

bool worker_is_behind(worker *w) {
    return mailbox_is_high(w->in);
}

void worker_waiting(worker *w, size_t *in, size_t *out) {
    *in = mailbox_bytes(w->in);
    *out = mailbox_bytes(w->out);
}

/* No memory for a reply, which must not be lost: somebody waits for it. There is room once the loop has taken what
 * there is, or somebody has given memory back. */
static void wait_for_room(worker *w) {
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    tell_loop(w, NEWS_MAIL);
    nanosleep(&pause, NULL);
}

uint8_t *worker_reply_begin(worker *w, uint32_t kind, uint64_t about, size_t length) {
    uint8_t *to = mailbox_begin(w->out, kind, about, length);
    while (!to && !atomic_load(&w->stop)) {
        wait_for_room(w);
        to = mailbox_begin(w->out, kind, about, length);
    }
    return to;
}

err worker_reply(worker *w, uint32_t kind, uint64_t about, const void *bytes, size_t length) {
    uint8_t *to = worker_reply_begin(w, kind, about, length);
    if (!to) {
        return ERR_MEMORY;
    }
    if (length > 0) {
        memcpy(to, bytes, length);
    }
    mailbox_end(w->out);
    return ERR_OK;
}

void worker_reply_end(worker *w) {
    mailbox_end(w->out);
}

bool worker_replies_are_high(worker *w) {
    return mailbox_is_high(w->out);
}

void worker_hold(worker *w) {
    w->is_held = true;
}

void worker_release(worker *w) {
    w->is_held = false;
    tell_loop(w, NEWS_MAIL);
}
