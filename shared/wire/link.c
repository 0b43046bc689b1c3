#include "wire/link.h"

#include "base/clock.h"
#include "wire/name_lookup.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { HANDSHAKE_TIMEOUT_MS = 10000, CLOSE_FLUSH_MS = 1000, SEALED_BYTES = 65536 };

enum { LINK_REASON_BYTES = 256 };

struct wire_link {
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connecting;
    uv_write_t writing;
    uv_shutdown_t shutting;
    name_lookup *resolving;           /* NULL: no name is looked up */
    void (*on_closed)(void *context); /* of a link that was accepted; NULL: it has connected */
    void *closed_context;
    link_events events;
    void *context;
    frame_reader reader;
    tls *tls;               /* NULL: plain text */
    dynbuf filling, flying; /* one is filled while the other is with the kernel; TLS lies between them */
    size_t flown;           /* of `flying` */
    traffic_counters traffic;
    uint64_t last_in_ms, last_out_ms, paused_ms;
    uint32_t heartbeat_ms;
    int open_handles;
    bool is_up, is_paused, is_closing, is_down, in_flight;
    bool is_shut;   /* nothing more will be written */
    bool has_first; /* a frame has come */
    bool has_failed_tls;
    bool is_write_broken; /* the other side takes no more; what it has sent is still read, as far as its end */
    uint64_t read_bytes;
    char address[ADDRESS_TEXT_MAX];
    char reason[LINK_REASON_BYTES];
    char why_failed[LINK_REASON_BYTES];
};

static void free_link(wire_link *l) {
    if (l->on_closed) {
        l->on_closed(l->closed_context);
    }
    tls_free(l->tls);
    frame_reader_free(&l->reader);
    dynbuf_free(&l->filling);
    dynbuf_free(&l->flying);
    free(l);
}

static void on_handle_closed(uv_handle_t *handle) {
    wire_link *l = handle->data;
    if (--l->open_handles > 0) {
        return;
    }
    if (l->events.down) {
        l->events.down(l->context, l, l->reason);
    }
    free_link(l);
}

/* The end, from the loop's next turn on. `reason` NULL: the one that link_close gave. */
static void take_down(wire_link *l, const char *reason) {
    if (l->is_down) {
        return;
    }
    l->is_down = true;
    if (reason && !l->is_closing) {
        snprintf(l->reason, sizeof l->reason, "%s", reason);
    }
    link_read_traffic(l, &l->traffic); /* the last word of the kernel, before the socket goes */
    if (l->resolving) {
        name_lookup_cancel(l->resolving);
        l->resolving = NULL;
    }
    uv_close((uv_handle_t *)&l->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&l->timer, on_handle_closed);
}

/* A failed write does not end the link: what came before the other side went may still lie unread, above all where
 * reading is paused. Reading finds the end by itself. */
static void give_up_writing(wire_link *l, int status) {
    l->is_write_broken = true;
    l->filling.length = l->flying.length = l->flown = 0;
    if (l->is_closing) {
        take_down(l, uv_strerror(status));
    }
}

static void on_written(uv_write_t *request, int status) {
    wire_link *l = request->data;
    l->in_flight = false;
    if (status < 0) {
        give_up_writing(l, status);
        return;
    }
    l->flown = l->flying.length;
    link_flush(l);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *piece);
static void bytes_in(uv_stream_t *stream, ssize_t length, const uv_buf_t *piece);

static void start_reading(wire_link *l) {
    int status = uv_read_start((uv_stream_t *)&l->tcp, give_room, bytes_in);
    if (status < 0 && status != UV_EALREADY) {
        take_down(l, uv_strerror(status));
    }
}

static void on_shut(uv_shutdown_t *request, int status) {
    wire_link *l = request->data;
    if (status < 0) {
        take_down(l, NULL);
    }
}

/* All is written. What the other side still sends is read and dropped until it closes too: to close a socket with
 * unread bytes would reset the connection, and what was written last might not arrive. */
