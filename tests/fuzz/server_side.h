/* The loop's side of a server under attack: what node_listener.c does with sockets, done with records of the input.
 *
 * The peers are the real ones and speak through a real worker on a real loop, but what they are handed comes
 * from this thread, so that an input always takes the same way. The worker's own thread only waits. */
#ifndef FEWBIT_TESTS_FUZZ_SERVER_SIDE_H
#define FEWBIT_TESTS_FUZZ_SERVER_SIDE_H

#include "decoder_server/core/mail.h"
#include "decoder_server/core/node_registry.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/mutate.h"

#include <uv.h>

enum { SIDE_CONNECTIONS = 4 };

typedef struct side_connection {
    uint64_t number; /* 0: down */
    bool is_admitted, is_paused, is_closing, wants_meter;
    traffic_counters traffic;
} side_connection;

typedef struct server_side {
    uv_loop_t loop;
    worker *worker;
    node_registry *node_registry;
    arena unpacked;
    side_connection connections[SIDE_CONNECTIONS];
    uint64_t last_number;
    void (*other)(const mail *m); /* records that are not the node listener's; may be NULL */
} server_side;

static server_side side;

static inline side_connection *side_find(uint64_t number) {
    for (int i = 0; i < SIDE_CONNECTIONS; i++) {
        if (side.connections[i].number == number) {
            return &side.connections[i];
        }
    }
    return NULL;
}

/* What the server sends must be messages, and no longer than a node takes. */
static inline void side_check_sent(const mail *m) {
    message sent;
    FUZZ_CHECK(m->length >= FRAME_HEADER && m->length <= FRAME_HEADER + FRAME_PAYLOAD_MAX, "%zu bytes", m->length);
    FUZZ_CHECK(message_unpack(m->bytes[3], m->bytes + FRAME_HEADER, m->length - FRAME_HEADER, &side.unpacked, &sent) ==
                   ERR_OK,
               "%s", err_text());
}

static inline void side_deliver(void *loop_side, const mail *m) {
    (void)loop_side;
    if (m->kind < MAIL_SEND || m->kind > MAIL_RESUME) {
        if (side.other) {
            side.other(m);
        }
        return;
    }
    side_connection *to = side_find(m->about);
    if (m->kind == MAIL_SEND) {
        side_check_sent(m);
    }
    if (!to) {
        return;
    }
    switch (m->kind) {
    case MAIL_ADMIT:
        FUZZ_CHECK(!to->is_admitted, "connection %llu is admitted twice", (unsigned long long)m->about);
        to->is_admitted = true;
        break;
    case MAIL_CLOSE:
        FUZZ_CHECK(m->length > 0 && m->bytes[m->length - 1] == '\0', "a reason without its zero");
        to->is_closing = true;
        break;
    case MAIL_ASK_METER:
        to->wants_meter = true;
        break;
    case MAIL_PAUSE:
    case MAIL_RESUME:
        to->is_paused = m->kind == MAIL_PAUSE;
        break;
    default:
        break;
    }
}

static inline void side_receive_nothing(void *role, const mail *m) {
    (void)role, (void)m;
}

static inline int64_t side_sleep(void *role) {
    (void)role;
    return -1;
}

static inline void side_free_worker(void) {
    worker_free(side.worker);
    uv_run(&side.loop, UV_RUN_DEFAULT);
    uv_loop_close(&side.loop);
    arena_free(&side.unpacked);
}

/* Once a process. */
static inline void side_start(void) {
    static const worker_role role = {side_receive_nothing, side_sleep, side_deliver, NULL, NULL};
    uv_loop_init(&side.loop);
    err e = worker_new(&side.worker, &side.loop, &role, NULL, NULL);
    e = e ? e : arena_init(&side.unpacked, message_arena_size(FRAME_PAYLOAD_MAX));
    FUZZ_CHECK(e == ERR_OK, "%s", err_text());
    atexit(side_free_worker);
}

static inline void side_take(uint32_t kind, uint64_t about, const void *bytes, size_t length) {
    void *copy = malloc(length ? length : 1); /* exactly as long, so that a sanitizer sees a byte too far */
    FUZZ_CHECK(copy, "no memory");
    if (length > 0) {
        memcpy(copy, bytes, length);
    }
    mail m = {kind, about, copy, length};
    FUZZ_CHECK(node_registry_take(side.node_registry, &m), "mail of kind %u was not for the peers", kind);
    free(copy);
}

static inline void side_go_down(side_connection *c) {
    uint64_t number = c->number;
    traffic_counters last = c->traffic;
    *c = (side_connection){0};
    side_take(MAIL_DOWN, number, &last, sizeof last);
}

/* Delivers what the peers said and does what it asks for, until nothing is left. True when it did something.
 */
static inline bool side_turn(void) {
    bool any = false;
    uv_run(&side.loop, UV_RUN_NOWAIT);
    for (int i = 0; i < SIDE_CONNECTIONS; i++) {
        side_connection *c = &side.connections[i];
        if (c->number && c->is_closing) {
            any = true;
            side_go_down(c);
        } else if (c->number && c->wants_meter) {
            any = true;
            c->wants_meter = false;
            side_take(MAIL_METER, c->number, &c->traffic, sizeof c->traffic);
        }
    }
    return any;
}

/* One frame as it comes from a link. The limits are the link's: a longer frame ends the connection. */
static inline void side_frame(uint8_t place, const fuzz_record *record) {
    side_connection *c = &side.connections[place % SIDE_CONNECTIONS];
    if (c->is_paused || record->type == MESSAGE_PING) {
        return;
    }
    if (!c->number) {
        *c = (side_connection){.number = ++side.last_number};
    }
    if (record->payload_length > (c->is_admitted ? (size_t)FRAME_PAYLOAD_MAX : (size_t)FRAME_FIRST_MAX)) {
        side_go_down(c);
        return;
    }
    traffic_counters_count(&c->traffic, TRAFFIC_IN, record->type, FRAME_HEADER + record->payload_length);
    side_take(MAIL_FRAME, c->number, record->payload - FRAME_HEADER, FRAME_HEADER + record->payload_length);
}

static inline void side_close_all(void) {
    for (int i = 0; i < SIDE_CONNECTIONS; i++) {
        if (side.connections[i].number) {
            side_go_down(&side.connections[i]);
        }
    }
    uv_run(&side.loop, UV_RUN_NOWAIT);
}

#endif
