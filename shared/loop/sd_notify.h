/* What the service manager that started this process hears of it: systemd's notifications (sd_notify), where
 * NOTIFY_SOCKET names a socket; else nothing happens. */
#ifndef FEWBIT_LOOP_SD_NOTIFY_H
#define FEWBIT_LOOP_SD_NOTIFY_H

/* The process does its work from here on; `status` is one line for people. */
void sd_notify_ready(const char *status);

/* It has been asked to end and is ending. */
void sd_notify_stopping(void);

#endif
