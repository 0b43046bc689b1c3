#include "decoder_server/http/http_connection.h"

#include "decoder_server/http/http_input.h"
#include "decoder_server/http/http_output.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    KEPT_CONNECTIONS = 256, /* closed ones whose memory is kept for reuse */
    STEPS_A_TURN = 64,      /* of one connection; a request takes about three */
    PAUSE_MS = 2,
    RESUMED_A_TURN = 8, /* of the throttled ones */
    CLOSE_READS = 8,
    CLOSE_MS = 1000,
};

typedef enum phase {
    PHASE_HEAD,   /* waits for a head */
    PHASE_BODY,   /* reads a body; the answer may be out already */
    PHASE_WHOLE,  /* has the whole request; waits for the answer, or sends it */
    PHASE_STREAM, /* sends a stream */
    PHASE_LINGER, /* the last answer is out; drops what still arrives */
    PHASE_CLOSED,
} phase;

typedef struct connection {
    http_request request; /* must be first: connection_of */
    http_connections *of;
    LIST_ENTRY(connection) all; /* or of the free ones */
    STAILQ_ENTRY(connection) throttled;
    uv_tcp_t tcp;
    http_output output;
    phase phase;
    uint64_t until_ms;         /* the deadline of what the peer is to do next; 0: none */
    bool has_request;          /* callbacks.begin or .refuse came, .end did not yet */
    bool is_answered, is_last; /* the answer is going out; it is the connection's last */
    bool is_reading, is_going, is_throttled;
    bool has_ended;               /* the peer sends no more */
    bool has_all;                 /* the last request was read as a whole */
    bool is_over;                 /* the stream has ended */
    uint64_t droppable;           /* bytes that may still be read and dropped */
    size_t claimed;               /* http_claim_memory */
    char head[RESPONSE_HEAD_MAX]; /* of the answer, with its body where that fits */
    http_input input;
} connection;

static void go_on(connection *c);

static connection *connection_of(http_request *r) {
    return (connection *)(void *)r;
}

bool http_claim_memory(http_request *r, size_t bytes) {
    connection *c = connection_of(r);
    bool fits = body_pool_claim(&c->of->bodies, bytes);
    c->claimed += fits ? bytes : 0;
    return fits;
}

/* A request's end, a connection's end. */

static void end_request(connection *c, bool is_sent) {
    if (!c->has_request) {
        return;
    }
    c->has_request = false;
    c->of->callbacks.end(c->of->callbacks.context, &c->request, is_sent);
    request_body_drop(&c->request.body);
    body_pool_release(&c->of->bodies, c->claimed);
    c->claimed = 0;
}

static void on_closed(uv_handle_t *handle) {
    connection *c = handle->data;
    http_connections *s = c->of;
    end_request(c, false);
    LIST_REMOVE(c, all);
    s->count--;
    if (s->free_count < KEPT_CONNECTIONS) {
        LIST_INSERT_HEAD(&s->free, c, all);
        s->free_count++;
    } else {
        free(c);
    }
    s->left(s->context);
}

