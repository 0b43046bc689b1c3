#include "loop/background.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { UNDER_WAY, OVER, LEFT };

struct background {
    pthread_t thread;
    uv_async_t *async;
    void (*work)(void *context);
    void (*done)(void *context);
    void (*release)(void *context);
    void *context;
    atomic_int state;
};

static void *run(void *argument) {
    background *b = argument;
    b->work(b->context);
    if (atomic_exchange(&b->state, OVER) == LEFT) {
        b->release(b->context);
        free(b);
    } else {
        uv_async_send(b->async); /* whoever takes it waits for this thread's end first */
    }
    return NULL;
}

static void free_handle(uv_handle_t *handle) {
    free(handle);
}

static void on_over(uv_async_t *async) {
    background *b = async->data;
    pthread_join(b->thread, NULL);
    uv_close((uv_handle_t *)async, free_handle);
    b->done(b->context);
    free(b);
}

err background_start(background **out, uv_loop_t *loop, void (*work)(void *context), void (*done)(void *context),
                     void *context) {
    background *b = calloc(1, sizeof *b);
    uv_async_t *async = malloc(sizeof *async);
    int status = b && async ? uv_async_init(loop, async, on_over) : UV_ENOMEM;
    if (status < 0) {
        free(b);
        free(async);
        return err_fail(status == UV_ENOMEM ? ERR_MEMORY : ERR_IO, "cannot work in the background: %s",
                        uv_strerror(status));
    }
    async->data = b;
    b->async = async;
    b->work = work;
    b->done = done;
    b->context = context;
    status = pthread_create(&b->thread, NULL, run, b);
    if (status) {
        uv_close((uv_handle_t *)async, free_handle);
        free(b);
        return err_fail(ERR_IO, "cannot start a thread: %s", strerror(status));
    }
    *out = b;
    return ERR_OK;
}

void background_leave(background *b, void (*release)(void *context)) {
    pthread_t thread = b->thread;
    void *context = b->context;
    b->release = release;
    uv_close((uv_handle_t *)b->async, free_handle);
    if (atomic_exchange(&b->state, LEFT) == UNDER_WAY) {
        pthread_detach(thread);
        return;
    }
    pthread_join(thread, NULL);
    release(context);
    free(b);
}