static void finish_closing(wire_link *l) {
    if (!l->is_closing || l->is_shut || l->in_flight || link_backlog(l) > 0) {
        return;
    }
    l->is_shut = true;
    l->shutting.data = l;
    if (uv_shutdown(&l->shutting, (uv_stream_t *)&l->tcp, on_shut) != 0) {
        take_down(l, NULL);
        return;
    }
    start_reading(l);
}

static void swap_buffers(wire_link *l) {
    dynbuf emptied = l->flying;
    l->flying = l->filling;
    l->filling = emptied;
    dynbuf_reset(&l->filling);
    l->flown = 0;
}

/* The same with TLS: what is filled is encrypted into the empty `flying`, with what TLS itself has to say. */
static bool seal(wire_link *l) {
    l->flying.length = l->flown = 0;
    err e = ERR_OK;
    if (l->filling.length > 0 && tls_is_ready(l->tls)) {
        e = tls_write(l->tls, l->filling.bytes, l->filling.length, &l->flying);
        dynbuf_reset(&l->filling);
    }
    if (l->is_closing) {
        tls_end(l->tls);
    }
    e = e ? e : tls_drain(l->tls, &l->flying);
    l->traffic.tls_bytes[TRAFFIC_OUT] += l->flying.length;
    if (e) {
        take_down(l, err_text());
    }
    return !e;
}

/* The seam to the socket: bytes out. */
void link_flush(wire_link *l) {
    if (l->in_flight || l->is_down || !l->is_up || l->is_write_broken) {
        return;
    }
    if (l->flown == l->flying.length) {
        if (!l->tls) {
            swap_buffers(l);
        } else if (!seal(l)) {
            return;
        }
    }
    if (l->flying.length > 0) {
        uv_buf_t piece = uv_buf_init(l->flying.bytes, (unsigned)l->flying.length);
        int wrote = uv_try_write((uv_stream_t *)&l->tcp, &piece, 1);
        l->flown = wrote > 0 ? (size_t)wrote : 0;
        if (wrote < 0 && wrote != UV_EAGAIN) {
            give_up_writing(l, wrote);
            return;
        }
        if (l->flown < l->flying.length) {
            piece.base += l->flown;
            piece.len -= l->flown;
            l->writing.data = l;
            int status = uv_write(&l->writing, (uv_stream_t *)&l->tcp, &piece, 1, on_written);
            l->in_flight = status == 0;
            if (status < 0) {
                give_up_writing(l, status);
                return;
            }
        }
    }
    finish_closing(l);
}

/* Room for a frame, which is then filled in. A failure ends the link: a frame that is missing would be waited for. */
static err begin_frame(wire_link *l, uint8_t type, size_t length, uint8_t **to) {
    if (l->is_down || l->is_closing || l->is_write_broken) {
        return err_fail(ERR_NETWORK, "%s: the link is closed", l->address);
    }
    if (link_backlog(l) + length > LINK_BACKLOG_MAX) {
        take_down(l, "the peer does not take what it is sent");
        return err_fail(ERR_FULL, "%s: %zu bytes wait already", l->address, link_backlog(l));
    }
    *to = (uint8_t *)dynbuf_room(&l->filling, length);
    if (!*to) {
        take_down(l, "no memory for what is sent");
        return err_fail(ERR_MEMORY, "%s: no memory to send %zu bytes", l->address, length);
    }
    dynbuf_commit(&l->filling, (char *)*to + length);
    traffic_counters_count(&l->traffic, TRAFFIC_OUT, type, length);
    l->last_out_ms = clock_now_ms();
    return ERR_OK;
}

err link_send(wire_link *l, const uint8_t *bytes, size_t length) {
    uint8_t *to = NULL;
    err e = begin_frame(l, bytes[3], length, &to);
    if (!e) {
        memcpy(to, bytes, length);
    }
    return e;
}

err link_send_message(wire_link *l, message_type type, const ProtobufCMessage *body) {
    uint8_t *to = NULL;
    err e = begin_frame(l, (uint8_t)type, message_frame_size(body), &to);
    if (!e) {
        message_pack_frame(type, body, to);
    }
    return e;
}

size_t link_backlog(const wire_link *l) {
    return l->filling.length + l->flying.length - l->flown;
}

