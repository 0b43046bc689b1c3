/* Codes in bulk: how many codewords a second one server takes in, puts together and classifies.
 *
 *     bulk PORT HTTP DATA STATES SAMPLES WINDOW [CERTIFICATES|- [packed|range [ROWS]]]
 *
 * speaks for every node of the folder DATA (as `fewbit data split` made it) to a serving server on 127.0.0.1:PORT,
 * with the nodes' checkpoints in STATES/node-K, and is no node process: what is measured is the server. It answers the
 * handshake as a real node, has it encode the test portion once, and packs SAMPLES codes a node
 * (ROWS a frame, NODE_SERVE_ROWS where nothing is said) before the clock starts. Then it sends them over one
 * connection a node, as fast as the server takes them.
 *
 * A server answers no codes. What it has dealt with is known from a lone request over HTTP (port HTTP): every
 * connection answers it after the codes it has sent by then, and the messages of a connection are dealt with in
 * order. Such a request goes out whenever WINDOW more codes a node are with the kernel; at most two windows are under
 * way, so no connection runs far ahead of another. The clock stops once all samples are whole, by the server's own
 * count: a request is answered before codes that wait for room.
 *
 * CERTIFICATES, a folder of deploy/make-ca: over TLS. "range": the codes are range-coded, before the clock starts.
 *
 * Prints {"samples", "seconds", "codes_per_second", "frame_bits_per_payload_bit"}. */
#include "base/clock.h"
#include "base/process.h"
#include "bench/net.h"
#include "encoder_node/node_protocol.h"
#include "experiment/derive.h"
#include "experiment/load.h"
#include "loop/loop.h"
#include "wire/link.h"

#include <cblas.h>
#include <stdio.h>
#include <unistd.h>

enum { SAMPLES_MAX = 16000000, PATIENCE_MS = 30000, TURN_US = 500, ANSWER_MAX = 65536, REQUEST_MAX = 8192 };

static const size_t bytes_max = (size_t)4 << 30; /* of the codes of a node */

typedef struct pusher {
    struct bulk *of;
    portion *data;
    node_protocol *protocol;
    char state[FILE_PATH_MAX];
    char name[32];
    tls_context *tls; /* NULL: plain text */
    wire_link *link;
    dynbuf own;     /* the node's own Codes frames, once it streams: they are not sent */
    dynbuf codes;   /* all Codes frames */
    size_t *starts; /* [frames + 1]: where each begins in `codes`; the last is the end */
    size_t at;      /* the next frame to send */
    size_t bits;    /* of a code */
    bool is_ready, streams;
    code_compressor *decoder, *coder; /* NULL: the codes stay packed */
} pusher;

typedef struct bulk {
    uv_loop_t loop;
    uv_timer_t patience; /* runs out where nothing comes any more */
    uv_poll_t answers;
    err failure;
    uint32_t nodes;
    pusher pushers[PARTITION_PORTIONS_MAX];
    arena unpacked;
    bool codes_range;
    uint32_t rows;          /* codes a frame */
    size_t frames, window;  /* a node; frames */
    size_t asked, answered; /* windows */
    int http, metrics;      /* connections; of the first the loop waits for what comes */
    char request[REQUEST_MAX];
    size_t request_length;
    char answer[ANSWER_MAX + 1];
    size_t answer_length;
} bulk;

/* A turn of the loop; what has failed in it. */
static err turn(bulk *b) {
    uv_run(&b->loop, UV_RUN_ONCE);
    return b->failure;
}

static void on_impatient(uv_timer_t *timer) {
    bulk *b = timer->data;
    b->failure = err_fail(ERR_NETWORK, "the server says nothing any more");
}

/* A node and its link. */

static void append(dynbuf *to, message_type type, const ProtobufCMessage *body) {
    size_t size = message_frame_size(body);
    char *room = dynbuf_room(to, size);
    if (room) {
        message_pack_frame(type, body, (uint8_t *)room);
        dynbuf_commit(to, room + size);
    }
}

static void send_up(void *context, message_type type, const ProtobufCMessage *body) {
    pusher *p = context;
    if (p->streams && type == MESSAGE_CODES) {
        append(&p->own, type, body);
    } else {
        link_send_message(p->link, type, body);
    }
    p->is_ready = p->is_ready || type == MESSAGE_READY;
}

static void on_up(void *context, wire_link *l) {
    pusher *p = context;
    link_set_limit(l, FRAME_PAYLOAD_MAX);
    node_protocol_connected(p->protocol);
    link_flush(l);
}

