#include "decoder_server/core/node_listener.h"

#include "base/log_limit.h"
#include "decoder_server/core/mail.h"
#include "wire/listener.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Links that have not said a good Hello; the rest of the places is for those that are on their way out. */
enum { STRANGERS_MAX = NODE_LISTENER_LINKS_MAX / 4 * 3, STRANGERS_SHARE = 4 };

typedef struct entry {
    wire_link *link; /* NULL: a free place */
    node_listener *node_listener;
    uint64_t number;
    bool paused_by_worker;
    bool is_introduced; /* the worker knows its portions */
    bool is_admitted;   /* has said a good Hello */
    bool is_cut;        /* made room for another */
} entry;

struct node_listener {
    uv_loop_t *loop;
    worker **worker;
    listener *listener;
    entry entries[NODE_LISTENER_LINKS_MAX];
    size_t links, strangers; /* strangers: not admitted */
    uint64_t last_number;
    bool all_paused;
    uint64_t turned_away; /* once it listens no more */
    uint64_t cut;         /* strangers that made room for others */
    uint64_t tls_failures;
    void (*closed)(void *context);
    void *closed_context;
};

/* Connection numbers are place + NODE_LISTENER_LINKS_MAX * turn, so the place of a number is known. */
static entry *entry_of(node_listener *g, uint64_t number) {
    entry *found = &g->entries[number % NODE_LISTENER_LINKS_MAX];
    return found->link && found->number == number ? found : NULL;
}

static err introduce(entry *e) {
    uint64_t portions = link_portions(e->link);
    err failed = e->is_introduced
                     ? ERR_OK
                     : worker_post(*e->node_listener->worker, MAIL_PORTIONS, e->number, &portions, sizeof portions);
    e->is_introduced = !failed;
    return failed;
}

static void on_frame(void *context, wire_link *l, const frame *f) {
    entry *from = context;
    node_listener *g = from->node_listener;
    if (introduce(from) || worker_post_in_turn(*g->worker, MAIL_FRAME, from->number, f->payload - FRAME_HEADER,
                                               FRAME_HEADER + f->length)) {
        link_close(l, err_text());
    } else if (!g->all_paused && worker_is_behind(*g->worker)) {
        g->all_paused = true;
        for (size_t i = 0; i < NODE_LISTENER_LINKS_MAX; i++) {
            if (g->entries[i].link) {
                link_pause(g->entries[i].link);
            }
        }
    }
}

static void tell_down(node_listener *g, wire_link *l, const char *reason) {
    if (!link_has_failed_tls(l)) {
        log_debug("%s: %s", link_address(l), reason);
        return;
    }
    g->tls_failures++;
    log_limited(LOG_WARN, "node_tls_failed", 0, "%s: %s", link_address(l), reason);
}

static void on_down(void *context, wire_link *l, const char *reason) {
    entry *gone = context;
    node_listener *g = gone->node_listener;
    tell_down(g, l, reason);
    traffic_counters last;
    link_read_traffic(l, &last);
    worker_post(*g->worker, MAIL_DOWN, gone->number, &last, sizeof last);
    gone->link = NULL;
    g->links--;
    g->strangers -= !gone->is_admitted;
    if (g->closed && g->links == 0) {
        g->closed(g->closed_context);
    }
}

static bool is_neighbour(const wire_link *a, const wire_link *b) {
    const char *one = link_address(a), *other = link_address(b);
    const char *colon = strrchr(one, ':');
    size_t length = colon ? (size_t)(colon - one) : 0;
    return colon && strncmp(one, other, length) == 0 && other[length] == ':';
}

/* A stranger goes, so that a crowd of them keeps nobody out who has more to say: the oldest one, of the newcomer's own
 * address where that has its share. */
static void make_room(node_listener *g, const wire_link *newcomer) {
    entry *oldest[2] = {NULL, NULL}; /* [1]: among neighbours */
    size_t neighbours = 0;
    for (size_t i = 0; i < NODE_LISTENER_LINKS_MAX; i++) {
        entry *e = &g->entries[i];
        if (!e->link || e->is_admitted || e->is_cut) {
            continue;
        }
        bool is_near = is_neighbour(newcomer, e->link);
        neighbours += is_near;
        for (int near = 0; near <= is_near; near++) {
            oldest[near] =
                !oldest[near] || e->number / NODE_LISTENER_LINKS_MAX < oldest[near]->number / NODE_LISTENER_LINKS_MAX
                    ? e
                    : oldest[near];
        }
    }
    entry *goes = oldest[neighbours >= STRANGERS_MAX / STRANGERS_SHARE];
    if (goes) {
        goes->is_cut = true;
        g->cut++;
        link_abort(goes->link, "made room for others");
    }
}

