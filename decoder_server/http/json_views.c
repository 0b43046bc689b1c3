#include "decoder_server/http/json_views.h"

#include "experiment/derive.h"

#include <inttypes.h>
#include <stdio.h>

enum { PROBABILITY_PLACES = 9, SECONDS_PLACES = 3 };

/* A classification. */

static void write_probabilities(json_writer *w, const classification *c) {
    json_writer_fixed(w, "probability", (double)c->probabilities[c->class], PROBABILITY_PLACES);
    json_writer_array(w, "probabilities");
    for (uint32_t i = 0; i < c->classes; i++) {
        json_writer_fixed(w, NULL, (double)c->probabilities[i], PROBABILITY_PLACES);
    }
    json_writer_end_array(w);
}

static void write_codes(json_writer *w, const classification *c) {
    uint64_t payload_bits = 0;
    json_writer_array(w, "bits");
    for (uint32_t k = 0; k < c->portions; k++) {
        payload_bits += c->bits[k];
        if (c->have >> k & 1) {
            json_writer_bits(w, NULL, c->codes[k], c->bits[k]);
        } else {
            json_writer_null(w, NULL);
        }
    }
    json_writer_end_array(w);
    json_writer_uint(w, "payload_bits", payload_bits);
}

static void write_missing(json_writer *w, const classification *c) {
    json_writer_array(w, "missing");
    for (uint32_t k = 0; k < c->portions; k++) {
        if (!(c->have >> k & 1)) {
            json_writer_uint(w, NULL, k);
        }
    }
    json_writer_end_array(w);
}

static void write_ms(json_writer *w, const char *key, uint64_t from_ns, uint64_t to_ns) {
    json_writer_fixed(w, key, to_ns > from_ns ? (double)(to_ns - from_ns) * 1e-6 : 0, SECONDS_PLACES);
}

void json_views_classification(json_writer *w, const json_views_answer *a) {
    const classification *c = a->of;
    json_writer_object(w, NULL);
    if (a->sample) {
        json_writer_string(w, "sample", a->sample);
        json_writer_uint(w, "status", 200);
    }
    json_writer_word(w, "request", a->request);
    json_writer_uint(w, "class", c->class);
    json_writer_string(w, "label", a->classes->names[c->class]);
    write_probabilities(w, c);
    write_codes(w, c);
    json_writer_uint(w, "rounds", c->stages);
    json_writer_uint(w, "frame_bytes", (uint64_t)c->frame_bytes[TRAFFIC_IN] + c->frame_bytes[TRAFFIC_OUT]);
    json_writer_uint(w, "frame_bytes_sent", c->frame_bytes[TRAFFIC_OUT]);
    json_writer_uint(w, "frame_bytes_received", c->frame_bytes[TRAFFIC_IN]);
    json_writer_uint(w, "raw_bytes", a->raw_bytes);
    json_writer_bool(w, "degraded", c->degraded);
    write_missing(w, c);
    write_ms(w, "ms", a->asked_ns, a->answered_ns);
    json_writer_object(w, "timings");
    write_ms(w, "queue_ms", a->asked_ns, c->asked_ns);
    write_ms(w, "nodes_ms", c->asked_ns, c->due_ns);
    write_ms(w, "net_ms", c->due_ns, c->done_ns);
    json_writer_end_object(w);
    json_writer_end_object(w);
}

static void write_error(json_writer *w, const char *request, const char *code, const char *message) {
    json_writer_object(w, "error");
    json_writer_word(w, "code", code);
    json_writer_string(w, "message", message);
    json_writer_word(w, "request", request);
    json_writer_end_object(w);
}

void json_views_sample_error(json_writer *w, const char *request, const char *sample, unsigned status, const char *code,
                             const char *message) {
    json_writer_object(w, NULL);
    json_writer_string(w, "sample", sample);
    json_writer_uint(w, "status", status);
    write_error(w, request, code, message);
    json_writer_end_object(w);
}

