/* `fewbit bench serve`: puts a load on a server and reports what came of it. */
#ifndef FEWBIT_CLIENT_BENCH_SERVE_H
#define FEWBIT_CLIENT_BENCH_SERVE_H

#include "base/err.h"

err bench_serve_main(int argc, char **argv);

#endif
