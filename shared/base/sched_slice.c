#include "base/sched_slice.h"

#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SLICE_NS = 200000 };

/* The kernel's struct sched_attr, as far as its first version goes: the C library has none. */
typedef struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
} scheduling;

void sched_slice_shorten(void) {
    scheduling mine = {0};
    if (syscall(SYS_sched_getattr, 0, &mine, sizeof mine, 0) != 0 || mine.policy != 0) {
        return; /* whoever was given another policy has it on purpose */
    }
    mine.size = sizeof mine;
    mine.runtime = SLICE_NS;
    syscall(SYS_sched_setattr, 0, &mine, 0);
}