static void on_accepted(void *context, wire_link *l) {
    static const link_events events = {.frame = on_frame, .down = on_down};
    node_listener *g = context;
    size_t place = 0;
    if (g->strangers >= STRANGERS_MAX) {
        make_room(g, l);
    }
    while (place < NODE_LISTENER_LINKS_MAX && g->entries[place].link) {
        place++;
    }
    if (place == NODE_LISTENER_LINKS_MAX) {
        link_close(l, "too many connections"); /* the listener's cap is the same, so not reached */
        return;
    }
    entry *to = &g->entries[place];
    g->last_number = (g->last_number / NODE_LISTENER_LINKS_MAX + 1) * NODE_LISTENER_LINKS_MAX + place;
    *to = (entry){.link = l, .node_listener = g, .number = g->last_number};
    g->links++;
    g->strangers++;
    link_attach(l, &events, to);
    log_debug("%s: connected", link_address(l));
}

err node_listener_new(node_listener **out, uv_loop_t *loop, const char *host, uint16_t port, tls_context *tls,
                      worker **w) {
    node_listener *g = calloc(1, sizeof *g);
    if (!g) {
        return err_fail(ERR_MEMORY, "no memory for the node listener");
    }
    g->loop = loop;
    g->worker = w;
    err e = listener_new(&g->listener, loop, host, port, tls, NODE_LISTENER_LINKS_MAX, on_accepted, g);
    if (e) {
        free(g);
        return e;
    }
    listener_wait_for_bytes(g->listener);
    *out = g;
    return ERR_OK;
}

static void answer_meter(node_listener *g, const entry *about) {
    traffic_counters now;
    link_read_traffic(about->link, &now);
    worker_post(*g->worker, MAIL_METER, about->number, &now, sizeof now);
}

bool node_listener_deliver(node_listener *g, const mail *m) {
    if (m->kind < MAIL_SEND || m->kind > MAIL_RESUME) {
        return false;
    }
    entry *to = entry_of(g, m->about);
    if (!to) {
        return true;
    }
    switch (m->kind) {
    case MAIL_SEND:
        link_send(to->link, m->bytes, m->length);
        break;
    case MAIL_ADMIT:
        g->strangers -= !to->is_admitted;
        to->is_admitted = true;
        link_set_limit(to->link, FRAME_PAYLOAD_MAX);
        link_set_heartbeat(to->link, *(const uint32_t *)(const void *)m->bytes);
        break;
    case MAIL_CLOSE:
        link_close(to->link, (const char *)m->bytes);
        break;
    case MAIL_ASK_METER:
        link_flush(to->link);
        answer_meter(g, to);
        break;
    case MAIL_PAUSE:
        to->paused_by_worker = true;
        link_pause(to->link);
        break;
    default:
        to->paused_by_worker = false;
        if (!g->all_paused) {
            link_resume(to->link);
        }
        break;
    }
    return true;
}

void node_listener_flush(node_listener *g) {
    for (size_t i = 0; i < NODE_LISTENER_LINKS_MAX; i++) {
        if (g->entries[i].link) {
            link_flush(g->entries[i].link);
        }
    }
}

void node_listener_resume(node_listener *g) {
    g->all_paused = false;
    for (size_t i = 0; i < NODE_LISTENER_LINKS_MAX && !g->all_paused; i++) {
        if (g->entries[i].link && !g->entries[i].paused_by_worker) {
            link_resume(g->entries[i].link);
        }
    }
}

void node_listener_stats(node_listener *g, stats *r) {
    r->links = g->links + (g->listener ? listener_pending(g->listener) : 0);
    r->tls_failures = g->tls_failures;
    r->links_refused = g->cut + (g->listener ? listener_turned_away(g->listener) : g->turned_away);
    for (uint32_t k = 0; k < r->portions; k++) {
        stats_node *n = &r->nodes[k];
        const entry *e = n->connection ? entry_of(g, n->connection) : NULL;
        if (e) {
            traffic_counters now;
            link_read_traffic(e->link, &now);
            traffic_counters_add(&n->traffic, &now);
            snprintf(n->address, sizeof n->address, "%s", link_address(e->link));
        }
    }
}

uint16_t node_listener_port(const node_listener *g) {
    return listener_port(g->listener);
}

void node_listener_stop_listening(node_listener *g) {
    if (g->listener) {
        g->turned_away = listener_turned_away(g->listener);
        listener_close(g->listener);
        g->listener = NULL;
    }
}

void node_listener_close(node_listener *g, void (*closed)(void *context), void *context) {
    g->closed = closed;
    g->closed_context = context;
    node_listener_stop_listening(g);
    for (size_t i = 0; i < NODE_LISTENER_LINKS_MAX; i++) {
        if (g->entries[i].link) {
            link_close(g->entries[i].link, "the server ends");
        }
    }
    if (g->links == 0) {
        closed(context);
    }
}

void node_listener_free(node_listener *g) {
    free(g);
}
