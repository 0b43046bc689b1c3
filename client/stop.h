/* Being asked to stop: SIGINT and SIGTERM set a flag that long work looks at. */
#ifndef FEWBIT_CLIENT_STOP_H
#define FEWBIT_CLIENT_STOP_H

#include <stdbool.h>

void stop_catch(void);
bool stop_asked(void);

#endif