static err take_welcome(pusher *p, const Fewbit__Welcome *w) {
    experiment described;
    err e = experiment_parse_sent(w->experiment, &described);
    codeword layout = e ? codeword_empty() : experiment_codeword(&described);
    p->bits = codeword_portion_bits(&layout, (uint32_t)(p - p->of->pushers));
    link_set_heartbeat(p->link, message_heartbeat_ms(w));
    return e;
}

/* Lets the node answer. */
static void on_frame(void *context, wire_link *l, const frame *f) {
    pusher *p = context;
    message m;
    err e = message_unpack(f->type, f->payload, f->length, &p->of->unpacked, &m);
    e = !e && f->type == MESSAGE_WELCOME ? take_welcome(p, m.body.welcome) : e;
    e = !e && node_protocol_receive(p->protocol, &m) ? ERR_REFUSED : e;
    p->of->failure = e ? err_prefix(e, "%s", p->name) : p->of->failure;
    node_serve_flush(node_protocol_serve(p->protocol));
    link_flush(l);
    uv_timer_again(&p->of->patience);
}

static void on_down(void *context, wire_link *l, const char *reason) {
    (void)l;
    pusher *p = context;
    p->of->failure = err_fail(ERR_NETWORK, "%s: %s", p->name, reason);
}

static err read_context(const char *certificates, uint32_t k, tls_context **c) {
    char certificate[FILE_PATH_MAX], key[FILE_PATH_MAX], ca[FILE_PATH_MAX];
    err e = file_path(certificate, sizeof certificate, "%s/node-%u.pem", certificates, k);
    e = e ? e : file_path(key, sizeof key, "%s/node-%u-key.pem", certificates, k);
    e = e ? e : file_path(ca, sizeof ca, "%s/ca.pem", certificates);
    return e ? e : tls_context_new(c, &(tls_files){certificate, key, ca});
}

static err open_pusher(bulk *b, uint32_t k, long port, const char *data, const char *states, const char *certificates) {
    static const link_events events = {on_up, on_frame, on_down};
    pusher *p = &b->pushers[k];
    char folder[FILE_PATH_MAX];
    p->of = b;
    p->own = dynbuf_make(bytes_max);
    p->codes = dynbuf_make(bytes_max);
    snprintf(p->name, sizeof p->name, "bulk-%u", k);
    err e = file_path(folder, sizeof folder, "%s/node-%u", data, k);
    e = e ? e : file_path(p->state, sizeof p->state, "%s/node-%u", states, k);
    e = e ? e : portion_open(&p->data, folder);
    if (e) {
        return e;
    }
    node_protocol_config config = {
        .name = p->name, .data = p->data, .state = p->state, .coding = b->codes_range, .streams = true};
    node_host host = {send_up, p};
    e = node_protocol_new(&p->protocol, &config, &host);
    e = e || !certificates ? e : read_context(certificates, k, &p->tls);
    e = e ? e : link_connect(&b->loop, "127.0.0.1", (uint16_t)port, p->tls, &events, p, &p->link);
    while (!e && !p->is_ready) {
        e = turn(b);
    }
    return e;
}

/* Codes. */

static code_compressor_frame frame_of(const Fewbit__Codes *c) {
    return (code_compressor_frame){c->model, c->first,           c->more + 1,      c->sequence,
                                   c->check, c->compressed.data, c->compressed.len};
}
/* A compressed frame of the encoder's, as the next of a stream with other ids. */
static err code_again(pusher *p, Fewbit__Codes *body, uint64_t first) {
    uint32_t bits = (uint32_t)p->bits;
    err e = p->coder ? ERR_OK : code_compressor_new(&p->decoder, bits, NODE_SERVE_ROWS);
    e = e || p->coder ? e : code_compressor_new(&p->coder, bits, NODE_SERVE_ROWS);
    const uint8_t *packed;
    code_compressor_frame f = frame_of(body);
    e = e ? e : code_compressor_decode(p->decoder, &f, &packed);
    if (!e) {
        f.first = first;
        code_compressor_encode(p->coder, packed, &f);
        body->sequence = f.sequence;
        body->compressed = (ProtobufCBinaryData){f.length, (uint8_t *)(uintptr_t)f.compressed};
        body->check = f.check;
    }
    return e;
}