void json_views_error(json_writer *w, const char *request, const char *code, const char *message) {
    json_writer_object(w, NULL);
    write_error(w, request, code, message);
    json_writer_end_object(w);
}

/* Nodes. */

static void write_direction(json_writer *w, const char *key, const stats_node *n, traffic_direction d) {
    json_writer_object(w, key);
    json_writer_uint(w, "payload_bits", n->payload_bits[d]);
    json_writer_uint(w, "frame_bytes", traffic_counters_frame_bytes_of(&n->traffic, d));
    json_writer_uint(w, "tcp_bytes", n->traffic.tcp_bytes[d]);
    json_writer_uint(w, "tcp_segments", n->traffic.tcp_segments[d]);
    json_writer_object(w, "frames");
    for (uint8_t m = 0; m < MESSAGE_TYPES; m++) {
        if (n->traffic.frames[d][m] > 0) {
            json_writer_uint(w, message_name(m), n->traffic.frames[d][m]);
        }
    }
    json_writer_end_object(w);
    json_writer_end_object(w);
}

static void write_seconds(json_writer *w, const char *key, bool is_known, double seconds) {
    if (is_known) {
        json_writer_fixed(w, key, seconds, SECONDS_PLACES);
    } else {
        json_writer_null(w, key);
    }
}

static void write_node(json_writer *w, uint32_t k, const stats_node *n) {
    json_writer_object(w, NULL);
    json_writer_uint(w, "portion", k);
    json_writer_string(w, "portion_name", n->portion);
    json_writer_word(w, "state",
                     n->is_ready     ? "ready"
                     : n->is_silent  ? "silent"
                     : n->connection ? "connected"
                                     : "missing");
    json_writer_string(w, "name", n->name[0] ? n->name : NULL);
    json_writer_string(w, "address", n->connection && n->address[0] ? n->address : NULL);
    json_writer_time(w, "connected_since", n->connection ? n->joined_at : 0);
    json_writer_time(w, "ready_since", n->is_ready ? n->ready_at : 0);
    json_writer_string(w, "owes", n->owes);
    write_seconds(w, "owed_seconds", n->owes != NULL, n->owed_seconds);
    write_seconds(w, "answered_seconds", n->answered_seconds >= 0, n->answered_seconds);
    json_writer_uint(w, "timeouts", n->timeouts);
    json_writer_uint(w, "reconnects", stats_reconnects(n));
    write_direction(w, "received", n, TRAFFIC_IN);
    write_direction(w, "sent", n, TRAFFIC_OUT);
    json_writer_end_object(w);
}

void json_views_nodes(dynbuf *to, const stats *s) {
    json_writer w = json_writer_make(to);
    json_writer_object(&w, NULL);
    json_writer_uint(&w, "portions", s->portions);
    json_writer_uint(&w, "ready", s->ready);
    json_writer_array(&w, "nodes");
    for (uint32_t k = 0; k < s->portions; k++) {
        write_node(&w, k, &s->nodes[k]);
    }
    json_writer_end_array(&w);
    json_writer_end_object(&w);
}

/* The model. */

static void write_list(json_writer *w, const char *key, const size_t *values, size_t count) {
    json_writer_array(w, key);
    for (size_t i = 0; i < count; i++) {
        json_writer_uint(w, NULL, values[i]);
    }
    json_writer_end_array(w);
}

/* A portion's place in the flattened sample (channel, row, column): [[first, count], ...] in the portion's own order.
 */
static void write_ranges(json_writer *w, const partition *s, uint32_t k) {
    size_t elements = partition_portion_elements(s), half = s->width / 2, rows = s->height / 2;
    json_writer_array(w, NULL);
    if (s->kind != PARTITION_QUADRANTS) { /* a slice, a plane: in one piece */
        write_list(w, NULL, (size_t[]){k * elements, elements}, 2);
    }
    for (size_t i = 0; s->kind == PARTITION_QUADRANTS && i < s->channels * rows; i++) {
        size_t row = i / rows * s->height + (k / 2) * rows + i % rows;
        write_list(w, NULL, (size_t[]){row * s->width + (k % 2) * half, half}, 2);
    }
    json_writer_end_array(w);
}

