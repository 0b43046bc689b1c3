#include "nn/onednn/onednn_matmul.h"

static err describe(dnnl_memory_desc_t *to, size_t batch, size_t rows, size_t columns, const onednn_matmul_layout *l) {
    size_t inner = l->is_transposed ? rows : columns, outer = l->is_transposed ? columns : rows;
    size_t width = l->width ? l->width : inner;
    const dnnl_dims_t dims = {(dnnl_dim_t)batch, (dnnl_dim_t)rows, (dnnl_dim_t)columns};
    const dnnl_dims_t strides = {(dnnl_dim_t)(outer * width), (dnnl_dim_t)(l->is_transposed ? 1 : width),
                                 (dnnl_dim_t)(l->is_transposed ? width : 1)};
    int skipped = batch == 1; /* two dimensions are enough */
    return onednn_error(dnnl_memory_desc_init_by_strides(to, 3 - skipped, dims + skipped,
                                                         l->is_half ? dnnl_bf16 : dnnl_f32, strides + skipped),
                        "matrix");
}

static err describe_bias(dnnl_memory_desc_t *to, const onednn_matmul *p) {
    const onednn_matmul_layout row = {0};
    return describe(to, p->batch, 1, p->n, &row);
}

static err describe_what_follows(dnnl_primitive_attr_t *attributes, const onednn_matmul *p) {
    dnnl_post_ops_t after = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attributes);
    status = status ? status : dnnl_post_ops_create(&after);
    if (!status && p->adds) {
        status = dnnl_post_ops_append_sum(after, 1.0f);
    }
    if (!status && p->relu) {
        status = dnnl_post_ops_append_eltwise(after, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
    }
    status = status ? status : dnnl_primitive_attr_set_post_ops(*attributes, after);
    dnnl_post_ops_destroy(after);
    return onednn_error(status, "what follows a product");
}

err onednn_matmul_init(onednn_primitive *job, onednn_stream *w, const onednn_matmul *p) {
    dnnl_memory_desc_t a, b, c, bias;
    dnnl_matmul_desc_t operation;
    dnnl_primitive_attr_t attributes = NULL;
    err failed = describe(&a, p->batch, p->m, p->k, &p->a);
    failed = failed ? failed : describe(&b, p->batch, p->k, p->n, &p->b);
    failed = failed ? failed : describe(&c, p->batch, p->m, p->n, &p->c);
    failed = failed || !p->bias ? failed : describe_bias(&bias, p);
    failed = failed ? failed
                    : onednn_error(dnnl_matmul_desc_init(&operation, &a, &b, p->bias ? &bias : NULL, &c), "product");
    failed = failed ? failed : describe_what_follows(&attributes, p);
    failed = failed ? failed : onednn_primitive_init(job, w, &operation, attributes, NULL);
    dnnl_primitive_attr_destroy(attributes);
    return failed;
}
