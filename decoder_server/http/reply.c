#include "decoder_server/http/reply.h"

#include "bits/pack.h"

static void write_codes(text *t, const answer *a) {
    text_add(t, "],\"bits\":[");
    for (uint32_t k = 0; k < a->portions; k++) {
        char code[PACK_CODE_BITS_MAX + 1] = "";
        for (uint32_t b = 0; b < a->bits; b++) {
            code[b] = a->codes[k] >> b & 1 ? '1' : '0';
        }
        text_put(t, a->have >> k & 1 ? "%s\"%s\"" : "%snull", k ? "," : "", code);
    }
    text_add(t, "]");
}

static void write_missing(text *t, const answer *a) {
    const char *comma = "";
    text_add(t, ",\"missing\":[");
    for (uint32_t k = 0; k < a->portions; k++) {
        if (!(a->have >> k & 1)) {
            text_put(t, "%s%u", comma, k);
            comma = ",";
        }
    }
    text_add(t, "]");
}

static double between_ms(uint64_t from_ns, uint64_t to_ns) {
    return to_ns > from_ns ? (double)(to_ns - from_ns) * 1e-6 : 0;
}

void reply_classified(text *t, const char *request, const answer *a, const dataset *set, const reply_times *times) {
    uint32_t present = (uint32_t)__builtin_popcountll(a->have);
    text_put(t, "{\"request\":\"%s\",\"class\":%u,\"label\":", request, a->class);
    text_add_json(t, set->class_names[a->class]);
    text_put(t, ",\"probability\":%.9g,\"probabilities\":[", (double)a->probabilities[a->class]);
    for (uint32_t c = 0; c < a->classes; c++) {
        text_put(t, c ? ",%.9g" : "%.9g", (double)a->probabilities[c]);
    }
    write_codes(t, a);
    text_put(t, ",\"payload_bits\":%u,\"frame_bytes\":%u,\"raw_bytes\":%u,\"degraded\":%s", present * a->bits,
             a->frame_bytes, set->channels * set->height * set->width, a->degraded ? "true" : "false");
    write_missing(t, a);
    text_put(t, ",\"ms\":%.3f,\"timings\":{\"queue_ms\":%.3f,\"nodes_ms\":%.3f,\"net_ms\":%.3f}}",
             between_ms(times->asked_ns, times->answered_ns), between_ms(times->asked_ns, a->asked_ns),
             between_ms(a->asked_ns, a->due_ns), between_ms(a->due_ns, a->done_ns));
}

void reply_error(text *t, const char *request, const char *code, const char *message) {
    text_put(t, "{\"error\":{\"code\":\"%s\",\"message\":", code);
    text_add_json(t, message);
    text_put(t, ",\"request\":\"%s\"}}", request);
}
