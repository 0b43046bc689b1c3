#include "decoder_server/http/reply.h"

#include "bits/pack.h"

#include <jansson.h>
#include <math.h>

static json_t *code_text(const answer *a, uint32_t portion) {
    char text[PACK_CODE_BITS_MAX + 1] = "";
    for (uint32_t b = 0; b < a->bits; b++) {
        text[b] = a->codes[portion] >> b & 1 ? '1' : '0';
    }
    return json_string(text);
}

char *reply_classified(uint64_t request, const answer *a, const dataset *set) {
    json_t *probabilities = json_array(), *bits = json_array(), *missing = json_array();
    uint32_t present = 0;
    for (uint32_t c = 0; c < a->classes; c++) {
        json_array_append_new(probabilities, json_real((double)a->probabilities[c]));
    }
    for (uint32_t k = 0; k < a->portions; k++) {
        bool is_here = a->have >> k & 1;
        present += is_here;
        json_array_append_new(bits, is_here ? code_text(a, k) : json_null());
        if (!is_here) {
            json_array_append_new(missing, json_integer(k));
        }
    }
    json_t *j = json_pack("{s:I, s:i, s:s, s:f, s:o, s:o, s:i, s:i, s:i, s:b, s:o, s:f}", "request",
                          (json_int_t)request, "class", (int)a->class, "label", set->class_names[a->class],
                          "probability", (double)a->probabilities[a->class], "probabilities", probabilities, "bits",
                          bits, "payload_bits", (int)(present * a->bits), "frame_bytes", (int)a->frame_bytes,
                          "raw_bytes", (int)(set->channels * set->height * set->width), "degraded", a->degraded,
                          "missing", missing, "ms", round(a->ms * 1000) / 1000);
    char *text = json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(j);
    return text;
}

char *reply_error(const char *code, const char *message) {
    json_t *j = json_pack("{s:{s:s, s:s}}", "error", "code", code, "message", message);
    char *text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    return text;
}
