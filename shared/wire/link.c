#include "wire/link.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LET_IN_MS = 10000, CLOSE_FLUSH_MS = 1000, REASON_BYTES = 160 };

/* Bytes on their way out: one buffer is filled while the other is with the kernel. */
typedef struct out_buffer {
    uint8_t *bytes;
    size_t length, capacity;
} out_buffer;

struct wire_link {
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connecting;
    uv_write_t writing;
    uv_shutdown_t shutting;
    uv_getaddrinfo_t resolving;
    listener *from;
    link_events events;
    void *context;
    frame_reader reader;
    out_buffer filling, flying;
    size_t flown; /* of `flying` */
    meter meter;
    uint64_t last_in_ms, last_out_ms, paused_ms;
    uint32_t heartbeat_ms;
    int open_handles;
    bool is_up, is_paused, is_closing, is_down, in_flight, is_resolving;
    bool is_shut; /* nothing more will be written */
    bool is_deaf; /* the other side takes no more; what it has sent is still read, as far as its end */
    uint64_t read_bytes;
    char address[64];
    char reason[REASON_BYTES];
    char why_failed[REASON_BYTES];
};

struct listener {
    uv_tcp_t tcp;
    size_t most, links;
    uint64_t turned_away;
    bool is_closed;
    void (*accepted)(void *context, wire_link *l);
    void *context;
};

static void listener_free_if_unused(listener *l) {
    if (l->is_closed && l->links == 0) {
        free(l);
    }
}

static void free_link(wire_link *l) {
    if (l->from) {
        l->from->links--;
        listener_free_if_unused(l->from);
    }
    frame_reader_free(&l->reader);
    free(l->filling.bytes);
    free(l->flying.bytes);
    free(l);
}

static void on_handle_closed(uv_handle_t *handle) {
    wire_link *l = handle->data;
    if (--l->open_handles > 0 || l->is_resolving) {
        return;
    }
    if (l->events.down) {
        l->events.down(l->context, l, l->reason);
    }
    free_link(l);
}

/* `reason` NULL: the one that link_close gave. */
static void take_down(wire_link *l, const char *reason) {
    if (l->is_down) {
        return;
    }
    l->is_down = true;
    if (reason && !l->is_closing) {
        snprintf(l->reason, sizeof l->reason, "%s", reason);
    }
    link_read_meter(l, &l->meter); /* the last word of the kernel, before the socket goes */
    if (l->is_resolving) {
        uv_cancel((uv_req_t *)&l->resolving);
    }
    uv_close((uv_handle_t *)&l->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&l->timer, on_handle_closed);
}

/* The seam to the socket: bytes out. */
static void bytes_out(wire_link *l);

/* A failed write does not end the link: what came before the other side went may still lie unread, above all where
 * reading is paused. Reading finds the end by itself. */
static void give_up_writing(wire_link *l, int status) {
    l->is_deaf = true;
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
    bytes_out(l);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *piece);
static void bytes_in(uv_stream_t *stream, ssize_t length, const uv_buf_t *piece);

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
    uv_read_start((uv_stream_t *)&l->tcp, give_room, bytes_in);
}

static void swap_buffers(wire_link *l) {
    out_buffer emptied = l->flying;
    l->flying = l->filling;
    emptied.length = 0;
    l->filling = emptied;
    l->flown = 0;
}

static void bytes_out(wire_link *l) {
    if (l->in_flight || l->is_down || !l->is_up || l->is_deaf) {
        return;
    }
    if (l->flown == l->flying.length) {
        swap_buffers(l);
    }
    if (l->flying.length > 0) {
        uv_buf_t piece = uv_buf_init((char *)l->flying.bytes, (unsigned)l->flying.length);
        int wrote = uv_try_write((uv_stream_t *)&l->tcp, &piece, 1);
        l->flown = wrote > 0 ? (size_t)wrote : 0;
        if (wrote < 0 && wrote != UV_EAGAIN) {
            give_up_writing(l, wrote);
            return;
        }
        if (l->flown < l->flying.length) {
            piece.base += l->flown;
            piece.len -= l->flown;
            l->in_flight = true;
            l->writing.data = l;
            uv_write(&l->writing, (uv_stream_t *)&l->tcp, &piece, 1, on_written);
        }
    }
    finish_closing(l);
}

static err append(out_buffer *b, const uint8_t *bytes, size_t length) {
    if (b->capacity - b->length < length) {
        size_t capacity = b->capacity ? b->capacity : 4096;
        while (capacity - b->length < length) {
            capacity *= 2;
        }
        uint8_t *grown = realloc(b->bytes, capacity);
        if (!grown) {
            return err_fail(ERR_MEMORY, "no memory to send %zu bytes", length);
        }
        b->bytes = grown;
        b->capacity = capacity;
    }
    memcpy(b->bytes + b->length, bytes, length);
    b->length += length;
    return ERR_OK;
}

