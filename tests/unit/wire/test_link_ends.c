/* How links begin and end: heartbeats, silence, closing, refusing. `down` comes once, whatever happens. */
#include "tests/lib/loopback.h"

#include <dlfcn.h>
#include <netdb.h>

/* ---- heartbeats ---- */

static uint64_t pings(link_end *e, traffic_direction d) {
    return traffic_of(e).frames[d][MESSAGE_PING];
}

static bool pings_have_arrived(void) {
    return pings(&here->client, TRAFFIC_OUT) == pings(&here->server, TRAFFIC_IN) &&
           pings(&here->server, TRAFFIC_OUT) == pings(&here->client, TRAFFIC_IN);
}

static void keep_idle_links_up(uint32_t heartbeat_ms) {
    connect_ends();
    link_set_heartbeat(here->client.link, heartbeat_ms);
    link_set_heartbeat(here->server.link, heartbeat_ms);
    uint64_t step = heartbeat_ms / 10 + 1, since = 0, seen = 0;
    for (uint64_t passed = 0; passed < 20 * (uint64_t)heartbeat_ms; passed += step) {
        pass_ms(step);
        await(here->client.downs + here->server.downs > 0 || pings_have_arrived());
        assert_int_equal(here->client.downs + here->server.downs, 0);
        since = pings(&here->client, TRAFFIC_OUT) > seen ? 0 : since + step;
        seen = pings(&here->client, TRAFFIC_OUT);
        assert_true(since <= heartbeat_ms + step);
    }
    assert_in_range(seen, 19, 40 + 2 * heartbeat_ms);
    assert_int_equal(here->client.received + here->server.received, 0); /* heartbeats are no frames to anyone */
}

static void heartbeats_keep_an_idle_link_up(void **state) {
    (void)state;
    keep_idle_links_up(20);
}

static void heartbeats_of_one_millisecond_do_too(void **state) {
    (void)state;
    keep_idle_links_up(1);
}

static void heartbeats_are_sent_only_when_nothing_else_is(void **state) {
    (void)state;
    connect_ends();
    link_set_heartbeat(here->client.link, 100);
    link_set_heartbeat(here->server.link, 100); /* only these keep the client up */
    for (size_t i = 1; i <= 40; i++) {
        pass_ms(25);
        send_frame(&here->client, 5);
        link_flush(here->client.link);
        await(here->server.received == i && pings_have_arrived());
    }
    assert_int_equal(pings(&here->client, TRAFFIC_OUT), 0);
    assert_in_range(pings(&here->server, TRAFFIC_OUT), 10, 20);
    pass_ms(100);
    assert_int_equal(pings(&here->client, TRAFFIC_OUT), 1);
}

static void a_silent_peer_is_dead_after_three_heartbeats(void **state) {
    (void)state;
    int fd = connect_raw();
    await(here->accepted == 1);
    link_set_heartbeat(here->server.link, 10);
    for (int ms = 0; ms < 30; ms++) {
        pass_ms(1);
        assert_int_equal(here->server.downs, 0);
    }
    pass_ms(6); /* the next look after more than 30 */
    await(here->server.downs == 1);
    assert_non_null(strstr(here->server.reason, "no sign of life"));
    close(fd);
}

static void silence_does_not_count_while_paused(void **state) {
    (void)state;
    int fd = connect_raw();
    await(here->accepted == 1);
    link_set_heartbeat(here->server.link, 10);
    pass_ms(20);
    link_pause(here->server.link);
    for (int ms = 0; ms < 200; ms++) {
        pass_ms(1);
    }
    assert_int_equal(here->server.downs, 0);
    link_resume(here->server.link);
    for (int ms = 0; ms < 10; ms++) {
        pass_ms(1);
    }
    assert_int_equal(here->server.downs, 0);
    pass_ms(6);
    await(here->server.downs == 1);
    close(fd);
}

static void a_link_that_brings_no_frame_in_time_is_dropped(void **state) {
    (void)state;
    int fd = connect_raw();
    await(here->accepted == 1);
    pass_ms(10000);
    assert_int_equal(here->server.downs, 0);
    pass_ms(1);
    await(here->server.downs == 1);
    close(fd);
}