/* In plain text: whether what comes first is TLS; the link is then down. */
static bool speaks_tls(wire_link *l) {
    size_t have = l->reader.end - l->reader.begin;
    if (l->has_first || have == 0 || !tls_is_record(l->reader.bytes + l->reader.begin, have)) {
        return false;
    }
    l->has_failed_tls = true;
    take_down(l, "the other side speaks TLS, this one plain text (--tls-cert, --tls-key, --tls-ca)");
    return true;
}

/* Delivers every whole frame that is there; stops early once the link is paused or down. */
static void deliver_frames(wire_link *l) {
    while (!l->is_down && !l->is_closing && !l->is_paused) {
        frame f;
        bool have;
        if (!l->tls && speaks_tls(l)) {
            return;
        }
        if (frame_reader_next(&l->reader, &f, &have)) {
            take_down(l, err_text());
            return;
        }
        if (!have) {
            return;
        }
        l->has_first = true;
        traffic_counters_count(&l->traffic, TRAFFIC_IN, f.type, FRAME_HEADER + f.length);
        bool is_admitted = !l->on_closed || l->heartbeat_ms > 0;
        if (f.type != MESSAGE_PING || !is_admitted) {
            l->events.frame(l->context, l, &f);
        }
    }
}

/* The end of a link by TLS: the other side still gets the alert that says why. */
static void fail_tls(wire_link *l) {
    l->has_failed_tls = true;
    dynbuf_reset(&l->filling);
    link_close(l, err_text());
}

/* Decrypts what is there and delivers its frames; stops early as deliver_frames does. */
static void open_sealed(wire_link *l) {
    bool has_ended = false;
    size_t length = 1;
    while (length > 0 && !l->is_down && !l->is_closing && !l->is_paused) {
        uint8_t *to;
        size_t room;
        if (frame_reader_room(&l->reader, &to, &room)) {
            take_down(l, err_text());
        } else if (tls_read(l->tls, to, room, &length, &has_ended)) {
            fail_tls(l);
        } else if (has_ended) {
            take_down(l, "closed by the other side");
        } else if (length > 0) {
            frame_reader_fed(&l->reader, length);
            deliver_frames(l);
        }
    }
}

/* Takes TLS as far as it goes with the bytes that have come. */
static void advance_tls(wire_link *l) {
    bool was_ready = tls_is_ready(l->tls);
    if (!was_ready && tls_handshake(l->tls)) {
        fail_tls(l);
    } else if (!was_ready && tls_is_ready(l->tls) && !l->on_closed) {
        l->events.up(l->context, l);
    }
    if (tls_is_ready(l->tls)) {
        open_sealed(l);
    }
    link_flush(l);
}

/* What comes from the socket is encrypted, and only passes through here. */
static void give_sealed_room(uv_buf_t *piece) {
    static _Thread_local char sealed[SEALED_BYTES];
    *piece = uv_buf_init(sealed, sizeof sealed);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *piece) {
    (void)suggested;
    wire_link *l = handle->data;
    if (l->tls) {
        give_sealed_room(piece);
        return;
    }
    uint8_t *to;
    size_t room;
    *piece = frame_reader_room(&l->reader, &to, &room) ? uv_buf_init(NULL, 0) : uv_buf_init((char *)to, (unsigned)room);
}

/* The stream has ended; over TLS that should have been said inside it first. */
static const char *end_without_goodbye(const wire_link *l) {
    return !l->tls                ? "closed by the other side"
           : tls_is_ready(l->tls) ? "cut off by the other side"
                                  : "closed by the other side during the TLS handshake (does it speak TLS?)";
}

