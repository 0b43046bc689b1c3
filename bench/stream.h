/* A connection of a bench's client to a server's nodes' port, in plain text or TLS. */
#ifndef FEWBIT_BENCH_STREAM_H
#define FEWBIT_BENCH_STREAM_H

#include "bench/net.h"
#include "wire/tls.h"

#include <errno.h>
#include <poll.h>

typedef struct stream {
    int socket;
    tls *tls;      /* NULL: plain text */
    dynbuf sealed; /* encrypted, not all with the kernel yet */
    size_t sent;   /* of `sealed` */
} stream;

static inline bool stream_has_sealed(const stream *s) {
    return s->sent < s->sealed.length;
}

/* Hands what is sealed to the kernel, as far as it takes it. */
static inline err stream_flush(stream *s) {
    ssize_t n = 0;
    if (stream_has_sealed(s)) {
        n = send(s->socket, s->sealed.bytes + s->sent, s->sealed.length - s->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        s->sent += n > 0 ? (size_t)n : 0;
    }
    if (!stream_has_sealed(s)) {
        dynbuf_reset(&s->sealed);
        s->sent = 0;
    }
    return n >= 0 || errno == EAGAIN ? ERR_OK : err_system(ERR_NETWORK, "sending");
}

/* Takes of `from` what goes out without waiting; with TLS at most a record that waits here. */
static inline err stream_push(stream *s, const uint8_t *from, size_t length, size_t *taken) {
    enum { RECORD = 16384 };
    if (!s->tls) {
        ssize_t n = send(s->socket, from, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        *taken += n > 0 ? (size_t)n : 0;
        return n >= 0 || errno == EAGAIN ? ERR_OK : err_system(ERR_NETWORK, "sending");
    }
    err e = stream_flush(s);
    if (!e && !stream_has_sealed(s) && length > 0) {
        size_t piece = length < RECORD ? length : RECORD;
        e = tls_write(s->tls, from, piece, &s->sealed);
        *taken += piece;
        e = e ? e : stream_flush(s);
    }
    return e;
}

/* Blocks until all of it is with the kernel. */
static inline err stream_send_all(stream *s, const uint8_t *from, size_t length) {
    err e = ERR_OK;
    for (size_t taken = 0; !e && (taken < length || stream_has_sealed(s));) {
        struct pollfd wait = {.fd = s->socket, .events = POLLOUT};
        poll(&wait, 1, -1);
        e = stream_push(s, from + taken, length - taken, &taken);
    }
    return e;
}

/* What the socket has now, up to `room` bytes; `*length` 0: nothing of the inner stream yet. Blocks where it is empty.
 */
static inline err stream_receive(stream *s, uint8_t *to, size_t room, size_t *length) {
    uint8_t raw[4096];
    bool ended = false;
    ssize_t n = recv(s->socket, s->tls ? raw : to, s->tls ? sizeof raw : room, 0);
    if (n <= 0) {
        return err_fail(ERR_NETWORK, "the server closed the connection");
    }
    *length = (size_t)n;
    if (!s->tls) {
        return ERR_OK;
    }
    err e = tls_feed(s->tls, raw, (size_t)n);
    e = e || tls_is_ready(s->tls) ? e : tls_handshake(s->tls);
    *length = 0;
    return e || !tls_is_ready(s->tls) ? e : tls_read(s->tls, to, room, length, &ended);
}

/* `c` NULL: in plain text; else shakes hands first. */
static inline err stream_open(stream *s, long port, tls_context *c) {
    *s = (stream){.sealed = dynbuf_make(1 << 20)};
    err e = net_dial(port, &s->socket);
    e = e || !c ? e : tls_new(&s->tls, c, "127.0.0.1");
    e = e || !c ? e : tls_handshake(s->tls);
    while (!e && c && !tls_is_ready(s->tls)) {
        uint8_t none;
        size_t length;
        e = tls_drain(s->tls, &s->sealed);
        e = e ? e : stream_send_all(s, NULL, 0);
        e = e ? e : stream_receive(s, &none, 0, &length);
    }
    e = e || !c ? e : tls_drain(s->tls, &s->sealed);
    return e || !c ? e : stream_send_all(s, NULL, 0);
}

#endif
