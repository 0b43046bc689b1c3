#include "decoder_server/http/portion_question.h"

#include <stdlib.h>

enum { NAMES_MAX = 160 };

/* What is handed over for one portion. */
typedef struct source {
    bool is_given;
    portion_input_kind kind;
    span bytes;         /* of a part */
    const json_t *json; /* in place of them */
    uint8_t *values;    /* in `memory`; NULL: it needs none */
} source;

struct portion_question {
    portion_list list;
    source sources[PARTITION_PORTIONS_MAX];
    portion_picture pictures[PARTITION_PORTIONS_MAX];
    uint32_t picture_count;
    size_t json_bytes; /* of parts */
    size_t bytes;
    uint8_t *memory; /* [bytes] */
    dynbuf rows;     /* of JSON objects, one after the other */
    question_portion portions[PARTITION_PORTIONS_MAX];
};

static const portion_shape *shape_of(const portion_question *q, uint32_t k) {
    return &q->list.of[k].shape;
}

static err name_portion(err e, const portion_question *q, uint32_t k) {
    return err_prefix(e, "portion '%s'", q->list.of[k].name);
}

bool portion_list_find(const portion_list *l, span name, uint32_t *portion) {
    for (uint32_t k = 0; k < l->count; k++) {
        if (span_equals(name, l->of[k].name)) {
            *portion = k;
            return true;
        }
    }
    return false;
}

/* Planning. */

static err refuse_name(const portion_list *l, span name) {
    char text[NAMES_MAX];
    dynbuf names = dynbuf_over(text, sizeof text);
    for (uint32_t k = 0; k < l->count && !names.has_failed; k++) {
        dynbuf_printf(&names, "%s'%s'", k > 0 ? ", " : "", l->of[k].name);
    }
    return err_fail(ERR_INPUT, "there is no portion '%.*s', only %s%s", (int)(name.length < 64 ? name.length : 64),
                    name.at ? name.at : "", text, names.has_failed ? ", …" : "");
}

static err make(portion_question **out, const portion_list *l) {
    portion_question *q = calloc(1, sizeof *q);
    if (!q) {
        return err_fail(ERR_MEMORY, "no memory for a sample");
    }
    q->list = *l;
    q->rows = dynbuf_make(PORTION_INPUT_ROW_MAX);
    *out = q;
    return ERR_OK;
}

void portion_question_free(portion_question *q) {
    if (q) {
        dynbuf_free(&q->rows);
        free(q->memory);
        free(q);
    }
}

/* The place of a portion that comes for the first time. */
static err give(portion_question *q, span name, uint32_t *portion) {
    if (!portion_list_find(&q->list, name, portion)) {
        return refuse_name(&q->list, name);
    }
    if (q->sources[*portion].is_given) {
        return name_portion(err_fail(ERR_INPUT, "it is there twice"), q, *portion);
    }
    q->sources[*portion].is_given = true;
    return ERR_OK;
}

static err plan_part(portion_question *q, const uint8_t *body, const multipart_part *part) {
    uint32_t k;
    err e = give(q, part->name, &k);
    if (e) {
        return e;
    }
    source *s = &q->sources[k];
    s->bytes = (span){(const char *)body + part->from, part->length};
    e = portion_input_find_kind(part->type, s->bytes.at, s->bytes.length, shape_of(q, k), &s->kind);
    if (!e && s->kind == PORTION_INPUT_PICTURE) {
        q->pictures[q->picture_count++] =
            (portion_picture){k, image_type_of(part->type.at, part->type.length), body + part->from, part->length};
    } else if (!e && s->kind == PORTION_INPUT_JSON) {
        q->json_bytes += part->length;
        e = portion_input_check_json(q->json_bytes);
    }
    return name_portion(e, q, k);
}

/* Bytes of memory for the values of each; floats first, so that they are aligned. */
static void count_memory(portion_question *q) {
    for (uint32_t k = 0; k < q->list.count; k++) {
        const source *s = &q->sources[k];
        bool needs = s->is_given && s->kind != PORTION_INPUT_RAW && s->kind != PORTION_INPUT_ROW;
        q->bytes += needs ? portion_shape_bytes(shape_of(q, k)) : 0;
    }
}

err portion_question_from_parts(portion_question **out, const portion_list *l, const uint8_t *body,
                                const multipart_part *parts, uint32_t count) {
    portion_question *q = NULL;
    err e = make(&q, l);
    for (uint32_t i = 0; i < count && !e; i++) {
        e = plan_part(q, body, &parts[i]);
    }
    if (e) {
        portion_question_free(q);
        return e;
    }
    count_memory(q);
    *out = q;
    return ERR_OK;
}

