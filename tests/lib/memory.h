/* The test program's own malloc: it counts, and fails when asked to. Header only: a test is one program.
 *
 * Its functions stand before the C library's for everything in the process, libraries too. They tell who asked by the
 * address of the caller: this program (with all of Fewbit in it) or a library. A sanitizer has a malloc of its own, so
 * with FEWBIT_SANITIZE there is nothing here, and tests that count are skipped. */
#ifndef FEWBIT_TESTS_LIB_MEMORY_H
#define FEWBIT_TESTS_LIB_MEMORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <execinfo.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef enum memory_owner { MEMORY_OURS, MEMORY_OF_LIBRARIES, MEMORY_OWNERS } memory_owner;

enum { MEMORY_TRACES = 4, MEMORY_DEPTH = 16 };

typedef struct memory_trace {
    void *frames[MEMORY_DEPTH];
    int depth;
    size_t size;
} memory_trace;

static struct {
    atomic_bool counts;                 /* all threads */
    atomic_ulong calls[MEMORY_OWNERS];  /* since memory_count_start */
    atomic_long blocks;                 /* alive, since the program began */
    memory_trace traces[MEMORY_TRACES]; /* of the first calls counted */
    atomic_int traced;
} memory;

/* Failing is a matter of one thread: the one that asked for it. */
static _Thread_local struct {
    unsigned long fail_at; /* the n-th call from now; 0: none */
    unsigned long seen;
    bool only_ours;
    bool has_failed;
    bool is_tracing;
} memory_here;

#ifndef FEWBIT_SANITIZE

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

extern const char __executable_start[], etext[];

#define MEMORY_STANDS_ALONE __attribute__((noinline)) /* inlined, it would not see its caller */

static memory_owner memory_owner_of(const void *caller) {
    uintptr_t at = (uintptr_t)caller;
    return at >= (uintptr_t)__executable_start && at < (uintptr_t)etext ? MEMORY_OURS : MEMORY_OF_LIBRARIES;
}

static void memory_trace_call(size_t size) {
    int place = atomic_fetch_add(&memory.traced, 1);
    if (place < MEMORY_TRACES && !memory_here.is_tracing) {
        memory_here.is_tracing = true;
        memory.traces[place].depth = backtrace(memory.traces[place].frames, MEMORY_DEPTH);
        memory.traces[place].size = size;
        memory_here.is_tracing = false;
    }
}

/* Notes one call; true when it shall fail. */
static bool memory_note(const void *caller, size_t size) {
    memory_owner owner = memory_owner_of(caller);
    if (atomic_load(&memory.counts)) {
        atomic_fetch_add(&memory.calls[owner], 1);
        memory_trace_call(size);
    }
    if (memory_here.fail_at == 0 || (memory_here.only_ours && owner != MEMORY_OURS)) {
        return false;
    }
    if (++memory_here.seen != memory_here.fail_at) {
        return false;
    }
    memory_here.has_failed = true;
    errno = ENOMEM;
    return true;
}

static void *memory_given(void *block) {
    atomic_fetch_add(&memory.blocks, block != NULL);
    return block;
}

MEMORY_STANDS_ALONE void *malloc(size_t size) {
    return memory_note(__builtin_return_address(0), size) ? NULL : memory_given(__libc_malloc(size));
}

MEMORY_STANDS_ALONE void *calloc(size_t count, size_t size) {
    return memory_note(__builtin_return_address(0), count * size) ? NULL : memory_given(__libc_calloc(count, size));
}

MEMORY_STANDS_ALONE void *realloc(void *old, size_t size) {
    if (memory_note(__builtin_return_address(0), size)) {
        return NULL;
    }
    void *block = __libc_realloc(old, size);
    if (!old) {
        memory_given(block);
    } else if (!block && size == 0) {
        atomic_fetch_sub(&memory.blocks, 1);
    }
    return block;
}

MEMORY_STANDS_ALONE void *memalign(size_t alignment, size_t size) {
    return memory_note(__builtin_return_address(0), size) ? NULL : memory_given(__libc_memalign(alignment, size));
}

MEMORY_STANDS_ALONE void *aligned_alloc(size_t alignment, size_t size) {
    return memory_note(__builtin_return_address(0), size) ? NULL : memory_given(__libc_memalign(alignment, size));
}

MEMORY_STANDS_ALONE int posix_memalign(void **out, size_t alignment, size_t size) {
    if (memory_note(__builtin_return_address(0), size)) {
        return ENOMEM;
    }
    *out = memory_given(__libc_memalign(alignment, size));
    return *out ? 0 : ENOMEM;
}

void free(void *block) {
    atomic_fetch_sub(&memory.blocks, block != NULL);
    __libc_free(block);
}

#endif

static inline void memory_skip_if_sanitized(void) {
#ifdef FEWBIT_SANITIZE
    print_message("skipped: the sanitizer has its own malloc, so allocations cannot be counted here\n");
    skip();
#endif
}

/* Counting, from here on, in all threads. */
static inline void memory_count_start(void) {
    void *warm[1];
    backtrace(warm, 1); /* its first call allocates */
    memory.calls[MEMORY_OURS] = memory.calls[MEMORY_OF_LIBRARIES] = 0;
    atomic_store(&memory.traced, 0);
    atomic_store(&memory.counts, true);
}

static inline void memory_count_stop(void) {
    atomic_store(&memory.counts, false);
}

/* Where the first ones counted came from; addr2line -e PROGRAM 0xOFFSET names the line. */
static inline void memory_print_traces(void) {
    for (int i = 0; i < MEMORY_TRACES && i < atomic_load(&memory.traced); i++) {
        dprintf(STDERR_FILENO, "%zu bytes allocated at\n", memory.traces[i].size);
        backtrace_symbols_fd(memory.traces[i].frames, memory.traces[i].depth, STDERR_FILENO);
    }
}

static inline void assert_allocated_nothing(const char *what) {
    unsigned long ours = memory.calls[MEMORY_OURS], others = memory.calls[MEMORY_OF_LIBRARIES];
    if (ours + others > 0) {
        memory_print_traces();
        fail_msg("%s: %lu allocations of ours, %lu of libraries", what, ours, others);
    }
}

/* The n-th allocation of this thread from here on fails, once; with only_ours, the n-th of this program's own. */
static inline void memory_fail(unsigned long n, bool only_ours) {
    memory_here.seen = 0;
    memory_here.has_failed = false;
    memory_here.only_ours = only_ours;
    memory_here.fail_at = n;
}

/* Whether one has failed since memory_fail; no other will. */
static inline bool memory_fail_end(void) {
    memory_here.fail_at = 0;
    return memory_here.has_failed;
}

#endif