static void close_connection(connection *c) {
    if (c->phase == PHASE_CLOSED) {
        return;
    }
    if (c->is_throttled) {
        STAILQ_REMOVE(&c->of->throttled, c, connection, throttled);
        c->is_throttled = false;
    }
    c->phase = PHASE_CLOSED;
    c->until_ms = 0;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

void http_abort(http_request *r) {
    close_connection(connection_of(r));
}

static int socket_of(const connection *c) {
    uv_os_fd_t fd;
    return uv_fileno((const uv_handle_t *)&c->tcp, &fd) == 0 ? fd : -1;
}

/* Closing a socket with unread bytes resets it, and the peer would lose the last answer. */
static void linger(connection *c) {
    c->has_all = c->phase == PHASE_WHOLE;
    c->phase = PHASE_LINGER;
    http_input_clear(&c->input);
    c->until_ms = uv_now(c->of->loop) + HTTP_HEAD_MS;
    shutdown(socket_of(c), SHUT_WR);
}

/* After the last answer. */
static void leave(connection *c) {
    end_request(c, true);
    if (c->has_ended) {
        close_connection(c);
    } else {
        linger(c);
    }
}

/* Writing. */

static void on_sent(void *context, int status) {
    connection *c = context;
    if (c->phase == PHASE_CLOSED) {
        return;
    }
    c->until_ms = c->phase == PHASE_BODY ? uv_now(c->of->loop) + HTTP_BODY_MS : 0;
    if (status < 0 || c->is_over) {
        close_connection(c);
    } else if (c->phase == PHASE_STREAM) {
        c->of->callbacks.resume(c->of->callbacks.context, &c->request);
    } else {
        go_on(c);
    }
}

/* Whether the kernel took all of it. `spare`: as with http_output_send. */
static bool send_parts(connection *c, uv_buf_t *parts, unsigned count, char *spare) {
    if (!http_output_send(&c->output, parts, count, spare)) {
        close_connection(c);
        return false;
    }
    c->until_ms = c->output.is_waiting ? uv_now(c->of->loop) + HTTP_STALLED_MS : c->until_ms;
    return !c->output.is_waiting;
}

/* Writes the answer's head to c->head; its length. */
static size_t write_head(connection *c, const http_response *a, bool is_stream) {
    bool is_old = c->request.head.minor == 0 && c->request.head.method.at != NULL;
    const response_head head = {
        .status = a->status,
        .fields = a->fields,
        .field_count = a->field_count,
        .length = a->length,
        .has_no_length = is_stream,
        .is_chunked = is_stream && !is_old,
        .connection = c->is_last ? "close"
                      : is_old   ? "keep-alive"
                                 : NULL,
    };
    return response_head_write(c->head, &head, http_date_now(&c->of->date));
}

void http_reply(http_request *r, const http_response *a) {
    connection *c = connection_of(r);
    if (c->phase == PHASE_CLOSED || c->is_answered) {
        return;
    }
    c->is_answered = true;
    c->request.body.is_kept = c->request.body.is_kept && c->phase == PHASE_WHOLE; /* the rest of it is dropped */
    c->is_last = c->is_last || c->of->is_closing;
    uv_buf_t parts[2] = {uv_buf_init(c->head, (unsigned)write_head(c, a, false)),
                         uv_buf_init((char *)(uintptr_t)a->body, (unsigned)a->length)};
    bool has_body = a->length > 0 && response_has_body(a->status) && !span_equals(r->head.method, "HEAD");
    bool is_short = has_body && a->length <= RESPONSE_HEAD_MAX - parts[0].len;
    if (is_short) { /* one piece is cheaper to send than two */
        memcpy(c->head + parts[0].len, a->body, a->length);
        parts[0].len += a->length;
    }
    send_parts(c, parts, has_body && !is_short ? 2 : 1, NULL);
    go_on(c);
}

/* Streams. */

bool http_stream_start(http_request *r, const http_response *a, int kernel_bytes) {
    connection *c = connection_of(r);
    if (c->phase == PHASE_CLOSED || c->is_answered) {
        return false;
    }
    c->is_answered = c->is_last = true;
    c->phase = PHASE_STREAM;
    c->until_ms = 0;
    uv_send_buffer_size((uv_handle_t *)&c->tcp, &kernel_bytes);
    uv_buf_t part = uv_buf_init(c->head, (unsigned)write_head(c, a, true));
    return send_parts(c, &part, 1, NULL);
}

bool http_stream_send(http_request *r, const char *bytes, size_t length) {
    connection *c = connection_of(r);
    if (c->phase != PHASE_STREAM || c->output.is_waiting || length == 0) {
        return false;
    }
    char size[16]; /* a stream does not need its input: the buffer keeps what the kernel does not take */
    uv_buf_t parts[3] = {uv_buf_init(size, (unsigned)snprintf(size, sizeof size, "%zx\r\n", length)),
                         uv_buf_init((char *)(uintptr_t)bytes, (unsigned)length),
                         uv_buf_init((char *)(uintptr_t) "\r\n", 2)};
    return r->head.minor == 0 ? send_parts(c, parts + 1, 1, c->input.bytes) : send_parts(c, parts, 3, c->input.bytes);
}

void http_stream_end(http_request *r) {
    connection *c = connection_of(r);
    if (c->phase != PHASE_STREAM) {
        return;
    }
    c->is_over = true;
    uv_buf_t last = uv_buf_init((char *)(uintptr_t) "0\r\n\r\n", 5);
    if (c->output.is_waiting || r->head.minor == 0 || send_parts(c, &last, 1, c->input.bytes)) {
        close_connection(c);
    }
}

/* Requests. */

static void refuse(connection *c, const http_problem *problem) {
    c->is_last = true;
    request_body_drop(&c->request.body);
    c->of->callbacks.refuse(c->of->callbacks.context, &c->request, problem);
}

static void say_continue(connection *c) {
    static const char words[] = "HTTP/1.1 100 Continue\r\n\r\n";
    uv_buf_t part = uv_buf_init((char *)(uintptr_t)words, sizeof words - 1);
    if (!send_parts(c, &part, 1, NULL)) {
        close_connection(c);
    }
}

static void begin_request(connection *c) {
    http_request *r = &c->request;
    const request_head *h = &r->head;
    bool has_body = h->is_chunked || h->content_length > 0, is_too_large = h->content_length > REQUEST_BODY_MAX;
    bool waits = has_body && h->expects_continue;
    c->droppable = h->content_length <= HTTP_BODY_END ? HTTP_BODY_END : 0;
    c->until_ms = uv_now(c->of->loop) + HTTP_BODY_MS;
    c->is_last = h->is_last || is_too_large || waits; /* for an answer that comes before the body */
    c->of->callbacks.begin(c->of->callbacks.context, r);
    if (c->phase == PHASE_CLOSED || c->is_answered) {
        return;
    }
    c->is_last = h->is_last;
    if (is_too_large) {
        refuse(c, request_body_problem(REQUEST_BODY_TOO_LONG));
    } else if (waits && http_input_is_empty(&c->input)) {
        say_continue(c);
    }
}

/* The next head. Returns whether there was one. */
static bool step_head(connection *c) {
    http_request *r = &c->request;
    span rest = http_input_rest(&c->input);
    request_head_state state = request_head_read(&r->head, (const uint8_t *)rest.at, rest.length);
    if (state == REQUEST_HEAD_WHOLE && http_input_is_cramped(&c->input, &r->head)) {
        http_input_compact(&c->input);
        return true; /* read it again: its spans pointed into the buffer */
    }
    if (state == REQUEST_HEAD_MORE) {
        http_input_compact(&c->input);
        if (c->has_ended) {
            close_connection(c);
        }
        return false;
    }
    request_body_begin(&r->body, &c->of->bodies, &r->head);
    r->data = NULL;
    c->has_request = true;
    c->is_answered = c->is_last = false;
    c->phase = PHASE_BODY;
    http_input_take_head(&c->input, r->head.length);
    if (state == REQUEST_HEAD_BAD) {
        c->droppable = HTTP_BODY_END;
        refuse(c, r->head.problem);
    } else {
        begin_request(c);
    }
    return true;
}

static bool end_body(connection *c) {
    c->phase = PHASE_WHOLE;
    if (!c->is_answered) {
        c->until_ms = 0;
        c->of->callbacks.take(c->of->callbacks.context, &c->request);
    }
    return true;
}

static bool take_body(connection *c) {
    span rest = http_input_rest(&c->input);
    request_body_state state = request_body_take(&c->request.body, &rest, HTTP_INPUT_BYTES - c->input.from);
    http_input_leave(&c->input, rest);
    if (state == REQUEST_BODY_MORE && !c->has_ended) {
        http_input_reuse(&c->input);
        return false;
    }
    if (state == REQUEST_BODY_WHOLE) {
        return end_body(c);
    }
    if (c->is_answered) {
        c->is_last = true; /* it cannot be refused any more */
    } else {
        refuse(c, request_body_problem(state));
    }
    return true;
}

static bool step_body(connection *c) {
    if (!c->is_answered || !c->is_last) {
        return take_body(c);
    }
    if (!c->output.is_waiting) { /* the rest of the request cannot or need not be read */
        leave(c);
    }
    return false;
}

static bool step_whole(connection *c) {
    if (!c->is_answered || c->output.is_waiting) {
        return false;
    }
    if (c->is_last) {
        leave(c);
        return false;
    }
    end_request(c, true);
    c->phase = PHASE_HEAD;
    c->until_ms = uv_now(c->of->loop) + HTTP_HEAD_MS;
    if (http_input_is_empty(&c->input)) {
        http_input_clear(&c->input);
    }
    return true;
}

/* Whether it made progress. */
static bool step(connection *c) {
    return c->phase == PHASE_HEAD    ? step_head(c)
           : c->phase == PHASE_BODY  ? step_body(c)
           : c->phase == PHASE_WHOLE ? step_whole(c)
                                     : false;
}

/* Reading. */

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *room) {
    (void)wanted;
    connection *c = handle->data;
    bool is_kept = c->phase == PHASE_HEAD || c->phase == PHASE_BODY || c->phase == PHASE_WHOLE;
    *room = is_kept ? uv_buf_init(c->input.bytes + c->input.to, (unsigned)(HTTP_INPUT_BYTES - c->input.to))
                    : uv_buf_init(c->of->dropped, HTTP_DROPPED_BYTES);
}