/* The header of a frame of the full length, then its payload, a byte a second. */
static void bytes_that_are_no_frame_do_not_help(void **state) {
    (void)state;
    static const char bytes[20] = {0x00, FRAME_FIRST_MAX >> 8, 0x00, MESSAGE_HELLO};
    int fd = connect_raw();
    await(here->accepted == 1);
    for (size_t sent = 0; sent < sizeof bytes && here->server.downs == 0; sent++) {
        assert_int_equal(send(fd, bytes + sent, 1, MSG_NOSIGNAL), 1);
        await(traffic_of(&here->server).tcp_bytes[TRAFFIC_IN] == sent + 1);
        uv_run(&here->loop, UV_RUN_NOWAIT); /* takes the byte */
        pass_ms(1000);
        run_what_is_ready();
    }
    assert_int_equal(here->server.downs, 1);
    close(fd);
}

/* Who sends frames and is never let in must not keep a place. */
static void frames_alone_do_not_help(void **state) {
    (void)state;
    connect_ends();
    pass_ms(9000);
    send_frame(&here->client, 5);
    send_frame(&here->server, 5);
    link_flush(here->client.link);
    link_flush(here->server.link);
    await(here->server.received == 1 && here->client.received == 1);
    pass_ms(1000);
    assert_int_equal(here->client.downs + here->server.downs, 0);
    pass_ms(1);
    await(here->client.downs == 1 && here->server.downs == 1);
}

/* ---- closing ---- */

static void close_sends_what_is_waiting(void **state) {
    (void)state;
    connect_ends();
    raise_limits();
    for (int i = 0; i < 3; i++) {
        send_frame(&here->client, FRAME_PAYLOAD_MAX);
    }
    link_close(here->client.link, "done");
    link_close(here->client.link, "once more");
    assert_int_equal(here->client.downs, 0);
    uint8_t ping[FRAME_HEADER];
    frame_put_header(ping, MESSAGE_PING, 0);
    assert_int_equal(link_send(here->client.link, ping, sizeof ping), ERR_NETWORK);
    await(here->client.downs == 1 && here->server.downs == 1);
    assert_int_equal(here->server.received, 3);
    assert_int_equal(here->server.wrong, 0);
    assert_string_equal(here->client.reason, "done");
    assert_string_equal(here->server.reason, "closed by the other side");
}

/* A refusal must reach a peer that is in the middle of a long message. */
static void close_while_the_other_side_sends(bool is_paused) {
    connect_ends();
    raise_limits();
    if (is_paused) {
        link_pause(here->client.link);
    }
    for (int i = 0; i < 3; i++) {
        send_frame(&here->client, FRAME_PAYLOAD_MAX);
        send_frame(&here->server, FRAME_PAYLOAD_MAX);
    }
    link_flush(here->server.link);
    link_close(here->client.link, "done");
    await(here->client.downs == 1 && here->server.downs == 1);
    assert_string_equal(here->client.reason, "done");
    assert_int_equal(here->server.received, 3);
    assert_int_equal(here->server.wrong, 0);
}

static void close_sends_while_the_other_side_sends(void **state) {
    (void)state;
    close_while_the_other_side_sends(false);
}

static void close_of_a_paused_link_sends_what_is_waiting(void **state) {
    (void)state;
    close_while_the_other_side_sends(true);
}

/* A peer that says its last and goes while we are slow: our failing heartbeat must not cost what it said. */
static void what_a_peer_said_before_it_went_is_read(void **state) {
    (void)state;
    int fd = connect_raw();
    await(here->accepted == 1);
    link_pause(here->server.link);
    static const uint8_t frames[3 * FRAME_HEADER] = {0, 0, 0, MESSAGE_BEGIN, 0, 0, 0, MESSAGE_BEGIN,
                                                     0, 0, 0, MESSAGE_BEGIN};
    assert_int_equal(send(fd, frames, sizeof frames, MSG_NOSIGNAL), sizeof frames);
    await(traffic_of(&here->server).tcp_bytes[TRAFFIC_IN] == sizeof frames);
    const struct linger at_once = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(fd); /* resets the connection */
    uint8_t ping[FRAME_HEADER];
    frame_put_header(ping, MESSAGE_PING, 0);
    for (int turn = 0; turn < 10; turn++) {
        link_send(here->server.link, ping, sizeof ping);
        link_flush(here->server.link);
        run_what_is_ready();
    }
    assert_int_equal(here->server.downs, 0);
    link_resume(here->server.link);
    await(here->server.downs == 1);
    assert_int_equal(here->server.last.frames[TRAFFIC_IN][MESSAGE_BEGIN], 3);
}

