#include "base/process.h"

#include "base/interrupt.h"
#include "base/log.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool has_no_input;

#ifndef FEWBIT_SANITIZE
/* The libraries' beginnings take most of the time until main. A sanitizer's must come first. */
__attribute__((section(".preinit_array"), used)) static void (*before_libraries)(void) = interrupt_catch_early;
#endif

static bool is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

/* The lowest free number is the one that is closed. */
static err open_streams(void) {
    has_no_input = !is_open(STDIN_FILENO);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (!is_open(fd) && open("/dev/null", O_RDWR) != fd) {
            return err_system(ERR_IO, "/dev/null: cannot stand in for a closed standard stream");
        }
    }
    return ERR_OK;
}

/* At exit, wherever that comes from: argp's --help is output, too. Libraries have no part in it: OpenBLAS would wait
 * for threads for which it had found no memory. A sanitizer has, which looks for leaks. */
static void end(int status, void *context) {
    (void)context;
    errno = 0;
    bool failed = fflush(stdout) != 0 || ferror(stdout);
    if (failed && status == 0) {
        status = err_exit_code(ERR_IO);
        err_fail(ERR_IO, "standard output: %s", errno ? strerror(errno) : "cannot be written");
        log_failure();
        _exit(status);
    }
#ifndef FEWBIT_SANITIZE
    _exit(status);
#endif
}

err process_start(void) {
    err e = open_streams();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    on_exit(end, NULL);
    return e ? e : interrupt_catch();
}

bool process_has_input(void) {
    return !has_no_input;
}

int process_end(err e) {
    if (e) {
        log_failure();
    }
    return err_exit_code(e);
}

enum { SLICE_NS = 200000 };

/* The kernel's struct sched_attr, as far as its first version goes: the C library has none. */
typedef struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
} scheduling;

void process_shorten_slices(void) {
    scheduling mine = {0};
    if (syscall(SYS_sched_getattr, 0, &mine, sizeof mine, 0) != 0 || mine.policy != 0) {
        return; /* whoever was given another policy has it on purpose */
    }
    mine.size = sizeof mine;
    mine.runtime = SLICE_NS;
    syscall(SYS_sched_setattr, 0, &mine, 0);
}
