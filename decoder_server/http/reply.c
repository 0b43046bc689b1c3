#include "decoder_server/http/reply.h"

#include "bits/pack.h"
#include "wire/traffic_counters.h"

enum { PROBABILITY_PLACES = 9, MS_PLACES = 3 };

static void write_probabilities(strbuf *t, const classification *a) {
    strbuf_add(t, ",\"probability\":");
    strbuf_add_fraction(t, (double)a->probabilities[a->class], PROBABILITY_PLACES);
    strbuf_add(t, ",\"probabilities\":[");
    for (uint32_t c = 0; c < a->classes; c++) {
        strbuf_add(t, c ? "," : "");
        strbuf_add_fraction(t, (double)a->probabilities[c], PROBABILITY_PLACES);
    }
    strbuf_add(t, "]");
}

static void write_codes(strbuf *t, const classification *a) {
    strbuf_add(t, ",\"bits\":[");
    for (uint32_t k = 0; k < a->portions; k++) {
        char code[PACK_CODE_BITS_MAX + 1] = "";
        for (uint32_t b = 0; b < a->bits[k]; b++) {
            code[b] = a->codes[k] >> b & 1 ? '1' : '0';
        }
        bool is_here = a->have >> k & 1;
        strbuf_add(t, k ? "," : "");
        strbuf_add(t, is_here ? "\"" : "null");
        strbuf_add(t, is_here ? code : "");
        strbuf_add(t, is_here ? "\"" : "");
    }
    strbuf_add(t, "]");
}

static uint64_t payload_bits(const classification *a) {
    uint64_t bits = 0;
    for (uint32_t k = 0; k < a->portions; k++) {
        bits += a->bits[k];
    }
    return bits;
}

static void write_missing(strbuf *t, const classification *a) {
    const char *comma = "";
    strbuf_add(t, ",\"missing\":[");
    for (uint32_t k = 0; k < a->portions; k++) {
        if (!(a->have >> k & 1)) {
            strbuf_add(t, comma);
            strbuf_add_number(t, k);
            comma = ",";
        }
    }
    strbuf_add(t, "]");
}

static void write_number(strbuf *t, const char *key, uint64_t value) {
    strbuf_add(t, key);
    strbuf_add_number(t, value);
}

static void write_ms(strbuf *t, const char *key, uint64_t from_ns, uint64_t to_ns) {
    strbuf_add(t, key);
    strbuf_add_fraction(t, to_ns > from_ns ? (double)(to_ns - from_ns) * 1e-6 : 0, MS_PLACES);
}

/* No printf: this is written for every request. */
void reply_classified(strbuf *t, const char *request, const classification *a, const dataset *set,
                      const reply_times *times) {
    strbuf_add(t, "{\"request\":\"");
    strbuf_add(t, request);
    write_number(t, "\",\"class\":", a->class);
    strbuf_add(t, ",\"label\":");
    strbuf_add_json(t, set->class_names[a->class]);
    write_probabilities(t, a);
    write_codes(t, a);
    write_number(t, ",\"payload_bits\":", payload_bits(a));
    write_number(t, ",\"rounds\":", a->stages);
    write_number(t, ",\"frame_bytes\":", (uint64_t)a->frame_bytes[TRAFFIC_IN] + a->frame_bytes[TRAFFIC_OUT]);
    write_number(t, ",\"frame_bytes_sent\":", a->frame_bytes[TRAFFIC_OUT]);
    write_number(t, ",\"frame_bytes_received\":", a->frame_bytes[TRAFFIC_IN]);
    write_number(t, ",\"raw_bytes\":", (uint64_t)set->channels * set->height * set->width);
    strbuf_add(t, a->degraded ? ",\"degraded\":true" : ",\"degraded\":false");
    write_missing(t, a);
    write_ms(t, ",\"ms\":", times->asked_ns, times->answered_ns);
    write_ms(t, ",\"timings\":{\"queue_ms\":", times->asked_ns, a->asked_ns);
    write_ms(t, ",\"nodes_ms\":", a->asked_ns, a->due_ns);
    write_ms(t, ",\"net_ms\":", a->due_ns, a->done_ns);
    strbuf_add(t, "}}");
}

void reply_error(strbuf *t, const char *request, const char *code, const char *message) {
    strbuf_printf(t, "{\"error\":{\"code\":\"%s\",\"message\":", code);
    strbuf_add_json(t, message);
    strbuf_printf(t, ",\"request\":\"%s\"}}", request);
}
