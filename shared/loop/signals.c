#include "loop/signals.h"

#include "base/interrupt.h"
#include "base/log.h"

static void hang_up(signals *s) {
    if (s->reload_count == 0) {
        log_event(LOG_INFO, "nothing_to_reload", "SIGHUP: there is nothing here to read again");
    }
    for (size_t i = 0; i < s->reload_count; i++) {
        s->reloads[i].act(s->reloads[i].context);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    signals *s = poll->data;
    interrupt_drain();
    if (interrupt_took_hang_up() && !interrupt_asked()) {
        hang_up(s);
    }
    if (interrupt_asked()) {
        uv_poll_stop(poll); /* it stays readable */
    }
    if (interrupt_asked() && s->stop) {
        void (*stop)(void *context) = s->stop;
        s->stop = NULL;
        stop(s->context);
    }
}

err signals_catch(signals *s, uv_loop_t *loop, void (*stop)(void *context), void *context) {
    *s = (signals){.stop = stop, .context = context};
    int status = uv_poll_init(loop, &s->poll, interrupt_descriptor());
    if (status < 0) {
        return err_fail(ERR_IO, "cannot watch for signals: %s", uv_strerror(status));
    }
    s->poll.data = s;
    uv_unref((uv_handle_t *)&s->poll);
    status = uv_poll_start(&s->poll, UV_READABLE, on_readable);
    if (status < 0) {
        signals_release(s);
        return err_fail(ERR_IO, "cannot watch for signals: %s", uv_strerror(status));
    }
    return ERR_OK;
}

err signals_on_reload(signals *s, void (*act)(void *context), void *context) {
    if (s->reload_count == SIGNALS_RELOADS_MAX) {
        return err_fail(ERR_FULL, "too many reloads at SIGHUP");
    }
    s->reloads[s->reload_count++] = (signals_reload){act, context};
    return ERR_OK;
}

void signals_release(signals *s) {
    uv_close((uv_handle_t *)&s->poll, NULL);
}
