/* A libuv loop, made and ended with errors in place of aborts. */
#ifndef FEWBIT_LOOP_LOOP_H
#define FEWBIT_LOOP_LOOP_H

#include "base/err.h"

#include <uv.h>

/* ERR_IO where there are too few descriptors: for what libuv needs itself it would end the process. */
err loop_open(uv_loop_t *loop);

/* Everything on it must be closed; warns where it is not. */
void loop_close(uv_loop_t *loop);

#endif
