#include "decoder_server/train/traffic_report.h"

static json_t *bits(uint64_t bytes) {
    return json_integer((json_int_t)(8 * bytes));
}

err traffic_report_init(traffic_report *t, const codeword *layout) {
    err e = ERR_OK;
    for (uint32_t k = 0; k < t->portions && !e; k++) {
        e = code_entropy_init(&t->tallies[k], codeword_portion_bits(layout, k));
    }
    return e;
}

void traffic_report_free(traffic_report *t) {
    for (uint32_t k = 0; k < t->portions; k++) {
        code_entropy_free(&t->tallies[k]);
    }
}

void traffic_report_start_rounded(traffic_report *t) {
    t->rounded_coded = 0;
    for (uint32_t k = 0; k < t->portions; k++) {
        code_entropy_clear(&t->tallies[k]);
    }
}

void traffic_report_add_codes(traffic_report *t, uint32_t portion, const uint8_t *packed, uint32_t rows,
                              uint64_t coded_bits, bool is_described) {
    code_entropy *tally = &t->tallies[portion];
    t->codes[portion] += (uint64_t)rows * tally->bits;
    t->coded[portion] += coded_bits;
    if (is_described) {
        t->rounded_coded += coded_bits;
        code_entropy_add(tally, packed, rows);
    }
}

void traffic_report_add_refinement(traffic_report *t, uint32_t portion, uint64_t bits) {
    t->codes[portion] += bits;
    t->coded[portion] += bits;
}

void traffic_report_count(traffic_report *t, uint32_t portion, const traffic_counters *now, uint32_t rounded_samples) {
    if (rounded_samples > 0) {
        t->rounded[portion] = traffic_counters_between(&t->total[portion], now);
        t->rounded_samples = rounded_samples;
    }
    t->total[portion] = *now;
}

static json_t *entropy_of(const traffic_report *t) {
    double bits = 0, codes = 0;
    for (uint32_t k = 0; k < t->portions; k++) {
        bits += code_entropy_by_bit(&t->tallies[k]);
        codes += code_entropy_by_code(&t->tallies[k]);
    }
    return json_pack("{s:f, s:f}", "bits", bits, "codes", codes);
}

json_t *traffic_report_bits_per_sample(const traffic_report *t, uint32_t code_bits) {
    uint64_t frames = 0, tls = 0, tcp = 0;
    for (uint32_t k = 0; k < t->portions; k++) {
        frames += traffic_counters_frame_bytes(&t->rounded[k]);
        tls += t->rounded[k].tls_bytes[TRAFFIC_IN] + t->rounded[k].tls_bytes[TRAFFIC_OUT];
        tcp += t->rounded[k].tcp_bytes[TRAFFIC_IN] + t->rounded[k].tcp_bytes[TRAFFIC_OUT];
    }
    if (t->rounded_samples == 0) {
        return json_pack("{s:i, s:n, s:n, s:n, s:n, s:n}", "payload", (int)code_bits, "coded", "entropy", "frames",
                         "tls", "tcp");
    }
    double samples = (double)t->rounded_samples;
    return json_pack("{s:i, s:f, s:o, s:f, s:o, s:o}", "payload", (int)code_bits, "coded",
                     (double)t->rounded_coded / samples, "entropy", entropy_of(t), "frames",
                     (double)frames * 8 / samples, "tls", tls ? json_real((double)tls * 8 / samples) : json_null(),
                     "tcp", t->over_tcp ? json_real((double)tcp * 8 / samples) : json_null());
}

static json_t *frames_of(const traffic_counters *m, traffic_direction d) {
    json_t *j = json_object();
    for (uint8_t type = 1; type < MESSAGE_TYPES; type++) {
        if (m->frame_bytes[d][type] > 0) {
            json_object_set_new(j, message_name(type), bits(m->frame_bytes[d][type]));
        }
    }
    return j;
}

static json_t *tls_of(const traffic_counters *m) {
    if (m->tls_bytes[TRAFFIC_IN] + m->tls_bytes[TRAFFIC_OUT] == 0) {
        return json_null();
    }
    return json_pack("{s:o, s:o}", "in", bits(m->tls_bytes[TRAFFIC_IN]), "out", bits(m->tls_bytes[TRAFFIC_OUT]));
}

static json_t *tcp_of(const traffic_counters *m) {
    return json_pack("{s:o, s:o, s:I, s:I, s:o}", "in", bits(m->tcp_bytes[TRAFFIC_IN]), "out",
                     bits(m->tcp_bytes[TRAFFIC_OUT]), "segments_in", (json_int_t)m->tcp_segments[TRAFFIC_IN],
                     "segments_out", (json_int_t)m->tcp_segments[TRAFFIC_OUT], "retransmitted",
                     bits(m->tcp_retransmitted));
}

json_t *traffic_report_nodes(const traffic_report *t) {
    json_t *list = json_array();
    for (uint32_t k = 0; k < t->portions; k++) {
        json_t *payload =
            json_pack("{s:I, s:I, s:I, s:I}", "codes", (json_int_t)t->codes[k], "coded", (json_int_t)t->coded[k],
                      "activations", (json_int_t)t->activations[k], "gradients", (json_int_t)t->gradients[k]);
        json_t *node = json_pack("{s:i, s:s, s:o, s:o, s:o}", "portion", (int)k, "name", t->names[k], "payload_bits",
                                 payload, "frame_bits_in", frames_of(&t->total[k], TRAFFIC_IN), "frame_bits_out",
                                 frames_of(&t->total[k], TRAFFIC_OUT));
        json_object_set_new(node, "tls_bits", tls_of(&t->total[k]));
        json_object_set_new(node, "tcp_bits", t->over_tcp ? tcp_of(&t->total[k]) : json_null());
        json_array_append_new(list, node);
    }
    return list;
}
