#include "decoder_server/core/node_listener.h"

#include "base/log_limit.h"
#include "wire/listener.h"

#include <stdio.h>
#include <stdlib.h>

/* Links that have not said a good Hello; the rest of the places is for those that are on their way out. */
enum { STRANGERS_MAX = NODE_LISTENER_LINKS_MAX / 4 * 3, STRANGERS_SHARE = 4 };

typedef struct entry {
    wire_link *link; /* NULL: there is none */
    node_listener *of;
    uint64_t number;
    bool is_paused;        /* by the host */
    bool is_admitted;      /* has said a good Hello */
    bool is_cut;           /* made room for another */
    bool is_filled;        /* something was sent since the last flush */
    bool is_lost;          /* it went while the listener was held: nobody was told yet */
    traffic_counters last; /* with is_lost */
} entry;

struct node_listener {
    node_listener_host host;
    listener *listener; /* NULL once it takes no more */
    entry entries[NODE_LISTENER_LINKS_MAX];
    size_t links, strangers; /* strangers: not admitted */
    uint64_t last_number;
    uint16_t filled[NODE_LISTENER_LINKS_MAX]; /* the places that are to be flushed */
    size_t filled_count;
    bool is_held, has_lost;
    bool may_resume;      /* some link may be paused without a reason */
    size_t resume_from;   /* the place whose turn it is */
    uint64_t turned_away; /* once it listens no more */
    uint64_t cut;         /* strangers that made room for others */
    uint64_t tls_failures;
    void (*closed)(void *context);
    void *closed_context;
};

/* Connection numbers are place + NODE_LISTENER_LINKS_MAX * turn, so the place of a number is known. */
static entry *entry_of(node_listener *l, uint64_t number) {
    entry *found = &l->entries[number % NODE_LISTENER_LINKS_MAX];
    return found->link && found->number == number ? found : NULL;
}

static void on_frame(void *context, wire_link *link, const frame *f) {
    entry *from = context;
    (void)link;
    from->of->host.frame(from->of->host.context, from->number, f);
}

static void tell_down(node_listener *l, wire_link *link, const char *reason) {
    if (!link_has_failed_tls(link)) {
        log_debug("%s: %s", link_address(link), reason);
        return;
    }
    l->tls_failures++;
    log_limited(LOG_WARN, "node_tls_failed", 0, "%s: %s", link_address(link), reason);
}

static void tell_lost(node_listener *l, entry *e) {
    e->is_lost = false;
    l->host.lost(l->host.context, e->number, &e->last);
}

