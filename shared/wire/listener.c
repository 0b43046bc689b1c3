#include "wire/listener.h"

#include <stdlib.h>

/* Of the acceptor, once it waits for bytes: whoever speaks at all becomes a link; who says nothing stays pending for as
 * long as a link may take for its handshake. */
enum { PEEK_BYTES = 1, HANDSHAKE_TIMEOUT_MS = 10000 };

struct listener {
    uv_loop_t *loop;
    acceptor *acceptor; /* NULL once it closes */
    tls_context *tls;   /* NULL: plain text */
    size_t links;
    void (*accepted)(void *context, wire_link *l);
    void *context;
};

static void free_if_unused(listener *l) {
    if (!l->acceptor && l->links == 0) {
        free(l);
    }
}

static void on_closed(void *context) {
    listener *l = context;
    l->links--;
    if (l->acceptor) {
        acceptor_release(l->acceptor);
    }
    free_if_unused(l);
}

static bool is_enough(const uint8_t *bytes, size_t length) {
    (void)bytes;
    return length > 0;
}

static void on_accepted(void *context, int socket) {
    listener *from = context;
    wire_link *l;
    from->links++;
    if (!link_accept(from->loop, socket, from->tls, on_closed, from, &l)) {
        from->accepted(from->context, l);
    }
}

err listener_new(listener **out, uv_loop_t *loop, const char *host, uint16_t port, tls_context *tls, size_t most,
                 void (*accepted)(void *context, wire_link *l), void *context) {
    listener *l = calloc(1, sizeof *l);
    if (!l) {
        return err_fail(ERR_MEMORY, "no memory for a listener");
    }
    l->loop = loop;
    l->tls = tls;
    l->accepted = accepted;
    l->context = context;
    acceptor_config config = {
        .host = host,
        .port = port,
        .most = (uint32_t)most,
        .handshake_timeout_ms = HANDSHAKE_TIMEOUT_MS,
        .accepts_at_once = true,
        .peek_bytes = PEEK_BYTES,
        .is_enough = is_enough,
        .accepted = on_accepted,
        .context = l,
    };
    err e = acceptor_new(&l->acceptor, loop, &config);
    if (e) {
        free(l);
        return e;
    }
    *out = l;
    return ERR_OK;
}

const acceptor_counters *listener_count(const listener *l) {
    return acceptor_count(l->acceptor);
}

void listener_wait_for_bytes(listener *l) {
    acceptor_wait_for_bytes(l->acceptor);
}

uint16_t listener_port(const listener *l) {
    return acceptor_port(l->acceptor);
}

void listener_close(listener *l) {
    acceptor_close(l->acceptor);
    l->acceptor = NULL;
    free_if_unused(l);
}
