#include "decoder_server/http/metrics.h"

#include "base/json_writer.h"

#include <inttypes.h>

/* The last stands for all others. */
static const unsigned statuses[METRICS_STATUSES] = {200, 204, 304, 400, 401, 403, 404, 405, 409, 413, 414,
                                                    415, 417, 421, 431, 500, 501, 503, 504, 505, 0};
static const char *const outcome_names[METRICS_OUTCOMES] = {"classified", "degraded",  "no_nodes",    "timeout",
                                                            "busy",       "bad_image", "bad_portion", "unknown_sample"};
static const double bounds[METRICS_BUCKETS - 1] = {0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005,
                                                   0.0075,  0.01,   0.025,   0.05,  0.1,    0.5,   2};
static const char *const directions[2] = {"received", "sent"};

void metrics_count_request(metrics *m, route_id route, unsigned status) {
    uint32_t s = 0;
    while (s < METRICS_STATUSES - 1 && statuses[s] != status) {
        s++;
    }
    m->requests[route][s]++;
}

void metrics_count_answer(metrics *m, metrics_outcome outcome) {
    m->outcomes[outcome]++;
}

void metrics_count_time(metrics *m, double seconds) {
    uint32_t b = 0;
    while (b < METRICS_BUCKETS - 1 && seconds > bounds[b]) {
        b++;
    }
    m->buckets[b]++;
    m->seconds += seconds;
}

