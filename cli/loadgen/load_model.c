#include "cli/loadgen/load_model.h"

#include "bits/pack.h"

#include <string.h>

static bool take_text(char *to, size_t size, const json_t *from) {
    const char *text = json_string_value(from);
    bool good = text && strlen(text) < size;
    if (good) {
        strcpy(to, text);
    }
    return good;
}

static bool take_number(uint32_t *to, const json_t *from, uint32_t most) {
    json_int_t value = json_integer_value(from);
    bool good = value >= 1 && value <= most;
    *to = good ? (uint32_t)value : 0;
    return good;
}

static bool read_portion(load_portion *p, const json_t *from) {
    char type[8];
    const json_t *shape = json_object_get(from, "shape");
    bool good = take_text(p->name, sizeof p->name, json_object_get(from, "name")) && portion_name_is_valid(p->name) &&
                take_text(type, sizeof type, json_object_get(from, "type")) &&
                !portion_type_parse(type, &p->shape.type) && json_array_size(shape) <= PORTION_RANK_MAX &&
                take_number(&p->bits, json_object_get(from, "bits"), PACK_CODE_BITS_MAX);
    for (; good && p->shape.rank < json_array_size(shape); p->shape.rank++) {
        good = take_number(&p->shape.dims[p->shape.rank], json_array_get(shape, p->shape.rank), PORTION_ELEMENTS_MAX);
    }
    return good && !portion_shape_check(&p->shape);
}

static bool read_model(load_model *m, const json_t *from) {
    const json_t *portions = json_object_get(from, "portions");
    size_t count = json_array_size(portions);
    *m = (load_model){.is_whole = json_is_object(json_object_get(from, "split"))};
    bool good = take_text(m->data_set, sizeof m->data_set, json_object_get(from, "data_set")) && count >= 1 &&
                count <= CODEWORD_PORTIONS_MAX;
    for (; good && m->portions < count; m->portions++) {
        good = read_portion(&m->portion[m->portions], json_array_get(portions, m->portions));
    }
    return good;
}

err load_model_ask(load_model *m, http_client *h) {
    json_t *answer = NULL;
    err e = http_client_get(h, "/v1/model", &answer);
    bool good = !e && read_model(m, answer);
    json_decref(answer);
    return e || good ? e : err_fail(ERR_REFUSED, "what the server says of its model is not understood");
}

size_t load_model_bytes(const load_model *m) {
    size_t bytes = 0;
    for (uint32_t k = 0; k < m->portions; k++) {
        bytes += portion_shape_bytes(&m->portion[k].shape);
    }
    return bytes;
}
