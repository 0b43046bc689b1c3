#include "loop/loop.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* An epoll, an eventfd, and two pipes for signals, of which the first in a process aborts where it cannot be made
 * (uv__signal_global_init). */
enum { NEEDS = 6 };

/* 0, or the error for which so many descriptors are not to be had. */
static int missing_descriptors(void) {
    int taken[NEEDS], count = 0, failure = 0;
    while (count < NEEDS && !failure) {
        taken[count] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
        failure = taken[count] < 0 ? errno : 0;
        count += !failure;
    }
    while (count > 0) {
        close(taken[--count]);
    }
    return failure;
}

err loop_open(uv_loop_t *loop) {
    int missing = missing_descriptors();
    int status = missing ? -missing : uv_loop_init(loop);
    return status == 0 ? ERR_OK : err_fail(ERR_IO, "cannot make a loop of events: %s", uv_strerror(status));
}

void loop_close(uv_loop_t *loop) {
    if (uv_loop_close(loop) != 0) {
        log_warn("the loop did not close clean");
    }
}
