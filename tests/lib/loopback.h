/* For tests of links: a libuv loop with a listener, a link to it over loopback TCP, and a clock that stands still.
 *
 * Time moves only when a test moves it, so nothing depends on how fast the machine is: a test waits for an event
 * (await), with a deadline in real time. Sockets are real ones. */
#ifndef FEWBIT_TESTS_LIB_LOOPBACK_H
#define FEWBIT_TESTS_LIB_LOOPBACK_H

#include "wire/listener.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

/* What a program of tests sets up for all of them. */
#ifndef LOOPBACK_SET_UP
#define LOOPBACK_SET_UP NULL
#define LOOPBACK_TEAR_DOWN NULL
#endif

enum { LOOPBACK_DEADLINE_MS = 20000, LOOPBACK_FRAMES_MAX = 1000 };

/* ---- the clock: the program's own clock_gettime stands before the C library's ---- */

static _Atomic uint64_t standing_ns = 1000000000;

int clock_gettime(clockid_t which, struct timespec *now) {
    if (which == CLOCK_REALTIME) {
        return (int)syscall(SYS_clock_gettime, which, now);
    }
    uint64_t ns = standing_ns;
    *now = (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    return 0;
}

static uint64_t real_ms(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- two ends of a link ---- */

/* What one end saw. Frame number k of a sender has type 1 + k % 15 and bytes made from k, so the receiver knows the
 * frames and their order; their lengths stand in the other end's `lengths`. */
typedef struct link_end {
    wire_link *link;
    struct link_end *other;
    size_t lengths[LOOPBACK_FRAMES_MAX];
    size_t sent, received;
    size_t wrong; /* frames that were not the one expected */
    int ups, downs;
    char reason[256];
    traffic_counters last; /* read in `down` */
    bool has_failed_tls;
    bool one_by_one; /* pauses at every frame */
    size_t limit;    /* set at the first frame, when not 0 */
} link_end;

typedef struct loopback {
    uv_loop_t loop;
    listener *listener;
    size_t accepted;
    link_end client, server; /* server: of the link accepted last */
    uint8_t *bytes;          /* of one frame */
} loopback;

static loopback *here;                       /* the running test's */
static tls_context *server_tls, *client_tls; /* NULL: plain text; set before a test opens its loopback */

static inline uint8_t loopback_byte(size_t number, size_t i) {
    return (uint8_t)(number * 13 + i * 7 + (i >> 8));
}

static void on_end_up(void *context, wire_link *l) {
    link_end *e = context;
    (void)l;
    e->ups++;
}

static void on_end_frame(void *context, wire_link *l, const frame *f) {
    link_end *e = context;
    size_t number = e->received++;
    bool is_right = f->type == 1 + number % 15 && number < e->other->sent && f->length == e->other->lengths[number];
    for (size_t i = 0; is_right && i < f->length; i++) {
        is_right = f->payload[i] == loopback_byte(number, i);
    }
    e->wrong += !is_right;
    if (e->limit) {
        link_set_limit(l, e->limit);
    }
    if (e->one_by_one) {
        link_pause(l);
    }
}

static void on_end_down(void *context, wire_link *l, const char *reason) {
    link_end *e = context;
    e->downs++;
    strncpy(e->reason, reason, sizeof e->reason - 1);
    link_read_traffic(l, &e->last);
    e->has_failed_tls = link_has_failed_tls(l);
    e->link = NULL;
}

static const link_events end_events = {on_end_up, on_end_frame, on_end_down};

static void on_accepted(void *context, wire_link *l) {
    loopback *w = context;
    w->accepted++;
    w->server.link = l;
    link_attach(l, &end_events, &w->server);
}

/* ---- running ---- */

static void run_what_is_ready(void) {
    uv_run(&here->loop, UV_RUN_NOWAIT);
    if (uv_backend_timeout(&here->loop) != 0) {
        struct pollfd ready = {.fd = uv_backend_fd(&here->loop), .events = POLLIN};
        poll(&ready, 1, 10);
    }
}

/* Runs the loop until the condition holds. */
#define await(condition)                                                                                               \
    do {                                                                                                               \
        uint64_t await_start = real_ms();                                                                              \
        while (!(condition)) {                                                                                         \
            if (real_ms() - await_start > LOOPBACK_DEADLINE_MS) {                                                      \
                fail_msg("waited in vain for: %s", #condition);                                                        \
            }                                                                                                          \
            run_what_is_ready();                                                                                       \
        }                                                                                                              \
    } while (0)

/* Moves the clock, and gives every timer that is due its turn. */
static inline void pass_ms(uint64_t ms) {
    standing_ns += ms * 1000000;
    uv_run(&here->loop, UV_RUN_NOWAIT);
}

static inline void send_frame(link_end *e, size_t length) {
    size_t number = e->sent;
    assert_non_null(e->link);
    assert_true(number < LOOPBACK_FRAMES_MAX && length <= FRAME_PAYLOAD_MAX + 1);
    frame_put_header(here->bytes, (uint8_t)(1 + number % 15), length);
    for (size_t i = 0; i < length; i++) {
        here->bytes[FRAME_HEADER + i] = loopback_byte(number, i);
    }
    e->lengths[e->sent++] = length;
    assert_int_equal(link_send(e->link, here->bytes, FRAME_HEADER + length), ERR_OK);
}

static inline traffic_counters traffic_of(link_end *e) {
    traffic_counters m;
    assert_non_null(e->link);
    link_read_traffic(e->link, &m);
    return m;
}

/* ---- making and ending ---- */

static int open_loopback(void **state) {
    loopback *w = calloc(1, sizeof *w);
    *state = here = w;
    w->bytes = malloc(FRAME_HEADER + FRAME_PAYLOAD_MAX + 1);
    w->client.other = &w->server;
    w->server.other = &w->client;
    return !w->bytes || uv_loop_init(&w->loop) ||
           listener_new(&w->listener, &w->loop, "127.0.0.1", 0, server_tls, 8, on_accepted, w);
}

static inline void connect_client(void) {
    assert_int_equal(link_connect(&here->loop, "127.0.0.1", listener_port(here->listener), client_tls, &end_events,
                                  &here->client, &here->client.link),
                     ERR_OK);
}

/* A client and a server that both know they are connected. */
static inline void connect_ends(void) {
    connect_client();
    await(here->client.ups == 1 && here->accepted == 1);
}

static inline void raise_limits(void) {
    link_set_limit(here->client.link, FRAME_PAYLOAD_MAX);
    link_set_limit(here->server.link, FRAME_PAYLOAD_MAX);
}

/* A connected socket that is no link: it says only what a test writes. The caller closes it. */
static inline int connect_raw(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(listener_port(here->listener))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Whether the other side has ended the connection; never waits. */
static inline bool raw_is_over(int fd) {
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static inline void close_listener(void) {
    if (here->listener) {
        listener_close(here->listener);
        here->listener = NULL;
    }
}

/* Closes what a test left open. Every link must be down once, and the loop must close clean. */
static int close_loopback(void **state) {
    loopback *w = *state;
    close_listener();
    if (w->client.link) {
        link_close(w->client.link, "the test is over");
    }
    if (w->server.link) {
        link_close(w->server.link, "the test is over");
    }
    uint64_t start = real_ms();
    while (uv_loop_alive(&w->loop) && real_ms() - start < LOOPBACK_DEADLINE_MS) {
        pass_ms(100); /* nobody may take what a closing link has to send */
    }
    int unclean = uv_loop_close(&w->loop);
    unclean = unclean || w->client.link || w->server.link || w->client.downs > 1 || w->server.downs > (int)w->accepted;
    free(w->bytes);
    free(w);
    return unclean;
}

#define ON_LOOPBACK(test) cmocka_unit_test_setup_teardown(test, open_loopback, close_loopback)

/* A test that means nothing over TLS. */
#ifndef IN_PLAIN_TEXT
#define IN_PLAIN_TEXT(test) ON_LOOPBACK(test),
#endif

#endif