static void on_throttle(uv_timer_t *timer);
static void set_reading(connection *c);

/* Goes on in a later turn, so that a flood of bytes does not delay the others. */
static void throttle(connection *c) {
    http_connections *s = c->of;
    if (STAILQ_EMPTY(&s->throttled)) {
        uv_timer_start(&s->throttle, on_throttle, PAUSE_MS, 0);
    }
    c->is_throttled = true;
    STAILQ_INSERT_TAIL(&s->throttled, c, throttled);
}

static void drop(connection *c, size_t length) {
    if (length <= c->droppable) {
        c->droppable -= length;
        throttle(c);
    } else if (c->phase == PHASE_STREAM) {
        c->of->cut++;
        close_connection(c);
    } else { /* a reset now could reach the sender before it has read the answer */
        c->has_ended = true;
        c->until_ms = uv_now(c->of->loop) + CLOSE_MS;
    }
    set_reading(c);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *room) {
    (void)room;
    connection *c = stream->data;
    bool is_dropped = c->phase == PHASE_STREAM || c->phase == PHASE_LINGER;
    if (length < 0 && (is_dropped || length != UV_EOF)) {
        close_connection(c);
    } else if (is_dropped && length > 0) {
        drop(c, (size_t)length);
    } else if (length != 0) {
        c->input.to += length > 0 ? (size_t)length : 0;
        c->has_ended = length < 0;
        go_on(c);
    }
}

