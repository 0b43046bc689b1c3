#include "nn/onednn/onednn.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { PAD_ALIGNMENT = 4096 };

static dnnl_engine_t engine;
static dnnl_status_t engine_status;

static void make_engine(void) {
    engine_status = dnnl_engine_create(&engine, dnnl_cpu, 0);
}

static dnnl_engine_t onednn_engine(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_engine);
    return engine;
}

err onednn_error(dnnl_status_t status, const char *what) {
    if (status == dnnl_success) {
        return ERR_OK;
    }
    return err_fail(status == dnnl_out_of_memory ? ERR_MEMORY : ERR_INTERNAL, "%s: oneDNN says %d", what, (int)status);
}

/* OpenMP's, for the calling thread. Weak: it comes with oneDNN, and not with one built without OpenMP. */
extern void omp_set_num_threads(int count) __attribute__((weak));

/* oneDNN asks OpenMP how many threads the calling thread may use, when a primitive is made and when it runs. */
static void stay_on_this_thread(void) {
    static _Thread_local bool is_told;
    if (!is_told && omp_set_num_threads) {
        omp_set_num_threads(1);
    }
    is_told = true;
}

err onednn_stream_init(onednn_stream *w) {
    *w = (onednn_stream){0};
    dnnl_engine_t e = onednn_engine();
    err failed = onednn_error(engine_status, "engine");
    return failed ? failed : onednn_error(dnnl_stream_create(&w->stream, e, dnnl_stream_default_flags), "stream");
}

void onednn_stream_free(onednn_stream *w) {
    if (w->stream) {
        dnnl_stream_destroy(w->stream);
    }
    free(w->scratchpad);
    *w = (onednn_stream){0};
}

static err grow_scratchpad(onednn_stream *w, size_t bytes) {
    if (bytes <= w->scratchpad_bytes) {
        return ERR_OK;
    }
    free(w->scratchpad);
    size_t rounded = (bytes + PAD_ALIGNMENT - 1) / PAD_ALIGNMENT * PAD_ALIGNMENT;
    w->scratchpad = aligned_alloc(PAD_ALIGNMENT, rounded);
    w->scratchpad_bytes = w->scratchpad ? rounded : 0;
    return w->scratchpad ? ERR_OK : err_fail(ERR_MEMORY, "no memory for %zu bytes of scratch", rounded);
}

static err add_argument(onednn_primitive *job, int argument) {
    const dnnl_memory_desc_t *layout = onednn_layout(job, argument);
    if (!layout || dnnl_memory_desc_get_size(layout) == 0) {
        return ERR_OK;
    }
    dnnl_exec_arg_t *a = &job->arguments[job->count];
    a->arg = argument;
    err failed = onednn_error(dnnl_memory_create(&a->memory, layout, onednn_engine(), DNNL_MEMORY_NONE), "memory");
    job->count += failed ? 0 : 1;
    return failed;
}

/* The primitive of a description that is done with then, and memory objects for its arguments. */
static err complete(onednn_primitive *job, onednn_stream *w, dnnl_primitive_desc_t description) {
    static const int arguments[] = {DNNL_ARG_SRC,       DNNL_ARG_WEIGHTS,  DNNL_ARG_BIAS,
                                    DNNL_ARG_DST,       DNNL_ARG_DIFF_SRC, DNNL_ARG_DIFF_WEIGHTS,
                                    DNNL_ARG_DIFF_BIAS, DNNL_ARG_DIFF_DST, DNNL_ARG_SCRATCHPAD};
    err failed = onednn_error(dnnl_primitive_create(&job->primitive, description), "primitive");
    dnnl_primitive_desc_destroy(description);
    if (failed) {
        return failed;
    }
    dnnl_primitive_get_primitive_desc(job->primitive, &job->description);
    for (size_t i = 0; i < sizeof arguments / sizeof arguments[0] && !failed; i++) {
        failed = add_argument(job, arguments[i]);
    }
    const dnnl_memory_desc_t *pad = onednn_layout(job, DNNL_ARG_SCRATCHPAD);
    return failed ? failed : grow_scratchpad(w, pad ? dnnl_memory_desc_get_size(pad) : 0);
}