err link_send(wire_link *l, const uint8_t *bytes, size_t length) {
    if (l->is_down || l->is_closing || l->is_deaf) {
        return err_fail(ERR_NETWORK, "%s: the link is closed", l->address);
    }
    if (link_backlog(l) + length > LINK_BACKLOG_MAX) {
        take_down(l, "the peer does not take what it is sent");
        return err_fail(ERR_FULL, "%s: %zu bytes wait already", l->address, link_backlog(l));
    }
    err e = append(&l->filling, bytes, length);
    if (!e) {
        meter_count(&l->meter, METER_OUT, bytes[3], length);
        l->last_out_ms = clock_now_ms();
    }
    return e;
}

void link_flush(wire_link *l) {
    bytes_out(l);
}

size_t link_backlog(const wire_link *l) {
    return l->filling.length + l->flying.length - l->flown;
}

/* Delivers every whole frame that is there; stops early once the link is paused or down. */
static void deliver_frames(wire_link *l) {
    while (!l->is_down && !l->is_closing && !l->is_paused) {
        frame f;
        bool have;
        if (frame_reader_next(&l->reader, &f, &have)) {
            take_down(l, err_text());
            return;
        }
        if (!have) {
            return;
        }
        meter_count(&l->meter, METER_IN, f.type, FRAME_HEADER + f.length);
        if (f.type != MESSAGE_PING) {
            l->events.frame(l->context, l, &f);
        }
    }
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *piece) {
    (void)suggested;
    wire_link *l = handle->data;
    uint8_t *to;
    size_t room;
    *piece = frame_reader_room(&l->reader, &to, &room) ? uv_buf_init(NULL, 0) : uv_buf_init((char *)to, (unsigned)room);
}

/* The seam from the socket: bytes in. */
static void bytes_in(uv_stream_t *stream, ssize_t length, const uv_buf_t *piece) {
    (void)piece;
    wire_link *l = stream->data;
    if (length < 0) {
        take_down(l, length == UV_EOF ? "closed by the other side" : uv_strerror((int)length));
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
    frame_reader_fed(&l->reader, (size_t)length);
    deliver_frames(l);
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
        if (!l->is_paused && !l->is_down) {
            uv_read_start((uv_stream_t *)&l->tcp, give_room, bytes_in);
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
            take_down(l, "not let in within 10 seconds");
        }
        return;
    }
    uint64_t patience = 3 * (uint64_t)l->heartbeat_ms;
    if (!l->is_paused && now - l->last_in_ms > patience) {
        char reason[REASON_BYTES];
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
    if (!l->is_down) {
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
    if (!l->is_up || l->is_deaf) {
        take_down(l, NULL);
        return;
    }
    uv_timer_start(&l->timer, on_timer, CLOSE_FLUSH_MS, 0);
    bytes_out(l);
}

void link_read_meter(wire_link *l, meter *m) {
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&l->tcp, &fd) == 0) {
        meter_ask_kernel(&l->meter, fd);
    }
    if (l->is_down && l->meter.tcp_bytes[METER_IN] == l->read_bytes + 1) {
        l->meter.tcp_bytes[METER_IN]--; /* the kernel counts the end of the stream as a byte */
    }
    *m = l->meter;
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
    char host[48] = "";
    uint16_t port = 0;
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const void *)&address;
        uv_ip6_name(six, host, sizeof host);
        port = ntohs(six->sin6_port);
    } else {
        const struct sockaddr_in *four = (const void *)&address;
        uv_ip4_name(four, host, sizeof host);
        port = ntohs(four->sin_port);
    }
    snprintf(l->address, sizeof l->address, address.ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, port);
}

static wire_link *new_link(uv_loop_t *loop) {
    wire_link *l = calloc(1, sizeof *l);
    if (!l) {
        return NULL;
    }
    frame_reader_init(&l->reader, FRAME_FIRST_MAX);
    uv_tcp_init(loop, &l->tcp);
    uv_timer_init(loop, &l->timer);
    l->tcp.data = l->timer.data = l;
    l->open_handles = 2;
    return l;
}

static void come_up(wire_link *l) {
    note_address(l);
    uv_tcp_nodelay(&l->tcp, 1);
    l->is_up = true;
    l->last_in_ms = l->last_out_ms = clock_now_ms();
    uv_timer_start(&l->timer, on_timer, LET_IN_MS + 1, LET_IN_MS);
    uv_read_start((uv_stream_t *)&l->tcp, give_room, bytes_in);
    bytes_out(l);
}

