#include "loop/supervisor.h"

#include <systemd/sd-daemon.h>

void supervisor_ready(const char *status) {
    sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void supervisor_stopping(void) {
    sd_notify(0, "STOPPING=1\nSTATUS=ending");
}