static err plan_member(portion_question *q, const char *name, const json_t *value) {
    uint32_t k;
    err e = give(q, span_of(name), &k);
    if (e) {
        return e;
    }
    source *s = &q->sources[k];
    s->json = value;
    s->kind = json_is_object(value) ? PORTION_INPUT_ROW : PORTION_INPUT_JSON;
    if (!json_is_object(value) && !json_is_array(value)) {
        e = err_fail(ERR_INPUT, "it is no list of numbers and no object of columns");
    }
    return name_portion(e, q, k);
}

err portion_question_from_json(portion_question **out, const portion_list *l, const json_t *portions) {
    portion_question *q = NULL;
    const char *name;
    json_t *value;
    err e = make(&q, l);
    json_object_foreach((json_t *)(uintptr_t)portions, name, value) {
        e = e ? e : plan_member(q, name, value);
    }
    if (!e && json_object_size(portions) == 0) {
        e = err_fail(ERR_INPUT, "no portion is handed over");
    }
    if (e) {
        portion_question_free(q);
        return e;
    }
    count_memory(q);
    *out = q;
    return ERR_OK;
}

size_t portion_question_bytes(const portion_question *q) {
    return q->bytes;
}

/* Filling. */

static err lay_out(portion_question *q) {
    q->memory = malloc(q->bytes > 0 ? q->bytes : 1);
    if (!q->memory) {
        return err_fail(ERR_MEMORY, "no memory for a sample");
    }
    uint8_t *at = q->memory;
    for (int is_narrow = 0; is_narrow < 2; is_narrow++) {
        for (uint32_t k = 0; k < q->list.count; k++) {
            source *s = &q->sources[k];
            bool needs = s->is_given && s->kind != PORTION_INPUT_RAW && s->kind != PORTION_INPUT_ROW;
            if (needs && (shape_of(q, k)->type == PORTION_U8) == is_narrow) {
                s->values = at;
                at += portion_shape_bytes(shape_of(q, k));
            }
        }
    }
    return ERR_OK;
}

static err read_source(portion_question *q, uint32_t k, size_t *row_from) {
    source *s = &q->sources[k];
    const portion_shape *shape = shape_of(q, k);
    *row_from = q->rows.length;
    switch (s->kind) {
    case PORTION_INPUT_RAW:
        return portion_input_check_raw(s->bytes.at, s->bytes.length, shape);
    case PORTION_INPUT_NPY:
        return portion_input_read_npy(s->bytes.at, s->bytes.length, shape, s->values);
    case PORTION_INPUT_JSON:
        return s->json ? portion_input_take_json(s->json, shape, s->values)
                       : portion_input_read_json(s->bytes.at, s->bytes.length, shape, s->values);
    case PORTION_INPUT_ROW:
        return s->json ? portion_input_add_row(s->json, &q->rows)
                       : portion_input_check_row(s->bytes.at, s->bytes.length);
    case PORTION_INPUT_PICTURE:
        return ERR_OK;
    }
    return ERR_INTERNAL;
}

/* What goes to the nodes; `row_from`: where a row of JSON begins in `rows`, which has ended growing. */
static void set_portion(portion_question *q, uint32_t k, size_t row_from, size_t row_to) {
    const source *s = &q->sources[k];
    bool is_row = s->kind == PORTION_INPUT_ROW;
    question_portion *to = &q->portions[k];
    *to = (question_portion){(const uint8_t *)s->bytes.at, s->bytes.length, FEWBIT__PORTION_FORMAT__FORMAT_RAW};
    if (is_row && s->json) {
        *to = (question_portion){(const uint8_t *)q->rows.bytes + row_from, row_to - row_from, 0};
    } else if (s->values) {
        *to = (question_portion){s->values, portion_shape_bytes(shape_of(q, k)), 0};
    }
    to->format = is_row ? FEWBIT__PORTION_FORMAT__FORMAT_CSV : FEWBIT__PORTION_FORMAT__FORMAT_RAW;
}

err portion_question_fill(portion_question *q) {
    size_t from[PARTITION_PORTIONS_MAX], to[PARTITION_PORTIONS_MAX];
    err e = lay_out(q);
    for (uint32_t k = 0; k < q->list.count && !e; k++) {
        e = q->sources[k].is_given ? name_portion(read_source(q, k, &from[k]), q, k) : ERR_OK;
        to[k] = q->rows.length;
    }
    for (uint32_t k = 0; k < q->list.count && !e; k++) {
        if (q->sources[k].is_given) {
            set_portion(q, k, from[k], to[k]);
        }
    }
    return e;
}

/* What came of it. */

uint32_t portion_question_pictures(const portion_question *q) {
    return q->picture_count;
}

const portion_picture *portion_question_picture(const portion_question *q, uint32_t index) {
    return &q->pictures[index];
}

uint8_t *portion_question_picture_values(const portion_question *q, uint32_t index) {
    return q->sources[q->pictures[index].portion].values;
}

question portion_question_get(const portion_question *q) {
    return (question){.portions = q->portions};
}
