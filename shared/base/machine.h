/* The machine: how much memory it lets the process have. */
#ifndef FEWBIT_BASE_MACHINE_H
#define FEWBIT_BASE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

/* Bytes of memory, or of address space where that is limited to less. */
static inline size_t machine_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    size_t memory = pages > 0 && size > 0 ? (size_t)pages * (size_t)size : SIZE_MAX;
    struct rlimit limit;
    bool is_less = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < memory;
    return is_less ? (size_t)limit.rlim_cur : memory;
}

#endif