/* Reads while there is room, and a use for what arrives. */
static void set_reading(connection *c) {
    bool is_wanted = c->phase != PHASE_CLOSED && !c->has_ended && !c->is_throttled &&
                     (c->phase == PHASE_STREAM || c->phase == PHASE_LINGER || c->input.to < HTTP_INPUT_BYTES);
    if (is_wanted == c->is_reading || c->phase == PHASE_CLOSED) {
        return;
    }
    c->is_reading = is_wanted;
    if (!is_wanted) {
        uv_read_stop((uv_stream_t *)&c->tcp);
    } else if (uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read) != 0) {
        close_connection(c);
    }
}

static void go_on(connection *c) {
    if (c->is_going || c->is_throttled) {
        return; /* the caller further up the stack goes on */
    }
    c->is_going = true;
    int steps = 0;
    while (steps < STEPS_A_TURN && step(c)) {
        steps++;
    }
    c->is_going = false;
    if (steps == STEPS_A_TURN && c->phase != PHASE_CLOSED) {
        throttle(c);
    }
    set_reading(c);
}

static void on_throttle(uv_timer_t *timer) {
    http_connections *s = timer->data;
    for (int i = 0; i < RESUMED_A_TURN && !STAILQ_EMPTY(&s->throttled); i++) {
        connection *c = STAILQ_FIRST(&s->throttled);
        STAILQ_REMOVE_HEAD(&s->throttled, throttled);
        c->is_throttled = false;
        go_on(c);
    }
    if (!STAILQ_EMPTY(&s->throttled)) {
        uv_timer_start(timer, on_throttle, PAUSE_MS, 0);
    }
}

