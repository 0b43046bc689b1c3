/* oneDNN 2.6's C API, driven here alone: primitives that run on the calling thread alone, over
 * memory the caller names at each run.
 *
 * oneDNN allocates a little itself at every run (its argument tables); scratchpads are ours and are made with the
 * primitive. */
#ifndef FEWBIT_NN_ONEDNN_ONEDNN_H
#define FEWBIT_NN_ONEDNN_ONEDNN_H

#include "base/err.h"

#include <dnnl.h>

enum { ONEDNN_ARGUMENTS_MAX = 6 };

/* Who runs primitives, one at a time: a stream and its scratchpad, as large as the largest primitive made for it
 * wants. */
typedef struct onednn_stream {
    dnnl_stream_t stream;
    void *scratchpad;
    size_t scratchpad_bytes;
} onednn_stream;

/* A primitive with its memory objects, ready to run. */
typedef struct onednn_primitive {
    dnnl_primitive_t primitive;
    const_dnnl_primitive_desc_t description; /* the primitive's */
    dnnl_exec_arg_t arguments[ONEDNN_ARGUMENTS_MAX];
    int count;
} onednn_primitive;

/* An argument (DNNL_ARG_SRC, …) and its memory. */
typedef struct onednn_operand {
    int argument;
    const void *at;
} onednn_operand;

/* ERR_MEMORY or ERR_INTERNAL, and "WHAT: oneDNN says N". */
err onednn_error(dnnl_status_t status, const char *what);

err onednn_stream_init(onednn_stream *w);
void onednn_stream_free(onednn_stream *w);

/* Makes what `operation` (a dnnl_*_desc_t) describes, for `w`. `attributes` may be NULL, `hint` too (a backward
 * primitive's forward one). The job is to be freed also after a failure. */
err onednn_primitive_init(onednn_primitive *job, onednn_stream *w, const_dnnl_op_desc_t operation,
                          const_dnnl_primitive_attr_t attributes, const onednn_primitive *hint);
err onednn_reorder_init(onednn_primitive *job, onednn_stream *w, const dnnl_memory_desc_t *from,
                        const dnnl_memory_desc_t *to);
void onednn_primitive_free(onednn_primitive *job);

/* How an argument lies, as the primitive chose it. */
const dnnl_memory_desc_t *onednn_layout(const onednn_primitive *job, int argument);

/* Runs the job; `operands` are all its arguments but the scratchpad. It fails only of a lack of memory. */
err onednn_run(const onednn_primitive *job, const onednn_stream *w, const onednn_operand *operands, int count);
err onednn_reorder(const onednn_primitive *job, const onednn_stream *w, const void *from, void *to);

#endif