static void on_down(void *context, wire_link *link, const char *reason) {
    entry *gone = context;
    node_listener *l = gone->of;
    tell_down(l, link, reason);
    link_read_traffic(link, &gone->last);
    gone->link = NULL;
    gone->is_lost = true;
    l->links--;
    l->strangers -= !gone->is_admitted;
    l->has_lost = true;
    if (!l->is_held) {
        tell_lost(l, gone);
    }
    if (l->closed && l->links == 0) {
        l->closed(l->closed_context);
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
static void make_room(node_listener *l, const wire_link *newcomer) {
    entry *oldest[2] = {NULL, NULL}; /* [1]: among neighbours */
    size_t neighbours = 0;
    for (size_t i = 0; i < NODE_LISTENER_LINKS_MAX; i++) {
        entry *e = &l->entries[i];
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
        l->cut++;
        link_abort(goes->link, "made room for others");
    }
}

static void on_accepted(void *context, wire_link *link) {
    static const link_events events = {.frame = on_frame, .down = on_down};
    node_listener *l = context;
    size_t place = 0;
    if (l->strangers >= STRANGERS_MAX) {
        make_room(l, link);
    }
    while (place < NODE_LISTENER_LINKS_MAX && (l->entries[place].link || l->entries[place].is_lost)) {
        place++;
    }
    if (place == NODE_LISTENER_LINKS_MAX) {
        link_close(link, "too many connections"); /* the acceptor's cap is the same, so hardly reached */
        return;
    }
    entry *to = &l->entries[place];
    l->last_number = (l->last_number / NODE_LISTENER_LINKS_MAX + 1) * NODE_LISTENER_LINKS_MAX + place;
    *to = (entry){.link = link, .of = l, .number = l->last_number, .is_filled = to->is_filled};
    l->links++;
    l->strangers++;
    link_attach(link, &events, to);
    if (l->is_held) {
        link_pause(link);
    }
    log_debug("%s: connected", link_address(link));
}

err node_listener_new(node_listener **out, uv_loop_t *loop, const char *host, uint16_t port, tls_context *tls,
                      const node_listener_host *callbacks) {
    node_listener *l = calloc(1, sizeof *l);
    if (!l) {
        return err_fail(ERR_MEMORY, "no memory for the node listener");
    }
    l->host = *callbacks;
    err e = listener_new(&l->listener, loop, host, port, tls, NODE_LISTENER_LINKS_MAX, on_accepted, l);
    if (e) {
        free(l);
        return e;
    }
    listener_wait_for_bytes(l->listener);
    *out = l;
    return ERR_OK;
}

/* To a connection. */

static void flush_later(node_listener *l, entry *e) {
    if (!e->is_filled) {
        e->is_filled = true;
        l->filled[l->filled_count++] = (uint16_t)(e - l->entries);
    }
}

/* A link that takes no more goes, and says so. */
void node_listener_send(node_listener *l, uint64_t connection, message_type type, const ProtobufCMessage *body) {
    entry *to = entry_of(l, connection);
    if (to && !link_send_message(to->link, type, body)) {
        flush_later(l, to);
    }
}

void node_listener_send_frame(node_listener *l, uint64_t connection, const uint8_t *bytes, size_t length) {
    entry *to = entry_of(l, connection);
    if (to && !link_send(to->link, bytes, length)) {
        flush_later(l, to);
    }
}

bool node_listener_has_room(node_listener *l, uint64_t connection, size_t bytes) {
    const size_t most = LINK_BACKLOG_MAX - FRAME_HEADER - FRAME_PAYLOAD_MAX;
    const entry *to = entry_of(l, connection);
    return !to || (bytes <= most && link_backlog(to->link) <= most - bytes);
}

void node_listener_admit(node_listener *l, uint64_t connection, uint32_t heartbeat_ms) {
    entry *e = entry_of(l, connection);
    if (e) {
        l->strangers -= !e->is_admitted;
        e->is_admitted = true;
        link_set_limit(e->link, FRAME_PAYLOAD_MAX);
        link_set_heartbeat(e->link, heartbeat_ms);
    }
}

void node_listener_close_one(node_listener *l, uint64_t connection, const char *reason) {
    entry *e = entry_of(l, connection);
    if (e) {
        link_close(e->link, reason);
    }
}

void node_listener_pause(node_listener *l, uint64_t connection, bool paused) {
    entry *e = entry_of(l, connection);
    if (!e) {
        return;
    }
    e->is_paused = paused;
    if (paused) {
        link_pause(e->link);
    } else {
        l->may_resume = true;
    }
}

bool node_listener_may_speak(node_listener *l, uint64_t connection, const char *portion) {
    const entry *e = entry_of(l, connection);
    return e && link_speaks_for(e->link, portion);
}

void node_listener_add_traffic(node_listener *l, uint64_t connection, traffic_counters *sum) {
    entry *e = entry_of(l, connection);
    if (e) {
        traffic_counters now;
        link_flush(e->link);
        link_read_traffic(e->link, &now);
        traffic_counters_add(sum, &now);
    }
}

/* To all. */

void node_listener_flush(node_listener *l) {
    while (l->filled_count > 0) {
        entry *e = &l->entries[l->filled[--l->filled_count]];
        e->is_filled = false;
        if (e->link) {
            link_flush(e->link);
        }
    }
}

void node_listener_hold(node_listener *l) {
    l->is_held = true;
    for (size_t i = 0; i < NODE_LISTENER_LINKS_MAX; i++) {
        if (l->entries[i].link) {
            link_pause(l->entries[i].link);
        }
    }
}

void node_listener_release(node_listener *l) {
    l->is_held = false;
    l->may_resume = true;
    for (size_t i = 0; i < NODE_LISTENER_LINKS_MAX && l->has_lost; i++) {
        if (l->is_held) {
            return; /* again, by whoever heard of one; the others are told when it is released */
        }
        if (l->entries[i].is_lost) {
            tell_lost(l, &l->entries[i]);
        }
    }
    l->has_lost = false;
}

bool node_listener_may_resume(const node_listener *l) {
    return l->may_resume && !l->is_held;
}

bool node_listener_resume(node_listener *l) {
    if (!node_listener_may_resume(l)) {
        return false;
    }
    l->may_resume = false;
    for (size_t i = 0; i < NODE_LISTENER_LINKS_MAX && !l->is_held; i++) {
        entry *e = &l->entries[l->resume_from];
        l->resume_from = (l->resume_from + 1) % NODE_LISTENER_LINKS_MAX;
        if (e->link && !e->is_paused) {
            link_resume(e->link); /* its frames come in here, any of which may hold the listener */
        }
    }
    return true;
}

void node_listener_stats(node_listener *l, stats *s) {
    s->links = l->links + (l->listener ? listener_count(l->listener)->pending : 0);
    s->tls_failures = l->tls_failures;
    s->links_refused = l->cut + (l->listener ? listener_count(l->listener)->turned_away : l->turned_away);
    for (uint32_t k = 0; k < s->portions; k++) {
        stats_node *n = &s->nodes[k];
        const entry *e = &l->entries[n->connection % NODE_LISTENER_LINKS_MAX];
        bool is_its = n->connection && e->number == n->connection;
        if (is_its && e->is_lost) {
            traffic_counters_add(&n->traffic, &e->last);
        } else if (is_its && e->link) {
            traffic_counters now;
            link_read_traffic(e->link, &now);
            traffic_counters_add(&n->traffic, &now);
            snprintf(n->address, sizeof n->address, "%s", link_address(e->link));
        }
    }
}

uint16_t node_listener_port(const node_listener *l) {
    return listener_port(l->listener);
}

void node_listener_stop_listening(node_listener *l) {
    if (l->listener) {
        l->turned_away = listener_count(l->listener)->turned_away;
        listener_close(l->listener);
        l->listener = NULL;
    }
}

void node_listener_close(node_listener *l, void (*closed)(void *context), void *context) {
    l->closed = closed;
    l->closed_context = context;
    node_listener_stop_listening(l);
    for (size_t i = 0; i < NODE_LISTENER_LINKS_MAX; i++) {
        if (l->entries[i].link) {
            link_close(l->entries[i].link, "the server ends");
        }
    }
    if (l->links == 0) {
        closed(context);
    }
}

void node_listener_free(node_listener *l) {
    free(l);
}
