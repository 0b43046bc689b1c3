#include "loop/alarm.h"

#include <sys/timerfd.h>
#include <unistd.h>

static void on_ring(uv_poll_t *poll, int status, int events) {
    alarm_clock *a = poll->data;
    uint64_t rings;
    (void)status, (void)events;
    if (read(a->fd, &rings, sizeof rings) > 0) {
        a->set_ns = UINT64_MAX;
    }
}

err alarm_open(alarm_clock *a, uv_loop_t *loop) {
    *a = (alarm_clock){.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), .set_ns = UINT64_MAX};
    if (a->fd < 0) {
        return err_system(ERR_IO, "cannot make a timer");
    }
    uv_poll_init(loop, &a->poll, a->fd);
    a->poll.data = a;
    uv_poll_start(&a->poll, UV_READABLE, on_ring);
    uv_unref((uv_handle_t *)&a->poll);
    return ERR_OK;
}

void alarm_set(alarm_clock *a, uint64_t at_ns) {
    if (at_ns >= a->set_ns) {
        return;
    }
    const struct itimerspec at = {.it_value = {(time_t)(at_ns / 1000000000), (long)(at_ns % 1000000000)}};
    timerfd_settime(a->fd, TFD_TIMER_ABSTIME, &at, NULL);
    a->set_ns = at_ns;
}

void alarm_close(alarm_clock *a) {
    if (a->fd > 0) {
        uv_close((uv_handle_t *)&a->poll, NULL);
        close(a->fd);
        a->fd = -1;
    }
}