static void a_pause_does_not_hold_up_a_close(void **state) {
    (void)state;
    connect_ends();
    send_frame(&here->client, 100);
    link_close(here->client.link, "done");
    link_pause(here->client.link); /* as for every link of a server that is behind */
    await(here->client.downs == 1 && here->server.downs == 1);
    assert_int_equal(here->server.received, 1);
}

static void close_gives_up_after_a_second(void **state) {
    (void)state;
    int fd = connect_raw();
    await(here->accepted == 1);
    for (int i = 0; i < 3; i++) {
        send_frame(&here->server, FRAME_PAYLOAD_MAX);
    }
    link_flush(here->server.link);
    await(link_backlog(here->server.link) > 0);
    link_set_heartbeat(here->server.link, 10000); /* must not stand in the way */
    link_close(here->server.link, "done");
    link_set_heartbeat(here->server.link, 20000); /* too late for that */
    pass_ms(999);
    run_what_is_ready();
    assert_int_equal(here->server.downs, 0);
    pass_ms(2);
    await(here->server.downs == 1);
    assert_string_equal(here->server.reason, "done");
    close(fd);
}

static void close_on_both_sides_at_once(void **state) {
    (void)state;
    connect_ends();
    send_frame(&here->client, 100);
    link_close(here->client.link, "client");
    link_close(here->server.link, "server");
    assert_int_equal(here->client.downs + here->server.downs, 0);
    await(here->client.downs == 1 && here->server.downs == 1);
    assert_string_equal(here->client.reason, "client");
    assert_string_equal(here->server.reason, "server");
}

static void an_end_within_a_frame_is_told(void **state) {
    (void)state;
    int fd = connect_raw();
    await(here->accepted == 1);
    assert_int_equal(send(fd, "\x05\x00\x00\x01zwei", 8, 0), 8);
    close(fd);
    await(here->server.downs == 1);
    assert_int_equal(here->server.received, 0);
    assert_string_equal(here->server.reason, "closed by the other side");
}