static void head(dynbuf *t, const char *name, const char *type, const char *help) {
    dynbuf_printf(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(dynbuf *t, const char *name, const char *type, const char *help, uint64_t value) {
    head(t, name, type, help);
    dynbuf_printf(t, "%s %" PRIu64 "\n", name, value);
}

static void write_requests(dynbuf *t, const metrics *m) {
    head(t, "fewbit_http_requests_total", "counter",
         "HTTP requests, by their answer's status; other: the client went before it.");
    for (route_id r = 0; r < ROUTES; r++) {
        for (uint32_t s = 0; s < METRICS_STATUSES; s++) {
            if (m->requests[r][s] == 0) {
                continue;
            }
            dynbuf_printf(t, "fewbit_http_requests_total{route=\"%s\",status=\"", routes_path(r));
            dynbuf_printf(t, statuses[s] ? "%u" : "other", statuses[s]);
            dynbuf_printf(t, "\"} %" PRIu64 "\n", m->requests[r][s]);
        }
    }
    head(t, "fewbit_classifications_total", "counter", "Samples asked about over HTTP, by what became of them.");
    for (uint32_t o = 0; o < METRICS_OUTCOMES; o++) {
        dynbuf_printf(t, "fewbit_classifications_total{outcome=\"%s\"} %" PRIu64 "\n", outcome_names[o],
                      m->outcomes[o]);
    }
    static const char name[] = "fewbit_classification_duration_seconds";
    head(t, name, "histogram", "From a request's last byte to its answer, of answered classifications.");
    uint64_t sum = 0;
    for (uint32_t b = 0; b < METRICS_BUCKETS - 1; b++) {
        sum += m->buckets[b];
        dynbuf_printf(t, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, bounds[b], sum);
    }
    sum += m->buckets[METRICS_BUCKETS - 1];
    dynbuf_printf(t, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9g\n%s_count %" PRIu64 "\n", name, sum, name,
                  m->seconds, name, sum);
}

static void write_connections(dynbuf *t, const metrics *m, const sse_counters *e) {
    one(t, "fewbit_http_connections", "gauge", "HTTP connections open now.", m->connections.open);
    one(t, "fewbit_http_connections_total", "counter", "HTTP connections that were taken.", m->connections.taken);
    one(t, "fewbit_http_connections_refused_total", "counter", "HTTP connections closed: there were too many.",
        m->connections.turned_away);
    one(t, "fewbit_http_connections_timed_out_total", "counter",
        "HTTP connections closed by the server: no whole request came in time, or its body did not end.",
        m->connections.cut);
    one(t, "fewbit_http_samples_waiting", "gauge", "Samples asked about over HTTP whose answer is to come.",
        m->waiting);
    one(t, "fewbit_sse_subscribers", "gauge", "Subscribers to server-sent events now.", e->subscribers);
    one(t, "fewbit_sse_events_total", "counter", "Server-sent events made for subscribers.", e->events);
    one(t, "fewbit_sse_events_lost_total", "counter",
        "Server-sent events that a subscriber was too slow for, or that found no room on their way.", e->lost);
}

/* The labels of a portion's node. A label has JSON's escapes, but none for controls: a name has none. */
static void node_labels(dynbuf *t, const stats_node *n) {
    dynbuf_printf(t, "portion=\"%s\",node=", n->portion);
    json_writer_string(&(json_writer){.to = t}, NULL, n->name);
}

static void write_gauges(dynbuf *t, const stats *r) {
    one(t, "fewbit_nodes", "gauge", "Nodes that this run has, one a portion.", r->portions);
    one(t, "fewbit_nodes_ready", "gauge", "Nodes that are ready.", r->ready);
    one(t, "fewbit_links", "gauge", "Connections on the nodes' port now.", r->links);
    one(t, "fewbit_links_refused_total", "counter", "Connections on the nodes' port closed: there were too many.",
        r->links_refused);
    one(t, "fewbit_tls_failures_total", "counter",
        "Connections on the nodes' port that failed at TLS, or spoke it where it is not spoken.", r->tls_failures);
    one(t, "fewbit_nodes_refused_total", "counter", "Connections on the nodes' port sent away with a reason.",
        r->refused_nodes);
    one(t, "fewbit_results_lost_total", "counter", "Results that the file did not take, or the nets did not give.",
        r->results_lost);
    one(t, "fewbit_backlog_bytes", "gauge", "Streamed codes that found no room yet.", r->backlog_bytes);
}

/* Of nodes for which `value` is not negative. */
static void node_values(dynbuf *t, const stats *r, const char *name, const char *type, const char *help, int places,
                        double (*value)(const stats_node *n)) {
    head(t, name, type, help);
    for (uint32_t k = 0; k < r->portions; k++) {
        if (value(&r->nodes[k]) >= 0) {
            dynbuf_printf(t, "%s{", name);
            node_labels(t, &r->nodes[k]);
            dynbuf_printf(t, "} %.*f\n", places, value(&r->nodes[k]));
        }
    }
}

static double is_up(const stats_node *n) {
    return n->connection != 0;
}

static double is_ready(const stats_node *n) {
    return n->is_ready;
}

static double reconnects(const stats_node *n) {
    return (double)stats_reconnects(n);
}

static double timeouts(const stats_node *n) {
    return (double)n->timeouts;
}

static double owed_seconds(const stats_node *n) {
    return n->owes ? n->owed_seconds : 0;
}

static double answered_seconds(const stats_node *n) {
    return n->answered_seconds;
}

static void write_bits(dynbuf *t, const stats_node *n, traffic_direction d) {
    const struct {
        const char *kind;
        uint64_t bits;
    } kinds[] = {
        {"payload", n->payload_bits[d]},
        {"frames", traffic_counters_frame_bytes_of(&n->traffic, d) * 8},
        {"tcp", n->traffic.tcp_bytes[d] * 8},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        dynbuf_add_text(t, "fewbit_node_bits_total{");
        node_labels(t, n);
        dynbuf_printf(t, ",direction=\"%s\",kind=\"%s\"} %" PRIu64 "\n", directions[d], kinds[i].kind, kinds[i].bits);
    }
}

static void write_frames(dynbuf *t, const stats_node *n, traffic_direction d) {
    for (uint8_t m = 0; m < MESSAGE_TYPES; m++) {
        if (n->traffic.frames[d][m] == 0) {
            continue;
        }
        dynbuf_add_text(t, "fewbit_node_frames_total{");
        node_labels(t, n);
        dynbuf_printf(t, ",direction=\"%s\",message=\"%s\"} %" PRIu64 "\n", directions[d], message_name(m),
                      n->traffic.frames[d][m]);
    }
}

static void write_nodes(dynbuf *t, const stats *r) {
    node_values(t, r, "fewbit_node_up", "gauge", "1 where the portion's node is connected.", 0, is_up);
    node_values(t, r, "fewbit_node_ready", "gauge", "1 where the portion's node is ready.", 0, is_ready);
    node_values(t, r, "fewbit_node_reconnects_total", "counter", "How often the portion's node came again.", 0,
                reconnects);
    node_values(t, r, "fewbit_node_owed_seconds", "gauge",
                "For how long the portion's node has owed an answer; 0 where it owes none.", 3, owed_seconds);
    node_values(t, r, "fewbit_node_last_answer_seconds", "gauge", "Since the last answer of the portion's node.", 3,
                answered_seconds);
    node_values(t, r, "fewbit_node_timeouts_total", "counter",
                "How often the portion's node owed an answer for too long.", 0, timeouts);
    head(t, "fewbit_node_bits_total", "counter",
         "Bits that passed a node's links: payload (codes, soft outputs, gradients), whole frames, TCP payload.");
    for (uint32_t k = 0; k < r->portions; k++) {
        for (traffic_direction d = TRAFFIC_IN; d <= TRAFFIC_OUT; d++) {
            write_bits(t, &r->nodes[k], d);
        }
    }
    head(t, "fewbit_node_frames_total", "counter", "Frames that passed a node's links, by message.");
    for (uint32_t k = 0; k < r->portions; k++) {
        for (traffic_direction d = TRAFFIC_IN; d <= TRAFFIC_OUT; d++) {
            write_frames(t, &r->nodes[k], d);
        }
    }
}

static void coded_values(dynbuf *t, const stats *r, const char *name, const char *type, const char *help,
                         const char *const kinds[2], double (*value)(const stats_coding *c, int kind)) {
    head(t, name, type, help);
    for (uint32_t k = 0; k < r->portions; k++) {
        for (int kind = 0; kind < 2 && r->nodes[k].coding.frames + r->nodes[k].coding.refused > 0; kind++) {
            dynbuf_printf(t, "%s{", name);
            node_labels(t, &r->nodes[k]);
            dynbuf_printf(t, ",kind=\"%s\"} %.17g\n", kinds[kind], value(&r->nodes[k].coding, kind));
        }
    }
}

static double coded_frames(const stats_coding *c, int kind) {
    return (double)(kind ? c->refused : c->frames);
}

static double coded_bits(const stats_coding *c, int kind) {
    return (double)(kind ? c->coded_bits : c->packed_bits);
}

static double entropy(const stats_coding *c, int kind) {
    return kind ? c->code_entropy : c->bit_entropy;
}

/* Of nodes that send compressed codes. */
static void write_coding(dynbuf *t, const stats *r) {
    static const char *const frames[2] = {"good", "refused"}, *const bits[2] = {"packed", "compressed"},
                             *const entropies[2] = {"bits", "codes"};
    coded_values(t, r, "fewbit_node_compressed_frames_total", "counter",
                 "Range-compressed frames of codes; a refused one ended its connection.", frames, coded_frames);
    coded_values(t, r, "fewbit_node_compressed_bits_total", "counter",
                 "Payload of the compressed frames: as it came, and what it would have been packed.", bits, coded_bits);
    coded_values(t, r, "fewbit_node_code_entropy_bits", "gauge",
                 "What a code in compressed frames would take by its entropy: bit by bit, and as a whole.", entropies,
                 entropy);
}

static void by_source(dynbuf *t, const char *name, const char *type, const char *help, uint64_t streamed,
                      uint64_t http) {
    head(t, name, type, help);
    dynbuf_printf(t, "%s{source=\"stream\"} %" PRIu64 "\n%s{source=\"http\"} %" PRIu64 "\n", name, streamed, name,
                  http);
}

static void write_tables(dynbuf *t, const stats *r) {
    const stats_table *p = &r->streamed, *l = &r->on_demand;
    by_source(t, "fewbit_reassembly_samples", "gauge", "Samples that wait for portions now.", p->waiting, l->waiting);
    by_source(t, "fewbit_reassembly_capacity_samples", "gauge",
              "Samples the table holds at most, waiting or remembered.", p->capacity, l->capacity);
    by_source(t, "fewbit_samples_complete_total", "counter", "Samples of which every expected portion came in time.",
              p->complete, l->complete);
    by_source(t, "fewbit_deadline_misses_total", "counter", "Samples whose deadline passed with portions missing.",
              p->expired, l->expired);
    by_source(t, "fewbit_samples_refused_total", "counter", "Samples, or portions, that found the table full.",
              p->refused, l->refused);
    head(t, "fewbit_portions_discarded_total", "counter",
         "Portions that were not used: late, twice, of a sample nobody asked about (or long ago), or of another model "
         "than the rest of their sample.");
    const struct {
        const char *reason;
        uint64_t streamed, http;
    } discarded[] = {
        {"late", p->late, l->late},
        {"duplicate", p->duplicate, l->duplicate},
        {"unsolicited", p->unknown, l->unknown},
        {"model_mismatch", p->mixed, l->mixed},
    };
    for (size_t i = 0; i < sizeof discarded / sizeof discarded[0]; i++) {
        static const char line[] = "fewbit_portions_discarded_total{source=\"%s\",reason=\"%s\"} %" PRIu64 "\n";
        dynbuf_printf(t, line, "stream", discarded[i].reason, discarded[i].streamed);
        dynbuf_printf(t, line, "http", discarded[i].reason, discarded[i].http);
    }
    head(t, "fewbit_model_reloads_total", "counter", "Loads of a model while serving, by how they ended.");
    dynbuf_printf(t, "fewbit_model_reloads_total{outcome=\"changed\"} %" PRIu64 "\n", r->reloads.changed);
    dynbuf_printf(t, "fewbit_model_reloads_total{outcome=\"unchanged\"} %" PRIu64 "\n", r->reloads.unchanged);
    dynbuf_printf(t, "fewbit_model_reloads_total{outcome=\"failed\"} %" PRIu64 "\n", r->reloads.failed);
}

static void write_refinement(dynbuf *t, const stats_refinement *r) {
    head(t, "fewbit_refinement_samples_total", "counter",
         "Samples answered, by the stages of bits that the answer took.");
    for (uint32_t stage = 0; stage < r->count; stage++) {
        dynbuf_printf(t, "fewbit_refinement_samples_total{stages=\"%u\"} %" PRIu64 "\n", stage + 1, r->answered[stage]);
    }
    one(t, "fewbit_refinements_incomplete_total", "counter",
        "Samples not sure enough for which a node did not send, or could not be asked for, its next stage.",
        r->incomplete);
}

static void write_training(dynbuf *t, const stats_training *now) {
    one(t, "fewbit_training_steps_total", "counter", "Steps trained since the process started.", now->step);
    one(t, "fewbit_training_epoch", "gauge", "The epoch under way, from 1.", now->epoch);
    one(t, "fewbit_training_epochs", "gauge", "Epochs there will be.", now->epochs);
    head(t, "fewbit_training_loss", "gauge", "Mean loss of the epoch so far.");
    dynbuf_printf(t, "fewbit_training_loss %.9g\n", now->loss);
    head(t, "fewbit_training_accuracy_ratio", "gauge", "Training accuracy of the epoch so far, 0 to 1.");
    dynbuf_printf(t, "fewbit_training_accuracy_ratio %.9g\n", now->accuracy / 100);
}

void metrics_write(dynbuf *t, const metrics *m, const sse_counters *e, const stats *r) {
    write_requests(t, m);
    write_connections(t, m, e);
    write_gauges(t, r);
    write_nodes(t, r);
    write_coding(t, r);
    if (r->training.phase) {
        write_training(t, &r->training);
    } else {
        write_tables(t, r);
        write_refinement(t, &r->refinement);
    }
}
