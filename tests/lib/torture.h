/* Makes one thing again and again while one allocation fails, the first, the second, and so on. Header only: a test is
 * one program. */
#ifndef FEWBIT_TESTS_LIB_TORTURE_H
#define FEWBIT_TESTS_LIB_TORTURE_H

#include "tests/lib/memory.h"

#include "base/err.h"

#include <dirent.h>
#include <openssl/err.h>
#include <string.h>

enum { TORTURE_ATTEMPTS_MAX = 100000 };

/* Whose allocations fail: everybody's, or this program's alone. */
typedef enum whose { ALL, OURS } whose;

static const char no_line[] = "(no line)";

static long open_files(void) {
    long count = 0;
    DIR *descriptors = opendir("/proc/self/fd");
    assert_non_null(descriptors);
    while (readdir(descriptors)) {
        count++;
    }
    closedir(descriptors);
    return count;
}

typedef struct attempt {
    err outcome;
    bool has_failed;
    long lost_blocks, lost_files;
} attempt;

/* `make` makes something and ends it again; its n-th allocation fails. */
static attempt try_once(err (*make)(void), unsigned long n, whose whose) {
    long blocks = memory.blocks, files = open_files();
    err_fail(ERR_INTERNAL, "%s", no_line);
    memory_fail(n, whose == OURS);
    attempt a = {.outcome = make()};
    a.has_failed = memory_fail_end();
    ERR_clear_error(); /* OpenSSL keeps its last sixteen errors */
    a.lost_blocks = memory.blocks - blocks;
    a.lost_files = open_files() - files;
    return a;
}

static void torture(const char *name, err (*make)(void), whose whose) {
    if (make()) { /* also so that what is set up once, is */
        fail_msg("%s: %s", name, err_text());
    }
    unsigned long n = 1, refused = 0;
    for (attempt a = {.has_failed = true}; a.has_failed; n++) {
        a = try_once(make, n, whose);
        if (a.lost_blocks || a.lost_files) { /* a library may keep something at its first error: OpenSSL does */
            a = try_once(make, n, whose);
        }
        if (a.lost_blocks || a.lost_files) {
            fail_msg("%s, allocation %lu: %ld blocks and %ld files are lost", name, n, a.lost_blocks, a.lost_files);
        }
        if (a.outcome && (strcmp(err_text(), no_line) == 0 || err_text()[0] == '\0')) {
            fail_msg("%s, allocation %lu: error %d has no line", name, n, (int)a.outcome);
        }
        if (a.outcome && !a.has_failed) {
            fail_msg("%s: fails with memory: %s", name, err_text());
        }
        refused += a.outcome != ERR_OK;
        assert_true(n < TORTURE_ATTEMPTS_MAX);
    }
    assert_true(n > 2); /* it allocates */
    print_message("%s: %lu allocations, %lu of them needed\n", name, n - 2, refused);
}

/* The test NAME_survives. */
#define TORTURE(make, whose)                                                                                           \
    static void make##_survives(void **state) {                                                                        \
        (void)state;                                                                                                   \
        memory_skip_if_sanitized();                                                                                    \
        torture(#make, make, whose);                                                                                   \
    }

#endif