/* Time. */

/* Whether its deadline has passed. An answer that the peer still reads, however slowly, is not late. */
static bool is_late(connection *c, uint64_t now, uint64_t idle_ms) {
    bool is_idle = c->phase == PHASE_HEAD || c->phase == PHASE_LINGER;
    now += is_idle ? HTTP_HEAD_MS - idle_ms : 0;
    if (c->until_ms == 0 || now <= c->until_ms || c->phase == PHASE_CLOSED) {
        return false;
    }
    if (http_output_has_moved(&c->output)) {
        c->until_ms = now + HTTP_STALLED_MS;
        return false;
    }
    return true;
}

uint32_t http_connections_cut_late(http_connections *s, uint32_t most, uint64_t idle_ms) {
    uint64_t now = uv_now(s->loop);
    uint32_t cut = 0;
    for (connection *c = LIST_FIRST(&s->first); c && cut < most; c = LIST_NEXT(c, all)) {
        if (is_late(c, now, idle_ms)) {
            cut++;
            s->cut += !c->has_all && idle_ms == HTTP_HEAD_MS;
            close_connection(c);
        }
    }
    return cut;
}

/* Connections. */

static connection *take_connection(http_connections *s) {
    connection *c = LIST_FIRST(&s->free);
    if (c) {
        LIST_REMOVE(c, all);
        s->free_count--;
        memset(c, 0, offsetof(connection, head)); /* not the buffers */
        http_input_clear(&c->input);
        return c;
    }
    return calloc(1, sizeof *c);
}

void http_connections_add(http_connections *s, int socket) {
    connection *c = take_connection(s);
    if (!c || uv_tcp_init(s->loop, &c->tcp) != 0) {
        free(c);
        close(socket);
        s->left(s->context);
        return;
    }
    c->of = s;
    c->tcp.data = c;
    c->output = (http_output){.tcp = &c->tcp, .done = on_sent, .context = c};
    http_output_start(&c->output);
    LIST_INSERT_HEAD(&s->first, c, all);
    s->count++;
    c->until_ms = uv_now(s->loop) + HTTP_HEAD_MS;
    if (uv_tcp_open(&c->tcp, socket) != 0) {
        close(socket);
        close_connection(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    set_reading(c);
}

/* Start and end. */

void http_connections_start(http_connections *s, uv_loop_t *loop) {
    s->loop = loop;
    STAILQ_INIT(&s->throttled);
    uv_timer_init(loop, &s->throttle);
    s->throttle.data = s;
}

/* Reads what is there first: see linger. */
static void drain_and_close(connection *c) {
    int fd = socket_of(c);
    for (int i = 0; fd >= 0 && i < CLOSE_READS && recv(fd, c->of->dropped, HTTP_DROPPED_BYTES, MSG_DONTWAIT) > 0; i++) {
    }
    close_connection(c);
}

void http_connections_close(http_connections *s) {
    s->is_closing = true;
    connection *c;
    LIST_FOREACH(c, &s->first, all) {
        drain_and_close(c);
    }
}

void http_connections_free(http_connections *s) {
    while (!LIST_EMPTY(&s->free)) {
        connection *c = LIST_FIRST(&s->free);
        LIST_REMOVE(c, all);
        free(c);
    }
    body_pool_free(&s->bodies);
}