static err scratchpad_of_ours(dnnl_primitive_attr_t *copy, const_dnnl_primitive_attr_t attributes) {
    dnnl_status_t status = attributes ? dnnl_primitive_attr_clone(copy, attributes) : dnnl_primitive_attr_create(copy);
    err failed = onednn_error(status, "attributes");
    return failed
               ? failed
               : onednn_error(dnnl_primitive_attr_set_scratchpad_mode(*copy, dnnl_scratchpad_mode_user), "scratchpad");
}

err onednn_primitive_init(onednn_primitive *job, onednn_stream *w, const_dnnl_op_desc_t operation,
                          const_dnnl_primitive_attr_t attributes, const onednn_primitive *hint) {
    stay_on_this_thread();
    *job = (onednn_primitive){0};
    dnnl_primitive_attr_t own = NULL;
    dnnl_primitive_desc_t description = NULL;
    err failed = scratchpad_of_ours(&own, attributes);
    failed = failed ? failed
                    : onednn_error(dnnl_primitive_desc_create(&description, operation, own, onednn_engine(),
                                                              hint ? hint->description : NULL),
                                   "primitive's description");
    dnnl_primitive_attr_destroy(own);
    return failed ? failed : complete(job, w, description);
}

err onednn_reorder_init(onednn_primitive *job, onednn_stream *w, const dnnl_memory_desc_t *from,
                        const dnnl_memory_desc_t *to) {
    stay_on_this_thread();
    *job = (onednn_primitive){0};
    dnnl_primitive_attr_t own = NULL;
    dnnl_primitive_desc_t description = NULL;
    err failed = scratchpad_of_ours(&own, NULL);
    failed = failed ? failed
                    : onednn_error(dnnl_reorder_primitive_desc_create(&description, from, onednn_engine(), to,
                                                                      onednn_engine(), own),
                                   "reorder's description");
    dnnl_primitive_attr_destroy(own);
    return failed ? failed : complete(job, w, description);
}

void onednn_primitive_free(onednn_primitive *job) {
    for (int i = 0; i < job->count; i++) {
        dnnl_memory_destroy(job->arguments[i].memory);
    }
    if (job->primitive) {
        dnnl_primitive_destroy(job->primitive);
    }
    *job = (onednn_primitive){0};
}

const dnnl_memory_desc_t *onednn_layout(const onednn_primitive *job, int argument) {
    return dnnl_primitive_desc_query_md(job->description, dnnl_query_exec_arg_md, argument);
}

/* "brgconv:avx512_core" */
static const char *implementation(const onednn_primitive *job) {
    const char *name = "";
    dnnl_primitive_desc_query(job->description, dnnl_query_impl_info_str, 0, &name);
    return name;
}

static const void *memory_for(int argument, const onednn_stream *w, const onednn_operand *operands, int count) {
    for (int i = 0; i < count; i++) {
        if (operands[i].argument == argument) {
            return operands[i].at;
        }
    }
    return argument == DNNL_ARG_SCRATCHPAD ? w->scratchpad : NULL;
}

err onednn_run(const onednn_primitive *job, const onednn_stream *w, const onednn_operand *operands, int count) {
    stay_on_this_thread();
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < job->count && status == dnnl_success; i++) {
        const dnnl_exec_arg_t *a = &job->arguments[i];
        status = dnnl_memory_set_data_handle(a->memory, (void *)(uintptr_t)memory_for(a->arg, w, operands, count));
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_execute(job->primitive, w->stream, job->count, job->arguments);
    }
    if (status == dnnl_success) {
        status = dnnl_stream_wait(w->stream);
    }
    return onednn_error(status, implementation(job));
}

err onednn_reorder(const onednn_primitive *job, const onednn_stream *w, const void *from, void *to) {
    return onednn_run(job, w, (onednn_operand[]){{DNNL_ARG_SRC, from}, {DNNL_ARG_DST, to}}, 2);
}
