/* Interrupts: SIGINT, SIGTERM and SIGHUP, from before main on, as flags that long work looks at and as a
 * descriptor for event loops.
 *
 * The first SIGINT or SIGTERM asks to stop; a second one ends the process at once with status 130. SIGHUP asks to read
 * again what can be read again; in a program without such a thing (interrupt_hang_up_stops) it asks to stop, too. All
 * of it holds for process 1 of a container as well, which no signal ends by default. */
#ifndef FEWBIT_BASE_INTERRUPT_H
#define FEWBIT_BASE_INTERRUPT_H

#include "base/err.h"

/* Before main, and before the libraries' own beginnings: catches what comes, and nothing more. */
void interrupt_catch_early(void);

/* Catches the signals, also those that came while they were blocked. ERR_IO: no descriptor left. ERR_MEMORY: a library
 * has failed before main. */
err interrupt_catch(void);

/* SIGHUP asks to stop from here on, one that has come already too; where it is ignored (nohup) it stays so. */
void interrupt_hang_up_stops(void);

bool interrupt_asked(void);

/* ERR_STOPPED with a line once asked to stop, else ERR_OK. */
err interrupt_check(void);

/* Whether SIGHUP has come since the last call. */
bool interrupt_took_hang_up(void);

/* Readable once a signal has come, until interrupt_drain; for good once asked to stop, since several threads may wait
 * for that. -1 before interrupt_catch. */
int interrupt_descriptor(void);
void interrupt_drain(void);

/* Sleeps so long, or until asked to stop. */
void interrupt_sleep(int ms);

/* Around fork and exec: what comes meanwhile waits for interrupt_unblock, or for the next program's interrupt_catch. */
void interrupt_block(void);
void interrupt_unblock(void);

/* In a forked child: as if nothing had been caught. */
void interrupt_forget(void);

#endif