static void a_reset_connection_is_told(void **state) {
    (void)state;
    int fd = connect_raw();
    await(here->accepted == 1);
    const struct linger at_once = {1, 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(fd);
    await(here->server.downs == 1);
    assert_string_equal(here->server.reason, "connection reset by peer");
}

static void too_much_waiting_ends_the_link(void **state) {
    (void)state;
    enum { PIECE = (1 << 20) - FRAME_HEADER };
    connect_ends();
    for (int i = 0; i < LINK_BACKLOG_MAX >> 20; i++) {
        send_frame(&here->client, PIECE);
    }
    assert_int_equal(link_backlog(here->client.link), LINK_BACKLOG_MAX);
    uint8_t ping[FRAME_HEADER];
    frame_put_header(ping, MESSAGE_PING, 0);
    assert_int_equal(link_send(here->client.link, ping, sizeof ping), ERR_FULL);
    assert_int_equal(here->client.downs, 0); /* from the loop, not from inside the call */
    assert_int_equal(link_send(here->client.link, ping, sizeof ping), ERR_NETWORK);
    link_flush(here->client.link); /* all of these may still be called, and do nothing */
    link_pause(here->client.link);
    link_resume(here->client.link);
    link_close(here->client.link, "too late");
    await(here->client.downs == 1 && here->server.downs == 1);
    assert_string_equal(here->client.reason, "the peer does not take what it is sent");
    assert_int_equal(here->server.received, 0);
}

/* ---- connecting ---- */

static void a_closed_port_gives_down(void **state) {
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int bound = socket(AF_INET, SOCK_STREAM, 0); /* keeps the port from everybody, and does not listen */
    assert_int_equal(bind(bound, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(bound, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(link_connect(&here->loop, "127.0.0.1", ntohs(address.sin_port), client_tls, &end_events,
                                  &here->client, &here->client.link),
                     ERR_OK);
    assert_int_equal(here->client.downs, 0);
    await(here->client.downs == 1);
    assert_int_equal(here->client.ups, 0);
    char expected[80];
    snprintf(expected, sizeof expected, "cannot connect to 127.0.0.1:%u: connection refused", ntohs(address.sin_port));
    assert_string_equal(here->client.reason, expected);
    close(bound);
}

static void a_host_that_cannot_be_a_name_gives_down(void **state) {
    (void)state;
    char host[400]; /* longer than any name; found out within the call */
    memset(host, 'x', sizeof host - 1);
    host[sizeof host - 1] = '\0';
    assert_int_equal(link_connect(&here->loop, host, 1, client_tls, &end_events, &here->client, &here->client.link),
                     ERR_OK);
    assert_int_equal(here->client.downs, 0);
    await(here->client.downs == 1);
    assert_int_equal(here->client.ups, 0);
    assert_int_not_equal(strlen(here->client.reason), 0);
}

/* The program's own getaddrinfo stands before the C library's: a slow name server, when a test asks for one. */
static uv_sem_t lookup_begun, lookup_gate;
static atomic_bool lookups_are_slow;

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (lookups_are_slow) {
        uv_sem_post(&lookup_begun);
        uv_sem_wait(&lookup_gate);
    }
    return real(host, service, hints, found);
}

static void close_while_the_name_is_looked_up(void **state) {
    (void)state;
    assert_int_equal(uv_sem_init(&lookup_begun, 0) || uv_sem_init(&lookup_gate, 0), 0);
    lookups_are_slow = true;
    connect_client();
    await(uv_sem_trywait(&lookup_begun) == 0); /* from here on it cannot be called off */
    link_close(here->client.link, "never mind");
    for (int turn = 0; turn < 5; turn++) {
        uv_run(&here->loop, UV_RUN_NOWAIT);
    }
    uv_sem_post(&lookup_gate);
    lookups_are_slow = false;
    await(here->client.downs == 1);
    assert_string_equal(here->client.reason, "never mind");
    assert_int_equal(here->client.ups, 0);
    uv_sem_destroy(&lookup_begun);
    uv_sem_destroy(&lookup_gate);
}

/* While the name is looked up, while it connects, when it is up: after so many turns of the loop. */
static void close_at_every_stage_of_connecting(void **state) {
    (void)state;
    for (int turns = 0; turns < 8; turns++) {
        here->client = (link_end){.other = &here->server};
        connect_client();
        for (int i = 0; i < turns; i++) {
            run_what_is_ready();
        }
        if (turns == 7) {
            await(here->client.ups == 1);
        }
        link_close(here->client.link, "never mind");
        assert_int_equal(here->client.downs, 0);
        await(here->client.downs == 1);
        assert_string_equal(here->client.reason, "never mind");
    }
}

static void what_is_sent_before_the_link_is_up_is_sent_then(void **state) {
    (void)state;
    connect_client();
    send_frame(&here->client, 50);
    await(here->client.ups == 1 && here->accepted == 1);
    link_flush(here->client.link);
    await(here->server.received == 1);
    assert_int_equal(here->server.wrong, 0);
}

/* ---- the listener ---- */

typedef struct guest {
    wire_link *link;
    int downs;
} guest;

static guest guests[8];
static size_t guest_count;

static void on_guest_down(void *context, wire_link *l, const char *reason) {
    (void)l, (void)reason;
    guest *g = context;
    g->downs++;
    g->link = NULL;
}

static void on_guest(void *context, wire_link *l) {
    static const link_events events = {.down = on_guest_down};
    (void)context;
    guests[guest_count] = (guest){.link = l};
    link_attach(l, &events, &guests[guest_count++]);
}

static void one_link_too_many_is_closed_at_once(void **state) {
    (void)state;
    int fds[4];
    guest_count = 0;
    close_listener();
    assert_int_equal(listener_new(&here->listener, &here->loop, "127.0.0.1", 0, server_tls, 2, on_guest, NULL), ERR_OK);
    for (int i = 0; i < 3; i++) {
        fds[i] = connect_raw();
    }
    await(raw_is_over(fds[2]));
    assert_int_equal(guest_count, 2);
    assert_false(raw_is_over(fds[0]) || raw_is_over(fds[1]));
    close(fds[0]);
    await(guests[0].downs == 1);
    fds[3] = connect_raw(); /* there is room again */
    await(guest_count == 3);
    close_listener();
    for (size_t i = 1; i < guest_count; i++) {
        link_close(guests[i].link, "over");
    }
    await(raw_is_over(fds[1]) && raw_is_over(fds[3]));
    for (int i = 1; i < 4; i++) {
        close(fds[i]);
    }
    await(guests[1].downs == 1 && guests[2].downs == 1);
    assert_int_equal(guests[0].downs, 1);
}

static void a_closed_listener_takes_nobody_and_keeps_its_links(void **state) {
    (void)state;
    connect_ends();
    uint16_t port = listener_port(here->listener);
    link_end late = {.other = &late};
    close_listener();
    assert_int_equal(link_connect(&here->loop, "127.0.0.1", port, client_tls, &end_events, &late, &late.link), ERR_OK);
    await(late.downs == 1);
    assert_int_equal(late.ups, 0);
    send_frame(&here->client, 10);
    link_flush(here->client.link);
    await(here->server.received == 1);
}

static void a_listener_needs_a_place_that_is_free(void **state) {
    (void)state;
    listener *l = NULL;
    uint16_t taken = listener_port(here->listener);
    assert_int_equal(listener_new(&l, &here->loop, "127.0.0.1", taken, server_tls, 1, on_accepted, here), ERR_NETWORK);
    assert_non_null(strstr(err_text(), "address already in use"));
    assert_int_equal(listener_new(&l, &here->loop, "no address", 0, server_tls, 1, on_accepted, here), ERR_USAGE);
    assert_non_null(strstr(err_text(), "no address:0"));
    assert_null(l);
    assert_int_equal(listener_new(&l, &here->loop, "localhost", 0, server_tls, 1, on_accepted, here), ERR_OK);
    assert_int_not_equal(listener_port(l), 0);
    listener_close(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_LOOPBACK(heartbeats_keep_an_idle_link_up),
        ON_LOOPBACK(heartbeats_of_one_millisecond_do_too),
        ON_LOOPBACK(heartbeats_are_sent_only_when_nothing_else_is),
        ON_LOOPBACK(a_silent_peer_is_dead_after_three_heartbeats),
        ON_LOOPBACK(silence_does_not_count_while_paused),
        ON_LOOPBACK(a_link_that_brings_no_frame_in_time_is_dropped),
        IN_PLAIN_TEXT(bytes_that_are_no_frame_do_not_help) ON_LOOPBACK(frames_alone_do_not_help),
        ON_LOOPBACK(close_sends_what_is_waiting),
        ON_LOOPBACK(close_sends_while_the_other_side_sends),
        ON_LOOPBACK(close_of_a_paused_link_sends_what_is_waiting),
        IN_PLAIN_TEXT(what_a_peer_said_before_it_went_is_read) ON_LOOPBACK(a_pause_does_not_hold_up_a_close),
        IN_PLAIN_TEXT(close_gives_up_after_a_second) ON_LOOPBACK(close_on_both_sides_at_once),
        IN_PLAIN_TEXT(an_end_within_a_frame_is_told) ON_LOOPBACK(a_reset_connection_is_told),
        ON_LOOPBACK(too_much_waiting_ends_the_link),
        ON_LOOPBACK(a_closed_port_gives_down),
        ON_LOOPBACK(a_host_that_cannot_be_a_name_gives_down),
        ON_LOOPBACK(close_while_the_name_is_looked_up),
        ON_LOOPBACK(close_at_every_stage_of_connecting),
        ON_LOOPBACK(what_is_sent_before_the_link_is_up_is_sent_then),
        ON_LOOPBACK(one_link_too_many_is_closed_at_once),
        ON_LOOPBACK(a_closed_listener_takes_nobody_and_keeps_its_links),
        ON_LOOPBACK(a_listener_needs_a_place_that_is_free),
    };
    return cmocka_run_group_tests(tests, LOOPBACK_SET_UP, LOOPBACK_TEAR_DOWN);
}
