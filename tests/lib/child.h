/* Tests that want a process of their own. Header only: a test is one program. */
#ifndef FEWBIT_TESTS_LIB_CHILD_H
#define FEWBIT_TESTS_LIB_CHILD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { STATUS_FINE = 42, CHILD_SECONDS = 10 };

/* The status of a process of its own that runs `body`; it is ended when it takes too long. */
static inline int status_of(int (*body)(void)) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(CHILD_SECONDS);
        _exit(body());
    }
    int status = 0;
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#endif