static void on_connected(uv_connect_t *request, int status) {
    wire_link *l = request->data;
    if (l->is_down) {
        return;
    }
    if (status < 0) {
        snprintf(l->why_failed, sizeof l->why_failed, "cannot connect to %s: %s", l->address, uv_strerror(status));
        take_down(l, l->why_failed);
        return;
    }
    come_up(l);
    l->events.up(l->context, l);
}

/* Each connection takes the next of a name's addresses: who tries again reaches one that answers. */
static const struct sockaddr *next_address(const struct addrinfo *found) {
    static unsigned taken;
    unsigned count = 0;
    for (const struct addrinfo *a = found; a; a = a->ai_next) {
        count++;
    }
    for (unsigned skip = taken++ % count; skip > 0; skip--) {
        found = found->ai_next;
    }
    return found->ai_addr;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
    wire_link *l = request->data;
    l->is_resolving = false;
    if (l->is_down) {
        uv_freeaddrinfo(found);
        if (l->open_handles == 0) {
            l->open_handles = 1;
            on_handle_closed((uv_handle_t *)&l->tcp);
        }
        return;
    }
    if (status == 0) {
        l->connecting.data = l;
        status = uv_tcp_connect(&l->connecting, &l->tcp, next_address(found), on_connected);
    }
    uv_freeaddrinfo(found);
    if (status < 0) {
        snprintf(l->why_failed, sizeof l->why_failed, "cannot find %s: %s", l->address, uv_strerror(status));
        take_down(l, l->why_failed);
    }
}

err link_connect(uv_loop_t *loop, const char *host, uint16_t port, const link_events *events, void *context,
                 wire_link **out) {
    wire_link *l = new_link(loop);
    if (!l) {
        return err_fail(ERR_MEMORY, "no memory for a link");
    }
    link_attach(l, events, context);
    snprintf(l->address, sizeof l->address, "%.50s:%u", host, port);
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    l->resolving.data = l;
    l->is_resolving = true;
    int status = uv_getaddrinfo(loop, &l->resolving, on_resolved, host, service, &hints);
    if (status < 0) {
        l->is_resolving = false;
        take_down(l, uv_strerror(status));
    }
    *out = l;
    return ERR_OK;
}

void link_attach(wire_link *l, const link_events *events, void *context) {
    l->events = *events;
    l->context = context;
}

static void on_incoming(uv_stream_t *stream, int status) {
    listener *from = stream->data;
    if (status < 0) {
        log_warn("accepting failed: %s", uv_strerror(status));
        return;
    }
    wire_link *l = new_link(stream->loop);
    if (!l) {
        return; /* stays in the kernel's queue */
    }
    from->links++;
    l->from = from;
    int accepted = uv_accept(stream, (uv_stream_t *)&l->tcp);
    if (accepted < 0 || from->links > from->most) {
        from->turned_away++;
        take_down(l, accepted < 0 ? uv_strerror(accepted) : "too many connections");
        return;
    }
    come_up(l);
    from->accepted(from->context, l);
}

static void on_listener_closed(uv_handle_t *handle) {
    listener *l = handle->data;
    l->is_closed = true;
    listener_free_if_unused(l);
}

static int bind_and_listen(listener *l, const char *host, uint16_t port) {
    struct sockaddr_storage address;
    int status = strchr(host, ':') ? uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address)
                                   : uv_ip4_addr(host, port, (struct sockaddr_in *)&address);
    status = status ? status : uv_tcp_bind(&l->tcp, (const struct sockaddr *)&address, 0);
    return status ? status : uv_listen((uv_stream_t *)&l->tcp, 128, on_incoming);
}

err listener_new(listener **out, uv_loop_t *loop, const char *host, uint16_t port, size_t most,
                 void (*accepted)(void *context, wire_link *l), void *context) {
    listener *l = calloc(1, sizeof *l);
    if (!l) {
        return err_fail(ERR_MEMORY, "no memory for a listener");
    }
    l->most = most;
    l->accepted = accepted;
    l->context = context;
    uv_tcp_init(loop, &l->tcp);
    l->tcp.data = l;
    int status = bind_and_listen(l, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, port);
    if (status < 0) {
        uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
        return err_fail(status == UV_EINVAL ? ERR_USAGE : ERR_NETWORK, "cannot listen on %s:%u: %s", host, port,
                        uv_strerror(status));
    }
    *out = l;
    return ERR_OK;
}

uint16_t listener_port(const listener *l) {
    struct sockaddr_storage address;
    int size = sizeof address;
    if (uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&address, &size) != 0) {
        return 0;
    }
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

uint64_t listener_turned_away(const listener *l) {
    return l->turned_away;
}

void listener_close(listener *l) {
    uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
}
