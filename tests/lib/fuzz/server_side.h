/* The loop's side of a server under attack: what node_listener.c does with sockets, done with records of the input.
 *
 * The registry is the real one. A connection that is closed is heard no more, and lost in the next turn. */
#ifndef FEWBIT_TESTS_LIB_FUZZ_SERVER_SIDE_H
#define FEWBIT_TESTS_LIB_FUZZ_SERVER_SIDE_H

#include "decoder_server/core/node_registry.h"
#include "tests/lib/fuzz/check.h"
#include "tests/lib/fuzz/mutate.h"

enum { SIDE_CONNECTIONS = 4 };

typedef struct side_connection {
    uint64_t number; /* 0: down */
    bool is_admitted, is_paused, is_closing;
    traffic_counters traffic;
} side_connection;

typedef struct server_side {
    node_registry *node_registry;
    arena unpacked;
    bool is_ready;
    side_connection connections[SIDE_CONNECTIONS];
    uint64_t last_number;
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
static inline void side_send(void *context, uint64_t connection, message_type type, const ProtobufCMessage *body) {
    message sent;
    size_t length = message_frame_size(body);
    uint8_t *frame = malloc(length);
    (void)context, (void)connection;
    FUZZ_CHECK(frame && length >= FRAME_HEADER && length <= FRAME_HEADER + FRAME_PAYLOAD_MAX, "%zu bytes", length);
    message_pack_frame(type, body, frame);
    err e = message_unpack(frame[3], frame + FRAME_HEADER, length - FRAME_HEADER, &side.unpacked, &sent);
    FUZZ_CHECK(e == ERR_OK, "%s", err_text());
    free(frame);
}

static inline void side_admit(void *context, uint64_t connection, uint32_t heartbeat_ms) {
    side_connection *c = side_find(connection);
    (void)context;
    FUZZ_CHECK(c && !c->is_admitted && heartbeat_ms > 0, "connection %llu is admitted", (unsigned long long)connection);
    c->is_admitted = true;
}

static inline void side_close(void *context, uint64_t connection, const char *reason) {
    side_connection *c = side_find(connection);
    (void)context;
    FUZZ_CHECK(c && reason[0], "connection %llu is closed", (unsigned long long)connection);
    c->is_closing = true;
}

static inline void side_pause(void *context, uint64_t connection, bool paused) {
    side_connection *c = side_find(connection);
    (void)context;
    FUZZ_CHECK(c, "connection %llu is paused", (unsigned long long)connection);
    c->is_paused = paused;
}

static inline void side_add_traffic(void *context, uint64_t connection, traffic_counters *sum) {
    side_connection *c = side_find(connection);
    (void)context;
    FUZZ_CHECK(c, "the traffic of connection %llu", (unsigned long long)connection);
    traffic_counters_add(sum, &c->traffic);
}

static bool side_may_speak(void *context, uint64_t connection, const char *portion) {
    (void)context;
    (void)connection;
    (void)portion;
    return true;
}

static const node_registry_host side_host = {side_send,  side_may_speak,   side_admit, side_close,
                                             side_pause, side_add_traffic, NULL};

static inline void side_end(void) {
    arena_free(&side.unpacked);
}

/* Once a process. */
static inline void side_start(void) {
    err e = arena_init(&side.unpacked, message_arena_size(FRAME_PAYLOAD_MAX));
    FUZZ_CHECK(e == ERR_OK, "%s", err_text());
    side.is_ready = true;
    atexit(side_end);
}

static inline void side_go_down(side_connection *c) {
    uint64_t number = c->number;
    traffic_counters last = c->traffic;
    *c = (side_connection){0};
    node_registry_lost(side.node_registry, number, &last);
}

/* Connections that were closed go down. True when there was one. */
static inline bool side_turn(void) {
    bool any = false;
    for (int i = 0; i < SIDE_CONNECTIONS; i++) {
        if (side.connections[i].number && side.connections[i].is_closing) {
            any = true;
            side_go_down(&side.connections[i]);
        }
    }
    return any;
}

/* One frame as it comes from a link. The limits are the link's: a longer frame ends the connection. */
static inline void side_frame(uint8_t place, const fuzz_record *record) {
    side_connection *c = &side.connections[place % SIDE_CONNECTIONS];
    if (c->is_paused || c->is_closing || record->type == MESSAGE_PING) {
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
    size_t length = record->payload_length;
    uint8_t *copy = malloc(length ? length : 1); /* exactly as long, so that a sanitizer sees a byte too far */
    FUZZ_CHECK(copy, "no memory");
    memcpy(copy, record->payload, length);
    const frame f = {record->type, copy, length};
    node_registry_take(side.node_registry, c->number, &f);
    free(copy);
}

static inline void side_close_all(void) {
    for (int i = 0; i < SIDE_CONNECTIONS; i++) {
        if (side.connections[i].number) {
            side_go_down(&side.connections[i]);
        }
    }
}

/* What a role does with its nodes. */
static inline void side_tell(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    (void)context;
    node_registry_send(side.node_registry, portion, type, body);
}

static inline void side_drop(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    (void)context;
    node_registry_drop(side.node_registry, portion, reason, text);
}

#endif
