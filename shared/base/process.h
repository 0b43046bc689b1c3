/* What every program's main begins and ends with: standard streams, signals, the exit code; and its scheduling. */
#ifndef FEWBIT_BASE_PROCESS_H
#define FEWBIT_BASE_PROCESS_H

#include "base/err.h"

/* First in main. Standard streams that are closed become /dev/null, so that no file or socket takes their numbers; a
 * broken pipe and a file that grows too large are errors, not the end; signals are caught (base/interrupt.h); a usage
 * error ends with 2; output that cannot be written turns exit code 0 into 5. */
err process_start(void);

/* Whether standard input was open when the program began. */
bool process_has_input(void);

/* Last in main: says why it has failed; the exit code. */
int process_end(err e);

/* Asks the kernel for short scheduling slices for this thread and for those it starts from here on. A thread that wakes
 * where another one runs waits until that one's slice is over: some 3 milliseconds, as a rule, and one answer passes
 * through several threads. One with short slices gives way sooner, and runs before those with longer ones; each still
 * gets its share. A kernel before Linux 6.12 takes no notice. */
void process_shorten_slices(void);

#endif