/* How samples of a known data set are cut; null where portions are their owners' own. */
static void write_partition(json_writer *w, const experiment *e) {
    partition s;
    if (experiment_lists_portions(e) || experiment_partition(e, &s, NULL)) {
        json_writer_null(w, "sample_shape");
        json_writer_null(w, "split");
        return;
    }
    write_list(w, "sample_shape", (size_t[]){s.channels, s.height, s.width}, 3);
    json_writer_object(w, "split");
    json_writer_word(w, "kind", partition_name(s.kind));
    json_writer_array(w, "ranges");
    for (uint32_t k = 0; k < s.portions; k++) {
        write_ranges(w, &s, k);
    }
    json_writer_end_array(w);
    json_writer_end_object(w);
}

static void write_portions(json_writer *w, const experiment *e, const codeword *layout) {
    uint64_t raw_bytes = 0;
    json_writer_array(w, "portions");
    for (uint32_t k = 0; k < e->portion_count; k++) {
        const portion_shape *s = &e->portions[k].shape;
        size_t dims[PORTION_RANK_MAX] = {s->dims[0], s->dims[1], s->dims[2]};
        raw_bytes += portion_shape_bytes(s);
        json_writer_object(w, NULL);
        json_writer_string(w, "name", e->portions[k].name);
        json_writer_word(w, "type", portion_type_name(s->type));
        write_list(w, "shape", dims, s->rank);
        json_writer_uint(w, "bits", codeword_portion_bits(layout, k));
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
    json_writer_uint(w, "payload_bits", codeword_bits(layout));
    json_writer_uint(w, "raw_bits", 8 * raw_bytes);
}

/* The figures of the epoch the commit comes from; null where there are none. */
static void write_accuracy(json_writer *w, const run_dir *r) {
    if (r->manifest.evaluation_count == 0) {
        json_writer_null(w, "accuracy");
        return;
    }
    const manifest_evaluation *e = manifest_final(&r->manifest);
    json_writer_object(w, "accuracy");
    json_writer_real(w, "epoch", e->epoch);
    json_writer_real(w, "training", e->train);
    json_writer_real(w, "unrounded_test", e->soft);
    json_writer_real(w, "rounded_test", e->rounded);
    json_writer_real(w, "validation", e->validation);
    json_writer_end_object(w);
}

err json_views_model(dynbuf *to, const run_dir *r, const codeword *layout, const manifest_commit *commit) {
    const experiment *e = &r->experiment;
    json_writer w = json_writer_make(to);
    char id[17];
    dynbuf_reset(to);
    snprintf(id, sizeof id, "%016" PRIx64, r->id);
    json_writer_object(&w, NULL);
    json_writer_word(&w, "mode", commit ? "serve" : "train");
    json_writer_word(&w, "run", id);
    json_writer_string(&w, "experiment", e->name);
    json_writer_string(&w, "title", e->title);
    json_writer_string(&w, "data_set", e->dataset.name);
    write_partition(&w, e);
    write_portions(&w, e, layout);
    json_writer_array(&w, "classes");
    for (uint32_t c = 0; c < r->identity.classes.count; c++) {
        json_writer_string(&w, NULL, r->identity.classes.names[c]);
    }
    json_writer_end_array(&w);
    if (commit) {
        json_writer_uint(&w, "step", commit->position.step);
    } else {
        json_writer_null(&w, "step");
    }
    json_writer_uint(&w, "epochs", e->training.epochs);
    write_accuracy(&w, r);
    json_writer_end_object(&w);
    return dynbuf_check(to, "the model's description");
}
