/* What the service manager that started this process hears of it: systemd's notifications (sd_notify), where
 * NOTIFY_SOCKET names a socket; else nothing happens. */
#ifndef FEWBIT_LOOP_SUPERVISOR_H
#define FEWBIT_LOOP_SUPERVISOR_H

/* The process does its work from here on; `status` is one line for people. */
void supervisor_ready(const char *status);

/* It has been asked to end and is ending. */
void supervisor_stopping(void);

#endif
