#include "loop/signals.h"

#include <signal.h>
#include <unistd.h>

enum { STATUS_STOPPED = 130 };

static void on_signal(uv_signal_t *handle, int number) {
    (void)number;
    signals *s = handle->data;
    if (!s->stop) {
        _exit(STATUS_STOPPED);
    }
    void (*stop)(void *context) = s->stop;
    s->stop = NULL;
    stop(s->context);
}

err signals_catch(signals *s, uv_loop_t *loop, void (*stop)(void *context), void *context) {
    signal(SIGPIPE, SIG_IGN);
    s->stop = stop;
    s->context = context;
    uv_signal_init(loop, &s->interrupt);
    uv_signal_init(loop, &s->terminate);
    s->interrupt.data = s->terminate.data = s;
    if (uv_signal_start(&s->interrupt, on_signal, SIGINT) != 0 ||
        uv_signal_start(&s->terminate, on_signal, SIGTERM) != 0) {
        return err_fail(ERR_IO, "cannot catch SIGINT and SIGTERM");
    }
    uv_unref((uv_handle_t *)&s->interrupt);
    uv_unref((uv_handle_t *)&s->terminate);
    return ERR_OK;
}

void signals_release(signals *s) {
    uv_close((uv_handle_t *)&s->interrupt, NULL);
    uv_close((uv_handle_t *)&s->terminate, NULL);
}
