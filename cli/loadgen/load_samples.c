#include "cli/loadgen/load_samples.h"

#include "base/rng.h"

#include <stdlib.h>

enum { BYTES_MAX = 16 << 20 };

static void put_values(dynbuf *to, const portion_shape *shape, rng *draws) {
    size_t elements = portion_shape_elements(shape);
    for (size_t i = 0; i < elements; i++) {
        uint32_t draw = rng_u32(draws);
        float value = (float)(int32_t)draw * 0x1p-30f;
        dynbuf_add(to, shape->type == PORTION_F32 ? (const void *)&value : &draw, shape->type == PORTION_F32 ? 4 : 1);
    }
}

static void put_sample(dynbuf *to, const load_samples *s, const load_model *m, rng *draws) {
    for (uint32_t k = 0; k < m->portions; k++) {
        const char *name = m->portion[k].name;
        if (!m->is_whole) {
            portion_form_begin_part(to, s->type, name, (int)strlen(name), "application/octet-stream");
        }
        put_values(to, &m->portion[k].shape, draws);
        if (!m->is_whole) {
            portion_form_end_part(to);
        }
    }
    if (!m->is_whole) {
        portion_form_end(to, s->type);
    }
}

err load_samples_draw(load_samples *s, const load_model *m, size_t most) {
    *s = (load_samples){.type = "application/octet-stream"};
    size_t bytes = load_model_bytes(m);
    if (bytes >= PORTION_FORM_BYTES_MAX) {
        return err_fail(ERR_REFUSED, "a sample has %zu bytes, and a request at most 1 MiB", bytes);
    }
    if (!m->is_whole) {
        portion_form_begin(s->type);
    }
    dynbuf all = dynbuf_make(BYTES_MAX + 2 * PORTION_FORM_BYTES_MAX);
    rng draws = rng_at(1, 0, 0);
    for (; s->count < most && all.length < BYTES_MAX && !all.has_failed; s->count++) {
        put_sample(&all, s, m, &draws);
        s->size = s->size ? s->size : all.length;
    }
    if (all.has_failed) {
        dynbuf_free(&all);
        return err_fail(ERR_MEMORY, "no memory for samples of %zu bytes", bytes);
    }
    s->bytes = all.bytes;
    return ERR_OK;
}

void load_samples_free(load_samples *s) {
    free(s->bytes);
}

http_client_body load_samples_body(const load_samples *s, uint64_t n) {
    return (http_client_body){s->bytes + n % s->count * s->size, s->size, s->type};
}
