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

static void on_hang_up(uv_signal_t *handle, int number) {
    (void)number;
    signals *s = handle->data;
    for (size_t i = 0; i < s->reload_count; i++) {
        s->reloads[i].act(s->reloads[i].context);
    }
}

err signals_catch(signals *s, uv_loop_t *loop, void (*stop)(void *context), void *context) {
    signal(SIGPIPE, SIG_IGN);
    s->stop = stop;
    s->context = context;
    s->reload_count = 0;
    uv_signal_init(loop, &s->interrupt);
    uv_signal_init(loop, &s->terminate);
    uv_signal_init(loop, &s->hang_up);
    s->interrupt.data = s->terminate.data = s->hang_up.data = s;
    if (uv_signal_start(&s->interrupt, on_signal, SIGINT) != 0 ||
        uv_signal_start(&s->terminate, on_signal, SIGTERM) != 0) {
        return err_fail(ERR_IO, "cannot catch SIGINT and SIGTERM");
    }
    uv_unref((uv_handle_t *)&s->interrupt);
    uv_unref((uv_handle_t *)&s->terminate);
    return ERR_OK;
}

err signals_on_reload(signals *s, void (*act)(void *context), void *context) {
    if (s->reload_count == SIGNALS_RELOADS_MAX) {
        return err_fail(ERR_FULL, "too many reloads at SIGHUP");
    }
    s->reloads[s->reload_count++] = (signals_reload){act, context};
    if (uv_signal_start(&s->hang_up, on_hang_up, SIGHUP) != 0) {
        return err_fail(ERR_IO, "cannot catch SIGHUP");
    }
    uv_unref((uv_handle_t *)&s->hang_up);
    return ERR_OK;
}

void signals_release(signals *s) {
    uv_close((uv_handle_t *)&s->interrupt, NULL);
    uv_close((uv_handle_t *)&s->terminate, NULL);
    uv_close((uv_handle_t *)&s->hang_up, NULL);
}
