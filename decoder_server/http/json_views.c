#include "decoder_server/http/json_views.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void write_direction(strbuf *t, const stats_node *n, traffic_direction d) {
    strbuf_printf(t,
                  "{\"payload_bits\":%" PRIu64 ",\"frame_bytes\":%" PRIu64 ",\"tcp_bytes\":%" PRIu64
                  ",\"tcp_segments\":%" PRIu64 ",\"frames\":{",
                  n->payload_bits[d], traffic_counters_frame_bytes_of(&n->traffic, d), n->traffic.tcp_bytes[d],
                  n->traffic.tcp_segments[d]);
    const char *comma = "";
    for (uint8_t m = 0; m < MESSAGE_TYPES; m++) {
        if (n->traffic.frames[d][m] > 0) {
            strbuf_printf(t, "%s\"%s\":%" PRIu64, comma, message_name(m), n->traffic.frames[d][m]);
            comma = ",";
        }
    }
    strbuf_add(t, "}}");
}

/* What is owed is static text, one of the protocol's messages. */
static void write_owed(strbuf *t, const stats_node *n) {
    if (n->owes) {
        strbuf_printf(t, ",\"owes\":\"%s\",\"owed_seconds\":%.3f", n->owes, n->owed_seconds);
    } else {
        strbuf_add(t, ",\"owes\":null,\"owed_seconds\":null");
    }
    strbuf_printf(t, n->answered_seconds < 0 ? ",\"answered_seconds\":null" : ",\"answered_seconds\":%.3f",
                  n->answered_seconds);
    strbuf_printf(t, ",\"timeouts\":%" PRIu64, n->timeouts);
}

static void write_node(strbuf *t, uint32_t k, const stats_node *n) {
    strbuf_printf(t, "{\"portion\":%u,\"state\":\"%s\",\"name\":", k,
                  n->is_ready     ? "ready"
                  : n->is_silent  ? "silent"
                  : n->connection ? "connected"
                                  : "missing");
    if (n->name[0]) {
        strbuf_add_json(t, n->name);
    } else {
        strbuf_add(t, "null");
    }
    strbuf_add(t, ",\"address\":");
    if (n->connection && n->address[0]) {
        strbuf_add_json(t, n->address);
    } else {
        strbuf_add(t, "null");
    }
    strbuf_add(t, ",\"connected_since\":");
    strbuf_add_time(t, n->connection ? n->joined_at : 0);
    strbuf_add(t, ",\"ready_since\":");
    strbuf_add_time(t, n->is_ready ? n->ready_at : 0);
    write_owed(t, n);
    strbuf_printf(t, ",\"reconnects\":%" PRIu64 ",\"received\":", stats_reconnects(n));
    write_direction(t, n, TRAFFIC_IN);
    strbuf_add(t, ",\"sent\":");
    write_direction(t, n, TRAFFIC_OUT);
    strbuf_add(t, "}");
}

void json_views_nodes(strbuf *t, const stats *r) {
    strbuf_printf(t, "{\"portions\":%u,\"ready\":%u,\"nodes\":[", r->portions, r->ready);
    for (uint32_t k = 0; k < r->portions; k++) {
        strbuf_add(t, k ? "," : "");
        write_node(t, k, &r->nodes[k]);
    }
    strbuf_add(t, "]}");
}

/* A portion's place in the flattened sample (channel, row, column): [[first, count], ...] in the portion's own order.
 */
static void write_ranges(strbuf *t, const partition *s, uint32_t k) {
    size_t elements = partition_portion_elements(s);
    if (s->kind != PARTITION_QUADRANTS) { /* a run, a plane: in one piece */
        strbuf_printf(t, "[[%zu,%zu]]", k * elements, elements);
        return;
    }
    size_t half = s->width / 2, rows = s->height / 2;
    strbuf_add(t, "[");
    for (size_t c = 0; c < s->channels; c++) {
        for (size_t y = 0; y < rows; y++) {
            size_t row = (k / 2) * rows + y;
            strbuf_printf(t, "%s[%zu,%zu]", c + y ? "," : "", (c * s->height + row) * s->width + (k % 2) * half, half);
        }
    }
    strbuf_add(t, "]");
}

static void write_number(strbuf *t, const char *key, double value) {
    strbuf_printf(t, isfinite(value) ? ",\"%s\":%.6g" : ",\"%s\":null", key, value);
}

/* The figures of the epoch the commit comes from; null where there are none. */
static void write_accuracy(strbuf *t, const run_dir *r) {
    if (r->evaluation_count == 0) {
        strbuf_add(t, ",\"accuracy\":null");
        return;
    }
    const manifest_evaluation *e = run_dir_final_evaluation(r);
    strbuf_printf(t, ",\"accuracy\":{\"epoch\":%.6g", e->epoch);
    write_number(t, "training", e->train);
    write_number(t, "unrounded_test", e->soft);
    write_number(t, "rounded_test", e->rounded);
    write_number(t, "validation", e->validation);
    strbuf_add(t, "}");
}

static void write_split(strbuf *t, const run_dir *r, const partition *s) {
    uint32_t shape[3];
    partition_portion_shape(s, shape);
    strbuf_printf(t,
                  ",\"split\":{\"kind\":\"%s\",\"portions\":%u,\"portion_shape\":[%u,%u,%u],\"bits\":%u,\"ranges\":[",
                  partition_name(s->kind), s->portions, shape[0], shape[1], shape[2], r->experiment.encoder.bits);
    for (uint32_t k = 0; k < s->portions; k++) {
        strbuf_add(t, k ? "," : "");
        write_ranges(t, s, k);
    }
    strbuf_printf(t, "]},\"payload_bits\":%u,\"raw_bits\":%zu", s->portions * r->experiment.encoder.bits,
                  8 * partition_sample_elements(s));
}

void json_views_model(strbuf *t, const run_dir *r, const dataset *set, const partition *shape,
                      const manifest_commit *commit) {
    const experiment *e = &r->experiment;
    strbuf_printf(t, "{\"mode\":\"%s\",\"run\":\"%016" PRIx64 "\",\"experiment\":", commit ? "serve" : "train", r->id);
    strbuf_add_json(t, e->name);
    strbuf_add(t, ",\"title\":");
    strbuf_add_json(t, e->title);
    strbuf_add(t, ",\"data_set\":");
    strbuf_add_json(t, e->dataset.name);
    strbuf_printf(t, ",\"sample_shape\":[%u,%u,%u]", shape->channels, shape->height, shape->width);
    write_split(t, r, shape);
    strbuf_add(t, ",\"classes\":[");
    for (uint32_t c = 0; c < set->classes; c++) {
        strbuf_add(t, c ? "," : "");
        strbuf_add_json(t, set->class_names[c]);
    }
    strbuf_add(t, "],\"step\":");
    strbuf_printf(t, commit ? "%" PRIu64 : "null", commit ? commit->position.step : 0);
    strbuf_printf(t, ",\"epochs\":%u", e->training.epochs);
    write_accuracy(t, r);
    strbuf_add(t, "}");
}