/* The seam from the socket: bytes in. */
static void bytes_in(uv_stream_t *stream, ssize_t length, const uv_buf_t *piece) {
    wire_link *l = stream->data;
    if (length < 0) {
        l->has_failed_tls = l->has_failed_tls || (l->tls && !l->on_closed && !tls_is_ready(l->tls));
        take_down(l, length != UV_EOF ? uv_strerror((int)length) : end_without_goodbye(l));
        return;
    }
    if (length == 0) {
        return;
    }
    l->read_bytes += (uint64_t)length;
    if (l->is_closing) {
        return; /* dropped: see finish_closing */
    }
    l->last_in_ms = clock_now_ms();
    if (!l->tls) {
        frame_reader_fed(&l->reader, (size_t)length);
        deliver_frames(l);
        return;
    }
    l->traffic.tls_bytes[TRAFFIC_IN] += (uint64_t)length;
    if (tls_feed(l->tls, (const uint8_t *)piece->base, (size_t)length)) {
        take_down(l, err_text());
        return;
    }
    advance_tls(l);
}

void link_pause(wire_link *l) {
    if (!l->is_paused && !l->is_down && !l->is_closing) {
        l->is_paused = true;
        l->paused_ms = clock_now_ms();
        uv_read_stop((uv_stream_t *)&l->tcp);
    }
}

void link_resume(wire_link *l) {
    if (l->is_paused && !l->is_down) {
        l->is_paused = false;
        l->last_in_ms += clock_now_ms() - l->paused_ms;
        deliver_frames(l);
        if (l->tls && !l->is_down) {
            advance_tls(l);
        }
        if (!l->is_paused && !l->is_down) {
            start_reading(l);
        }
    }
}

static void on_timer(uv_timer_t *timer) {
    wire_link *l = timer->data;
    uint64_t now = clock_now_ms();
    if (l->is_closing) {
        take_down(l, NULL);
        return;
    }
    if (!l->heartbeat_ms) {
        if (!l->is_paused) {
            take_down(l, "no handshake within 10 seconds");
        }
        return;
    }
    uint64_t timeout_ms = 3 * (uint64_t)l->heartbeat_ms;
    if (!l->is_paused && now - l->last_in_ms > timeout_ms) {
        char reason[LINK_REASON_BYTES];
        snprintf(reason, sizeof reason, "no sign of life for %llu ms", (unsigned long long)(now - l->last_in_ms));
        take_down(l, reason);
        return;
    }
    if (l->is_up && now - l->last_out_ms >= l->heartbeat_ms / 2) {
        uint8_t ping[FRAME_HEADER];
        frame_put_header(ping, MESSAGE_PING, 0);
        if (!link_send(l, ping, sizeof ping)) {
            link_flush(l);
        }
    }
}

void link_set_heartbeat(wire_link *l, uint32_t ms) {
    if (!l->is_down && !l->is_closing) {
        l->heartbeat_ms = ms;
        uint64_t every = ms / 2 > 0 ? ms / 2 : 1;
        uv_timer_start(&l->timer, on_timer, every, every);
    }
}

void link_set_limit(wire_link *l, size_t payload) {
    l->reader.limit = payload;
}

void link_close(wire_link *l, const char *reason) {
    if (l->is_down || l->is_closing) {
        return;
    }
    snprintf(l->reason, sizeof l->reason, "%s", reason);
    l->is_closing = true;
    bool is_connected = l->is_up && (!l->tls || tls_is_ready(l->tls) || l->has_failed_tls);
    if (!is_connected || l->is_write_broken) {
        take_down(l, NULL);
        return;
    }
    uv_timer_start(&l->timer, on_timer, CLOSE_FLUSH_MS, 0);
    link_flush(l);
}

void link_abort(wire_link *l, const char *reason) {
    take_down(l, reason);
}

void link_read_traffic(wire_link *l, traffic_counters *m) {
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&l->tcp, &fd) == 0) {
        traffic_counters_ask_kernel(&l->traffic, fd);
    }
    if (l->is_down && l->traffic.tcp_bytes[TRAFFIC_IN] == l->read_bytes + 1) {
        l->traffic.tcp_bytes[TRAFFIC_IN]--; /* the kernel counts the end of the stream as a byte */
    }
    *m = l->traffic;
}

bool link_speaks_for(const wire_link *l, const char *portion) {
    return !l->tls || tls_speaks_for(l->tls, portion);
}

bool link_has_failed_tls(const wire_link *l) {
    return l->has_failed_tls;
}

bool link_is_write_broken(const wire_link *l) {
    return l->is_write_broken;
}

