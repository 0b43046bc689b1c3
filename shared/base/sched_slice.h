/* Scheduling slices: how the kernel shares out a core that several want.
 *
 * A thread that wakes where another one runs waits until that one's slice is over: some 3 milliseconds, as a rule, and
 * one answer passes through several threads. A thread with short slices gives way sooner, and runs before
 * those with longer ones; each still gets its share. */
#ifndef FEWBIT_BASE_SCHED_SLICE_H
#define FEWBIT_BASE_SCHED_SLICE_H

/* Asks for short slices for this thread and for those it starts from here on. A kernel before Linux 6.12 takes no
 * notice. */
void sched_slice_shorten(void);

#endif