/* The node's own Codes frames of the test portion, repeated until there are `frames`. */
static err pack_codes(bulk *b, pusher *p) {
    node_serve *serve = node_protocol_serve(p->protocol);
    uint32_t chunks = portion_get_info(p->data)->samples[DATASET_TEST] / b->rows;
    err e = ERR_OK;
    while (!e && !node_serve_may_stream(serve)) {
        e = turn(b);
    }
    p->starts = e ? NULL : calloc(b->frames + 1, sizeof *p->starts);
    if (!p->starts || chunks == 0) {
        return e ? e : err_fail(ERR_INPUT, "%s: fewer than %u test samples, or no memory", p->name, b->rows);
    }
    p->streams = true;
    for (uint32_t chunk = 0; chunk < chunks; chunk++) {
        node_serve_stream(serve, portion_sample(p->data, DATASET_TEST, chunk * b->rows), b->rows);
    }
    uint64_t first = 0; /* where its session begins */
    for (size_t i = 0, at = 0; i < b->frames && !e; i++) {
        message m;
        const uint8_t *frame = (const uint8_t *)p->own.bytes + at;
        e = message_unpack(frame[3], frame + FRAME_HEADER, frame_size(frame) - FRAME_HEADER, &b->unpacked, &m);
        if (e) {
            return e;
        }
        Fewbit__Codes body = *m.body.codes;
        first = i == 0 ? body.first : first;
        e = body.sequence > 0 ? code_again(p, &body, first + i * b->rows) : ERR_OK;
        body.first = first + i * b->rows;
        append(&p->codes, MESSAGE_CODES, &body.base);
        p->starts[i + 1] = p->codes.length;
        at = (at + frame_size(frame)) % p->own.length;
    }
    return e ? e : dynbuf_check(&p->codes, "the codes");
}

/* How many frames a node may be with the server now. */
static size_t frames_allowed(const bulk *b) {
    size_t allowed = (b->answered + 2) * b->window;
    return allowed < b->frames ? allowed : b->frames;
}

/* Codes as far as allowed and taken: until none are left, or some are under way, whose end wakes the loop. */
static err push_some(const bulk *b, pusher *p) {
    err e = ERR_OK;
    do {
        while (!e && p->at < frames_allowed(b) && link_backlog(p->link) < LINK_BACKLOG_HIGH) {
            size_t from = p->starts[p->at++];
            e = link_send(p->link, (const uint8_t *)p->codes.bytes + from, p->starts[p->at] - from);
        }
        link_flush(p->link);
    } while (!e && p->at < frames_allowed(b) && link_backlog(p->link) == 0);
    return e;
}

/* The lone requests that tell how far the server is. */

static void compose_request(bulk *b, size_t image_bytes) {
    b->request_length = (size_t)snprintf(b->request, sizeof b->request,
                                         "POST /v1/classify HTTP/1.1\r\nHost: bench\r\n"
                                         "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n",
                                         image_bytes) +
                        image_bytes; /* an image of zeroes */
}

static size_t count_windows(const bulk *b) {
    return (b->frames + b->window - 1) / b->window;
}

/* Asks after the next window, once all of it is with the kernel and the request before is answered. */
static err ask_if_due(bulk *b) {
    size_t behind = (b->answered + 1) * b->window;
    behind = behind < b->frames ? behind : b->frames;
    bool is_due = b->asked == b->answered && b->asked < count_windows(b);
    for (uint32_t k = 0; k < b->nodes && is_due; k++) {
        is_due = b->pushers[k].at > behind || (b->pushers[k].at == behind && link_backlog(b->pushers[k].link) == 0);
    }
    b->asked += is_due;
    return is_due ? net_send_all(b->http, b->request, b->request_length) : ERR_OK;
}

static err take_answer(bulk *b) {
    ssize_t n = recv(b->http, b->answer + b->answer_length, ANSWER_MAX - b->answer_length, 0);
    if (n <= 0) {
        return err_fail(ERR_NETWORK, "the server closed the HTTP connection");
    }
    b->answer_length += (size_t)n;
    b->answer[b->answer_length] = '\0';
    if (!net_is_whole(b->answer, b->answer_length)) {
        return ERR_OK;
    }
    b->answered++;
    b->answer_length = 0;
    return net_check_answer(b->answer);
}

static void on_answer(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    bulk *b = poll->data;
    err e = take_answer(b);
    b->failure = e ? e : b->failure;
    uv_timer_again(&b->patience);
}

/* How many pushed samples the server has put together so far, whole. */
static err read_complete(bulk *b, uint64_t *count) {
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n";
    static const char name[] = "\nfewbit_samples_complete_total{source=\"stream\"} ";
    err e = net_send_all(b->metrics, request, sizeof request - 1);
    e = e ? e : net_read_answer(b->metrics, b->answer, sizeof b->answer);
    const char *found = e ? NULL : strstr(b->answer, name);
    *count = found ? strtoull(found + sizeof name - 1, NULL, 10) : 0;
    return e || found ? e : err_fail(ERR_NETWORK, "the metrics name no samples");
}

