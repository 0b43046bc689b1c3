#include "wire/door.h"
#include "wire/link_inside.h"

#include <stdlib.h>
#include <unistd.h>

/* Of the door, once it hears first: whoever speaks at all becomes a link; who says nothing stays outside for as long as
 * a link that is not let in. */
enum { LOOK_BYTES = 1, PATIENCE_MS = 10000 };

struct listener {
    uv_loop_t *loop;
    door *door;       /* NULL once it closes */
    tls_context *tls; /* NULL: plain text */
    size_t links;
    void (*accepted)(void *context, wire_link *l);
    void *context;
};

static void free_if_unused(listener *l) {
    if (!l->door && l->links == 0) {
        free(l);
    }
}

void listener_lost_link(listener *l) {
    l->links--;
    if (l->door) {
        door_left(l->door);
    }
    free_if_unused(l);
}

static bool is_enough(const uint8_t *bytes, size_t length) {
    (void)bytes;
    return length > 0;
}

static void on_enter(void *context, const door_caller *caller) {
    listener *from = context;
    wire_link *l = link_new(from->loop);
    if (!l) {
        close(caller->socket);
        door_left(from->door);
        return;
    }
    from->links++;
    l->from = from;
    int opened = uv_tcp_open(&l->tcp, caller->socket);
    if (opened < 0) {
        close(caller->socket);
        link_take_down(l, uv_strerror(opened));
        return;
    }
    if (from->tls && tls_new(&l->tls, from->tls, NULL)) {
        link_take_down(l, err_text());
        return;
    }
    link_come_up(l);
    from->accepted(from->context, l);
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
    door_config config = {
        .host = host,
        .port = port,
        .most = (uint32_t)most,
        .patience_ms = PATIENCE_MS,
        .lets_in_at_once = true,
        .look_bytes = LOOK_BYTES,
        .is_enough = is_enough,
        .enter = on_enter,
        .context = l,
    };
    err e = door_new(&l->door, loop, &config);
    if (e) {
        free(l);
        return e;
    }
    *out = l;
    return ERR_OK;
}

uint64_t listener_turned_away(const listener *l) {
    return door_count(l->door)->turned_away;
}

size_t listener_outside(const listener *l) {
    return door_count(l->door)->outside;
}

void listener_hear_first(listener *l) {
    door_hear_first(l->door);
}

uint16_t listener_port(const listener *l) {
    return door_port(l->door);
}

void listener_close(listener *l) {
    door_close(l->door);
    l->door = NULL;
    free_if_unused(l);
}