const char *link_address(const wire_link *l) {
    return l->address;
}

static void note_address(wire_link *l) {
    struct sockaddr_storage address;
    int size = sizeof address;
    if (uv_tcp_getpeername(&l->tcp, (struct sockaddr *)&address, &size) != 0) {
        return;
    }
    address_of(l->address, (const struct sockaddr *)&address);
}

static wire_link *allocate(uv_loop_t *loop) {
    wire_link *l = calloc(1, sizeof *l);
    if (!l) {
        return NULL;
    }
    frame_reader_init(&l->reader, FRAME_FIRST_MAX);
    l->filling = dynbuf_make(LINK_BACKLOG_MAX + 1);
    l->flying = dynbuf_make(2 * LINK_BACKLOG_MAX); /* with what TLS adds */
    uv_tcp_init(loop, &l->tcp);
    uv_timer_init(loop, &l->timer);
    l->tcp.data = l->timer.data = l;
    l->open_handles = 2;
    return l;
}

/* Its socket is connected. */
static void come_up(wire_link *l) {
    note_address(l);
    uv_tcp_nodelay(&l->tcp, 1);
    l->is_up = true;
    l->last_in_ms = l->last_out_ms = clock_now_ms();
    uv_timer_start(&l->timer, on_timer, HANDSHAKE_TIMEOUT_MS + 1, HANDSHAKE_TIMEOUT_MS);
    start_reading(l);
    link_flush(l);
}

err link_accept(uv_loop_t *loop, int socket, tls_context *tls, void (*on_closed)(void *context), void *context,
                wire_link **out) {
    wire_link *l = allocate(loop);
    if (!l) {
        close(socket);
        on_closed(context);
        return err_fail(ERR_MEMORY, "no memory for a link");
    }
    l->on_closed = on_closed;
    l->closed_context = context;
    int opened = uv_tcp_open(&l->tcp, socket);
    if (opened < 0) {
        close(socket);
    }
    err e = opened < 0 ? err_fail(ERR_NETWORK, "%s", uv_strerror(opened)) : ERR_OK;
    e = e || !tls ? e : tls_new(&l->tls, tls, NULL);
    if (e) {
        take_down(l, err_text());
        return e;
    }
    come_up(l);
    *out = l;
    return ERR_OK;
}

static void on_connected(uv_connect_t *request, int status) {
    wire_link *l = request->data;
    if (l->is_down) {
        return;
    }
    if (status < 0) {
        snprintf(l->why_failed, sizeof l->why_failed, "cannot connect to %.200s: %s", l->address, uv_strerror(status));
        take_down(l, l->why_failed);
        return;
    }
    come_up(l);
    if (l->is_down) {
        return;
    }
    if (l->tls) {
        advance_tls(l);
    } else {
        l->events.up(l->context, l);
    }
}

static void on_found(void *context, const struct sockaddr *address, const char *problem) {
    wire_link *l = context;
    l->resolving = NULL;
    if (!problem) {
        l->connecting.data = l;
        int status = uv_tcp_connect(&l->connecting, &l->tcp, address, on_connected);
        problem = status < 0 ? uv_strerror(status) : NULL;
    }
    if (problem) {
        snprintf(l->why_failed, sizeof l->why_failed, "cannot find %.200s: %s", l->address, problem);
        take_down(l, l->why_failed);
    }
}

err link_connect(uv_loop_t *loop, const char *host, uint16_t port, tls_context *tls, const link_events *events,
                 void *context, wire_link **out) {
    wire_link *l = allocate(loop);
    if (!l) {
        return err_fail(ERR_MEMORY, "no memory for a link");
    }
    link_attach(l, events, context);
    *out = l;
    address_text(l->address, host, port);
    if (tls && tls_new(&l->tls, tls, host)) {
        take_down(l, err_text());
        return ERR_OK;
    }
    if (name_lookup_start(&l->resolving, loop, host, port, on_found, l)) {
        take_down(l, err_text());
    }
    return ERR_OK;
}

void link_attach(wire_link *l, const link_events *events, void *context) {
    l->events = *events;
    l->context = context;
}
