#include "encoder_node/request_input.h"

#include <stdlib.h>

struct request_input {
    const portion *data;
    float *row; /* [elements]; NULL: the data is no table */
};

err request_input_new(request_input **out, const portion *data) {
    request_input *in = calloc(1, sizeof *in);
    bool is_table = portion_get_columns(data) != NULL;
    if (in) {
        in->data = data;
        in->row = is_table ? malloc(portion_shape_bytes(&portion_get_info(data)->shape)) : NULL;
    }
    if (!in || (is_table && !in->row)) {
        request_input_free(in);
        return err_fail(ERR_MEMORY, "no memory for requests");
    }
    *out = in;
    return ERR_OK;
}

void request_input_free(request_input *in) {
    if (in) {
        free(in->row);
        free(in);
    }
}

static const void *take_sample(const request_input *in, const char *id, Fewbit__RequestProblem *problem) {
    enum dataset_split split;
    uint32_t index;
    if (sample_id_is_valid(id) && portion_find(in->data, id, &split, &index)) {
        return portion_sample(in->data, split, index);
    }
    *problem = FEWBIT__REQUEST_PROBLEM__PROBLEM_UNKNOWN_SAMPLE;
    err_fail(ERR_NOT_FOUND, "there is no sample '%s'", id);
    return NULL;
}

static const void *take_row(request_input *in, const ProtobufCBinaryData *text, Fewbit__RequestProblem *problem) {
    const portion_info *info = portion_get_info(in->data);
    *problem = FEWBIT__REQUEST_PROBLEM__PROBLEM_ROW;
    if (!in->row) {
        err_fail(ERR_INPUT, "portion '%s': its data has no columns, so that it reads no rows", info->name);
        return NULL;
    }
    if (columns_parse_csv(portion_get_columns(in->data), (const char *)text->data, text->len, in->row)) {
        err_prefix(ERR_INPUT, "portion '%s'", info->name);
        return NULL;
    }
    return in->row;
}

static const void *take_values(const request_input *in, const ProtobufCBinaryData *values,
                               Fewbit__RequestProblem *problem) {
    const portion_info *info = portion_get_info(in->data);
    *problem = FEWBIT__REQUEST_PROBLEM__PROBLEM_LENGTH;
    if (values->len != portion_shape_bytes(&info->shape)) {
        char text[PORTION_SHAPE_TEXT];
        err_fail(ERR_INPUT, "portion '%s': it has %zu bytes, not the %zu of %s", info->name, values->len,
                 portion_shape_bytes(&info->shape), portion_shape_text(&info->shape, text));
        return NULL;
    }
    if (portion_check_values(&info->shape, values->data)) {
        err_prefix(ERR_INPUT, "portion '%s'", info->name);
        return NULL;
    }
    return values->data;
}

const void *request_input_take(request_input *in, const Fewbit__Request *r, Fewbit__RequestProblem *problem) {
    if (r->sample[0]) {
        return take_sample(in, r->sample, problem);
    }
    return r->format == FEWBIT__PORTION_FORMAT__FORMAT_CSV ? take_row(in, &r->portion, problem)
                                                           : take_values(in, &r->portion, problem);
}
