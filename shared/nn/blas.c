#include "nn/blas.h"

#include <cblas.h>
#include <sys/mman.h>

enum { THREADS_MAX = 64 }; /* OpenBLAS has a table of some hundred buffers */
static const size_t buffer_bytes = (size_t)128 << 20;

/* Source: OpenBLAS 0.3.21, driver/others/memory.c; both are exported. What is freed stays mapped for the next. */
void *blas_memory_alloc(int unused);
void blas_memory_free(void *buffer);

static bool can_map(void) {
    void *there = mmap(NULL, buffer_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return there != MAP_FAILED && munmap(there, buffer_bytes) == 0;
}

err blas_begin(size_t threads) {
    void *buffers[THREADS_MAX];
    size_t count = 0;
    openblas_set_num_threads(1);
    threads = threads < THREADS_MAX ? threads : THREADS_MAX;
    while (count < threads && can_map()) {
        buffers[count++] = blas_memory_alloc(0);
    }
    bool is_enough = count == threads;
    while (count > 0) {
        blas_memory_free(buffers[--count]);
    }
    return is_enough ? ERR_OK
                     : err_fail(ERR_MEMORY, "no %zu MiB of address space to multiply matrices on %zu threads",
                                threads * (buffer_bytes >> 20), threads);
}
