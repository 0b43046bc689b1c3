#include "cli/loadgen/load_samples.h"

#include "base/dynbuf.h"
#include "base/rng.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { BODY_MAX = 1 << 20, BYTES_MAX = 16 << 20 };

/* No sample has its boundary in it: that is random. */
static void put_boundary(load_samples *s) {
    uint64_t random[2] = {0};
    (void)!getrandom(random, sizeof random, 0);
    snprintf(s->type, sizeof s->type, "multipart/form-data; boundary=fewbit-%016" PRIx64 "%016" PRIx64, random[0],
             random[1]);
}

static void put_values(dynbuf *to, const portion_shape *shape, rng *draws) {
    size_t elements = portion_shape_elements(shape);
    for (size_t i = 0; i < elements; i++) {
        uint32_t draw = rng_u32(draws);
        float value = (float)(int32_t)draw * 0x1p-30f;
        dynbuf_add(to, shape->type == PORTION_F32 ? (const void *)&value : &draw, shape->type == PORTION_F32 ? 4 : 1);
    }
}

static void put_sample(dynbuf *to, const load_samples *s, const load_model *m, rng *draws) {
    const char *boundary = strchr(s->type, '=');
    for (uint32_t k = 0; k < m->portions; k++) {
        if (!m->is_whole) {
            dynbuf_printf(to,
                          "--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n"
                          "Content-Type: application/octet-stream\r\n\r\n",
                          boundary + 1, m->portion[k].name);
        }
        put_values(to, &m->portion[k].shape, draws);
        dynbuf_add_text(to, m->is_whole ? "" : "\r\n");
    }
    if (!m->is_whole) {
        dynbuf_printf(to, "--%s--\r\n", boundary + 1);
    }
}

err load_samples_draw(load_samples *s, const load_model *m, size_t most) {
    *s = (load_samples){.type = "application/octet-stream"};
    size_t bytes = load_model_bytes(m);
    if (bytes >= BODY_MAX) {
        return err_fail(ERR_REFUSED, "a sample has %zu bytes, and a request at most 1 MiB", bytes);
    }
    if (!m->is_whole) {
        put_boundary(s);
    }
    dynbuf all = dynbuf_make(BYTES_MAX + 2 * BODY_MAX);
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
