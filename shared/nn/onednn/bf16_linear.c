#include "nn/onednn/bf16_linear.h"

#include <stdlib.h>

enum { PAGE = 4096 };

size_t bf16_linear_first_output(const bf16_linear *m, size_t task) {
    return nn_part(m->outputs, BF16_LINEAR_TASKS, task);
}

err bf16_linear_new(bf16_linear fields) {
    bf16_linear *m = malloc(sizeof *m);
    size_t bytes = (fields.outputs * fields.inputs * sizeof(uint16_t) + PAGE - 1) / PAGE * PAGE;
    if (!m) {
        return err_fail(ERR_MEMORY, "no memory for a layer");
    }
    *m = fields;
    m->layer->own = m;
    m->layer->own_bytes = m->outputs * m->inputs * sizeof(uint16_t);
    m->weights = aligned_alloc(PAGE, bytes);
    err failed = m->weights ? ERR_OK : err_fail(ERR_MEMORY, "no memory for %zu bytes of weights", bytes);
    for (size_t t = 0; t < BF16_LINEAR_TASKS && !failed; t++) {
        failed = onednn_stream_init(&m->tasks[t].worker);
    }
    return err_prefix(failed, "%s", m->layer->spec.name);
}

static void size_free(bf16_linear_size *s) {
    for (size_t i = 0; i < BF16_LINEAR_KINDS; i++) {
        onednn_primitive_free(&s->jobs[i]);
    }
    *s = (bf16_linear_size){0};
}

void bf16_linear_free(nn_layer *layer) {
    bf16_linear *m = layer->own;
    for (size_t t = 0; m && t < BF16_LINEAR_TASKS; t++) {
        for (size_t i = 0; i < BF16_LINEAR_SIZES; i++) {
            size_free(&m->tasks[t].sizes[i]);
        }
        onednn_stream_free(&m->tasks[t].worker);
    }
    free(m ? m->weights : NULL);
    free(m);
}

static onednn_matmul describe(const bf16_linear *m, size_t task, bf16_linear_kind kind, size_t rows) {
    size_t outputs = nn_part(m->outputs, BF16_LINEAR_TASKS, task + 1) - nn_part(m->outputs, BF16_LINEAR_TASKS, task);
    size_t inputs = nn_part(m->inputs, BF16_LINEAR_TASKS, task + 1) - nn_part(m->inputs, BF16_LINEAR_TASKS, task);
    onednn_matmul p = {.batch = 1, .a.is_half = true, .b.is_half = true};
    switch (kind) {
    case BF16_LINEAR_FORWARD:
        p.m = rows, p.n = outputs, p.k = m->inputs;
        p.b.is_transposed = true;
        p.c.width = m->outputs;
        p.c.is_half = m->y_half;
        p.bias = m->bias;
        p.relu = m->relu;
        break;
    case BF16_LINEAR_BACKWARD:
        p.m = rows, p.n = inputs, p.k = m->outputs;
        p.b.width = m->inputs;
        p.c.width = m->inputs;
        break;
    default:
        p.m = kind == BF16_LINEAR_GRADIENT ? m->tile : outputs % m->tile;
        p.n = m->inputs, p.k = rows;
        p.a.is_transposed = true;
        p.a.width = m->outputs;
        break;
    }
    return p;
}

/* Runs a task's product. The sizes used longest ago make room. */
static err run(bf16_linear *m, size_t task, bf16_linear_kind kind, size_t rows, const onednn_operand *operands,
               int count) {
    bf16_linear_task *t = &m->tasks[task];
    bf16_linear_size *s = NULL, *oldest = &t->sizes[0];
    for (size_t i = 0; i < BF16_LINEAR_SIZES && !s; i++) {
        s = t->sizes[i].rows == rows ? &t->sizes[i] : NULL;
        oldest = t->sizes[i].used < oldest->used ? &t->sizes[i] : oldest;
    }
    if (!s) {
        size_free(oldest);
        s = oldest;
        s->rows = rows;
    }
    s->used = ++t->clock;
    onednn_matmul p = describe(m, task, kind, rows);
    err failed = s->jobs[kind].primitive ? ERR_OK : onednn_matmul_init(&s->jobs[kind], &t->worker, &p);
    if (failed) {
        onednn_primitive_free(&s->jobs[kind]);
        return failed;
    }
    return onednn_run(&s->jobs[kind], &t->worker, operands, count);
}

typedef struct linear_call {
    bf16_linear *m;
    size_t rows;
    const uint16_t *from;
    const float *bias;
    void *to;
} linear_call;

static void forward_task(void *context, size_t task) {
    const linear_call *c = context;
    bf16_linear *m = c->m;
    size_t first = nn_part(m->outputs, BF16_LINEAR_TASKS, task);
    char *y = (char *)c->to + first * (m->y_half ? sizeof(uint16_t) : sizeof(float));
    const onednn_operand operands[] = {{DNNL_ARG_SRC, c->from},
                                       {DNNL_ARG_WEIGHTS, m->weights + first * m->inputs},
                                       {DNNL_ARG_BIAS, c->bias ? c->bias + first : NULL},
                                       {DNNL_ARG_DST, y}};
    nn_layer_note(m->layer, run(m, task, BF16_LINEAR_FORWARD, c->rows, operands, 4));
}

void bf16_linear_forward(bf16_linear *m, size_t rows, const uint16_t *x, const float *bias, void *y) {
    linear_call call = {m, rows, x, bias, y};
    thread_pool_run(m->layer->pool, forward_task, &call, BF16_LINEAR_TASKS);
}

static void backward_task(void *context, size_t task) {
    const linear_call *c = context;
    bf16_linear *m = c->m;
    size_t first = nn_part(m->inputs, BF16_LINEAR_TASKS, task);
    const onednn_operand operands[] = {
        {DNNL_ARG_SRC, c->from}, {DNNL_ARG_WEIGHTS, m->weights + first}, {DNNL_ARG_DST, (float *)c->to + first}};
    nn_layer_note(m->layer, run(m, task, BF16_LINEAR_BACKWARD, c->rows, operands, 3));
}

void bf16_linear_backward(bf16_linear *m, size_t rows, const uint16_t *dy, float *dx) {
    linear_call call = {m, rows, dy, NULL, dx};
    thread_pool_run(m->layer->pool, backward_task, &call, BF16_LINEAR_TASKS);
}

void bf16_linear_gradient(bf16_linear *m, size_t task, size_t first, size_t count, size_t rows, const uint16_t *dy,
                          const uint16_t *x, float *dw) {
    bf16_linear_kind kind = count == m->tile ? BF16_LINEAR_GRADIENT : BF16_LINEAR_GRADIENT_REST;
    const onednn_operand operands[] = {{DNNL_ARG_SRC, dy + first}, {DNNL_ARG_WEIGHTS, x}, {DNNL_ARG_DST, dw}};
    nn_layer_note(m->layer, run(m, task, kind, rows, operands, 3));
}