/* A request is answered before codes that wait: the end is when the last sample is put together. */
static err wait_for_all(bulk *b, uint64_t complete) {
    uint64_t now = 0, until_ns = clock_now_ns() + (uint64_t)PATIENCE_MS * 1000000;
    err e = read_complete(b, &now);
    while (!e && now < complete && clock_now_ns() < until_ns) {
        usleep(TURN_US);
        e = read_complete(b, &now);
    }
    return e || now >= complete
               ? e
               : err_fail(ERR_NETWORK, "%llu samples are not whole", (unsigned long long)(complete - now));
}

static err push_all(bulk *b, double *seconds) {
    uint64_t before;
    err e = read_complete(b, &before);
    uv_poll_init(&b->loop, &b->answers, b->http);
    b->answers.data = b;
    uv_poll_start(&b->answers, UV_READABLE, on_answer);
    uint64_t from = clock_now_ns();
    while (!e && b->answered < count_windows(b)) {
        for (uint32_t k = 0; k < b->nodes && !e; k++) {
            e = push_some(b, &b->pushers[k]);
        }
        e = e ? e : ask_if_due(b);
        e = e ? e : turn(b);
    }
    uv_poll_stop(&b->answers);
    e = e ? e : wait_for_all(b, before + b->frames * b->rows);
    *seconds = clock_seconds_since(from);
    return e;
}

static err read_labels(bulk *b, const char *data) {
    char folder[FILE_PATH_MAX];
    labels l;
    err e = file_path(folder, sizeof folder, "%s/server", data);
    e = e ? e : labels_open(&l, folder);
    if (!e) {
        b->nodes = l.partition.portions;
        compose_request(b, partition_sample_elements(&l.partition));
        labels_close(&l);
    }
    return e || b->request_length <= REQUEST_MAX ? e : err_fail(ERR_INPUT, "the samples are too large");
}

static void print_figures(const bulk *b, double seconds) {
    double frame_bits = 0, payload_bits = 0, samples = (double)(b->frames * b->rows);
    for (uint32_t k = 0; k < b->nodes; k++) {
        frame_bits += 8.0 * (double)b->pushers[k].codes.length;
        payload_bits += samples * (double)b->pushers[k].bits;
    }
    printf("{\"samples\": %.0f, \"seconds\": %.6f, \"codes_per_second\": %.0f, "
           "\"frame_bits_per_payload_bit\": %.5f}\n",
           samples, seconds, samples / seconds, frame_bits / payload_bits);
}

static err run(int argc, char **argv) {
    static bulk b;
    const char *certificates = argc >= 8 && strcmp(argv[7], "-") != 0 ? argv[7] : NULL;
    size_t samples = argc >= 7 ? strtoul(argv[5], NULL, 10) : 0, window = argc >= 7 ? strtoul(argv[6], NULL, 10) : 0;
    unsigned long rows = argc >= 10 ? strtoul(argv[9], NULL, 10) : NODE_SERVE_ROWS;
    if (rows < 1 || rows > NODE_SERVE_ROWS || samples < rows || samples > SAMPLES_MAX || samples % rows ||
        window < rows) {
        return err_fail(ERR_USAGE, "usage: bulk PORT HTTP DATA STATES SAMPLES WINDOW [CERTIFICATES|- [packed|range "
                                   "[ROWS]]], SAMPLES a multiple of ROWS, WINDOW at least that");
    }
    b.rows = (uint32_t)rows;
    b.frames = samples / rows;
    b.window = window / rows;
    b.codes_range = argc >= 9 && strcmp(argv[8], "range") == 0;
    err e = read_labels(&b, argv[3]);
    e = e ? e : arena_init(&b.unpacked, message_arena_size(FRAME_PAYLOAD_MAX));
    e = e ? e : net_dial(atol(argv[2]), &b.http);
    e = e ? e : net_dial(atol(argv[2]), &b.metrics);
    e = e ? e : loop_open(&b.loop);
    if (e) {
        return e;
    }
    uv_timer_init(&b.loop, &b.patience);
    b.patience.data = &b;
    uv_timer_start(&b.patience, on_impatient, PATIENCE_MS, PATIENCE_MS);
    for (uint32_t k = 0; k < b.nodes && !e; k++) {
        e = open_pusher(&b, k, atol(argv[1]), argv[3], argv[4], certificates);
    }
    for (uint32_t k = 0; k < b.nodes && !e; k++) {
        e = pack_codes(&b, &b.pushers[k]);
    }
    double seconds;
    e = e ? e : push_all(&b, &seconds);
    if (!e) {
        print_figures(&b, seconds);
    }
    return e;
}

int main(int argc, char **argv) {
    openblas_set_num_threads(1);
    return process_end(run(argc, argv));
}
