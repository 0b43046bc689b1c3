/* OpenBLAS as these programs use it: a call is the work of the thread that makes it.
 *
 * OpenBLAS maps 128 MiB of address space for each thread that multiplies, and tries for ever where they are not to be
 * had. So they are mapped at the start, or there is an error. */
#ifndef FEWBIT_NN_BLAS_H
#define FEWBIT_NN_BLAS_H

#include "base/err.h"

/* For so many threads at once. */
err blas_begin(size_t threads);

#endif
