#include "base/log.h"
#include "wire/link_inside.h"

#include <stdlib.h>
#include <string.h>

/* As many as may be there: whoever finds the kernel's queue full tries again a second later, good nodes with the rest.
 */
enum { WAITING_MAX = 1024 };

struct listener {
    uv_tcp_t tcp;
    tls_context *tls; /* NULL: plain text */
    size_t most, links;
    uint64_t turned_away;
    bool is_closed;
    void (*accepted)(void *context, wire_link *l);
    void *context;
};

static void free_if_unused(listener *l) {
    if (l->is_closed && l->links == 0) {
        free(l);
    }
}

void listener_lost_link(listener *l) {
    l->links--;
    free_if_unused(l);
}

static void on_incoming(uv_stream_t *stream, int status) {
    listener *from = stream->data;
    if (status < 0) {
        log_warn("accepting failed: %s", uv_strerror(status));
        return;
    }
    wire_link *l = link_new(stream->loop);
    if (!l) {
        return; /* stays in the kernel's queue */
    }
    from->links++;
    l->from = from;
    int accepted = uv_accept(stream, (uv_stream_t *)&l->tcp);
    if (accepted < 0 || from->links > from->most) {
        from->turned_away++;
        link_take_down(l, accepted < 0 ? uv_strerror(accepted) : "too many connections");
        return;
    }
    if (from->tls && tls_new(&l->tls, from->tls, NULL)) {
        link_take_down(l, err_text());
        return;
    }
    link_come_up(l);
    from->accepted(from->context, l);
}

static void on_listener_closed(uv_handle_t *handle) {
    listener *l = handle->data;
    l->is_closed = true;
    free_if_unused(l);
}

static int bind_and_listen(listener *l, const char *host, uint16_t port) {
    struct sockaddr_storage address;
    int status = strchr(host, ':') ? uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address)
                                   : uv_ip4_addr(host, port, (struct sockaddr_in *)&address);
    status = status ? status : uv_tcp_bind(&l->tcp, (const struct sockaddr *)&address, 0);
    return status ? status : uv_listen((uv_stream_t *)&l->tcp, WAITING_MAX, on_incoming);
}

err listener_new(listener **out, uv_loop_t *loop, const char *host, uint16_t port, tls_context *tls, size_t most,
                 void (*accepted)(void *context, wire_link *l), void *context) {
    listener *l = calloc(1, sizeof *l);
    if (!l) {
        return err_fail(ERR_MEMORY, "no memory for a listener");
    }
    l->tls = tls;
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

uint64_t listener_turned_away(const listener *l) {
    return l->turned_away;
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

void listener_close(listener *l) {
    uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
}
