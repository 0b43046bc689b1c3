#include "decoder_server/http/http_server.h"

#include "wire/acceptor.h"

#include <stdlib.h>

enum {
    TURN_MS = 1000,
    CUTS_A_TURN = 8, /* late connections closed at once; the others CUTS_MS later */
    CUTS_MS = 2,
    IDLE_MS = 1000,     /* when full, a connection idle for so long is closed for a new one */
    NONE_IDLE_MS = 100, /* after a search without success, none for so long */
};

struct http_server {
    http_connections connections;
    acceptor *acceptor; /* NULL once it closes */
    uv_timer_t watch;
    uint64_t none_idle_until_ms;
    int open_handles;
    void (*closed)(void *context);
};

/* Frees it once it is closing and everything in it is closed. */
static void end_server(http_server *s) {
    if (s->acceptor || s->connections.count > 0 || s->open_handles > 0) {
        return;
    }
    void (*closed)(void *context) = s->closed;
    void *context = s->connections.callbacks.context;
    http_connections_free(&s->connections);
    free(s);
    closed(context);
}

static void on_left(void *context) {
    http_server *s = context;
    if (s->acceptor) {
        acceptor_release(s->acceptor);
    }
    end_server(s);
}

static void on_watch(uv_timer_t *watch) {
    bool are_more = http_connections_cut_late(watch->data, CUTS_A_TURN, HTTP_HEAD_MS) == CUTS_A_TURN;
    uv_timer_start(watch, on_watch, are_more ? CUTS_MS : TURN_MS, 0);
}

static bool on_full(void *context) {
    http_server *s = context;
    uint64_t now = uv_now(s->connections.loop);
    bool has_cut = now >= s->none_idle_until_ms && http_connections_cut_late(&s->connections, 1, IDLE_MS) == 1;
    s->none_idle_until_ms = has_cut || now < s->none_idle_until_ms ? s->none_idle_until_ms : now + NONE_IDLE_MS;
    return has_cut;
}

static bool is_enough(const uint8_t *bytes, size_t length) {
    request_head head;
    return request_head_read(&head, bytes, length) != REQUEST_HEAD_MORE;
}

static void on_accepted(void *context, int socket) {
    http_server *s = context;
    http_connections_add(&s->connections, socket);
}

err http_server_new(http_server **out, uv_loop_t *loop, const char *host_name, uint16_t port,
                    const http_callbacks *callbacks) {
    http_server *s = calloc(1, sizeof *s);
    if (!s) {
        return err_fail(ERR_MEMORY, "no memory for the HTTP side");
    }
    const acceptor_config config = {
        .host = host_name,
        .port = port,
        .most = HTTP_CONNECTIONS_MAX,
        .handshake_timeout_ms = HTTP_HEAD_MS,
        .peek_bytes = REQUEST_HEAD_MAX,
        .is_enough = is_enough,
        .accepted = on_accepted,
        .evict = on_full,
        .context = s,
    };
    err e = acceptor_new(&s->acceptor, loop, &config);
    if (e) {
        free(s);
        return e;
    }
    s->connections.callbacks = *callbacks;
    s->connections.left = on_left;
    s->connections.context = s;
    http_connections_start(&s->connections, loop);
    uv_timer_init(loop, &s->watch);
    s->watch.data = &s->connections;
    s->open_handles = 2;
    uv_timer_start(&s->watch, on_watch, TURN_MS, 0);
    *out = s;
    return ERR_OK;
}

uint16_t http_server_port(const http_server *s) {
    return acceptor_port(s->acceptor);
}

http_counters http_server_count(const http_server *s) {
    const acceptor_counters *a = acceptor_count(s->acceptor);
    return (http_counters){a->taken, a->turned_away, a->timed_out + s->connections.cut, a->pending + a->accepted};
}

static void on_timer_closed(uv_handle_t *timer) {
    const http_connections *connections = timer->data;
    http_server *s = connections->context;
    s->open_handles--;
    end_server(s);
}

void http_server_close(http_server *s, void (*closed)(void *context)) {
    s->closed = closed;
    acceptor_close(s->acceptor);
    s->acceptor = NULL;
    http_connections_close(&s->connections);
    uv_close((uv_handle_t *)&s->watch, on_timer_closed);
    uv_close((uv_handle_t *)&s->connections.throttle, on_timer_closed);
}
