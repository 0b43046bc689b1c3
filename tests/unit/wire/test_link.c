/* Links while they live: frames both ways over real TCP, pausing, what the traffic counters count. */
#include "tests/lib/loopback.h"

static void frames_pass_both_ways_in_order(void **state) {
    (void)state;
    connect_ends();
    for (size_t i = 0; i < 500; i++) {
        send_frame(&here->client, i * 37 % (FRAME_FIRST_MAX + 1));
        send_frame(&here->server, i * 91 % 300);
        if (i % 7 == 0) {
            link_flush(here->client.link);
        }
        if (i % 50 == 0) {
            link_flush(here->server.link);
            run_what_is_ready();
        }
    }
    link_flush(here->client.link);
    link_flush(here->server.link);
    await(here->client.received == 500 && here->server.received == 500);
    assert_int_equal(here->client.wrong + here->server.wrong, 0);
    assert_int_equal(here->client.ups, 1);
    assert_int_equal(here->client.downs + here->server.downs, 0);
}

static void frames_wait_for_a_flush(void **state) {
    (void)state;
    connect_ends();
    send_frame(&here->client, 100);
    send_frame(&here->client, 0);
    assert_int_equal(link_backlog(here->client.link), 100 + 2 * FRAME_HEADER);
    link_flush(here->client.link);
    assert_int_equal(link_backlog(here->client.link), 0);
    await(here->server.received == 2);
}

static void frames_of_the_largest_size_pass(void **state) {
    (void)state;
    connect_ends();
    raise_limits();
    for (int i = 0; i < 2; i++) {
        send_frame(&here->client, FRAME_PAYLOAD_MAX);
        send_frame(&here->client, 1);
        send_frame(&here->server, FRAME_PAYLOAD_MAX);
    }
    link_flush(here->client.link);
    link_flush(here->server.link);
    await(here->server.received == 4 && here->client.received == 2);
    assert_int_equal(here->client.wrong + here->server.wrong, 0);
}

static void a_first_frame_may_be_so_long_and_no_longer(void **state) {
    (void)state;
    connect_ends();
    send_frame(&here->client, FRAME_FIRST_MAX);
    link_flush(here->client.link);
    await(here->server.received == 1);
    assert_int_equal(here->server.wrong, 0);
    send_frame(&here->client, FRAME_FIRST_MAX + 1);
    link_flush(here->client.link);
    await(here->server.downs == 1 && here->client.downs == 1);
    assert_int_equal(here->server.received, 1);
    assert_non_null(strstr(here->server.reason, "claims 4097 bytes, at most 4096"));
}

static void the_limit_can_be_raised_at_the_first_frame(void **state) {
    (void)state;
    connect_ends();
    here->server.limit = 10000;
    send_frame(&here->client, 10);
    send_frame(&here->client, 10000); /* in the same bytes as the first */
    link_flush(here->client.link);
    await(here->server.received == 2);
    send_frame(&here->client, 10001);
    link_flush(here->client.link);
    await(here->server.downs == 1);
    assert_int_equal(here->server.received, 2);
    assert_int_equal(here->server.wrong, 0);
}

static void a_paused_link_slows_its_sender_and_loses_nothing(void **state) {
    (void)state;
    enum { PIECE = 1 << 18 };
    connect_ends();
    raise_limits();
    link_pause(here->server.link);
    while (link_backlog(here->client.link) < 4 * PIECE) { /* the kernel takes less and less, and then nothing */
        send_frame(&here->client, PIECE);
        link_flush(here->client.link);
        run_what_is_ready();
        assert_int_equal(here->server.received, 0);
    }
    size_t waiting = link_backlog(here->client.link);
    for (int i = 0; i < 20; i++) {
        uv_run(&here->loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(here->server.received, 0);
    assert_true(link_backlog(here->client.link) <= waiting);
    link_resume(here->server.link);
    await(here->server.received == here->client.sent);
    assert_int_equal(here->server.wrong, 0);
    assert_int_equal(link_backlog(here->client.link), 0);
}

static void a_link_can_be_paused_at_every_frame(void **state) {
    (void)state;
    connect_ends();
    here->server.one_by_one = true;
    for (size_t i = 0; i < 30; i++) {
        send_frame(&here->client, i * 150 % 4000);
    }
    link_flush(here->client.link);
    await(here->server.received == 1);
    for (size_t have = 1; have < 30; have++) {
        for (int turn = 0; turn < 3; turn++) {
            uv_run(&here->loop, UV_RUN_NOWAIT);
        }
        assert_int_equal(here->server.received, have);
        link_resume(here->server.link);
        await(here->server.received > have);
        assert_int_equal(here->server.received, have + 1);
    }
    assert_int_equal(here->server.wrong, 0);
}

static uint64_t frame_bytes_of(const traffic_counters *m, traffic_direction d) {
    uint64_t sum = 0;
    for (int type = 0; type < MESSAGE_TYPES; type++) {
        sum += m->frame_bytes[d][type];
    }
    return sum;
}

static void the_meter_agrees_with_the_kernel(void **state) {
    (void)state;
    connect_ends();
    raise_limits();
    for (size_t i = 0; i < 100; i++) {
        send_frame(&here->client, i * i * 20);
        send_frame(&here->server, i);
    }
    link_flush(here->client.link);
    link_flush(here->server.link);
    await(here->client.received == 100 && here->server.received == 100);
    traffic_counters of_client = traffic_of(&here->client), of_server = traffic_of(&here->server);
    assert_int_equal(of_client.frames[TRAFFIC_OUT][1], 7); /* numbers 0, 15, ... 90 */
    assert_int_equal(of_server.frames[TRAFFIC_IN][15], 6);
    assert_memory_equal(of_client.frame_bytes[TRAFFIC_OUT], of_server.frame_bytes[TRAFFIC_IN],
                        sizeof of_client.frame_bytes[TRAFFIC_OUT]);
    assert_memory_equal(of_client.frame_bytes[TRAFFIC_IN], of_server.frame_bytes[TRAFFIC_OUT],
                        sizeof of_client.frame_bytes[TRAFFIC_IN]);
    assert_int_equal(frame_bytes_of(&of_client, TRAFFIC_OUT),
                     of_client.tcp_bytes[TRAFFIC_OUT] - of_client.tcp_retransmitted);
    assert_int_equal(frame_bytes_of(&of_client, TRAFFIC_IN), of_client.tcp_bytes[TRAFFIC_IN]);
    assert_int_equal(frame_bytes_of(&of_server, TRAFFIC_OUT),
                     of_server.tcp_bytes[TRAFFIC_OUT] - of_server.tcp_retransmitted);
    assert_int_equal(frame_bytes_of(&of_server, TRAFFIC_IN), of_server.tcp_bytes[TRAFFIC_IN]);
    assert_true(of_client.tcp_segments[TRAFFIC_OUT] > 0 && of_client.tcp_segments[TRAFFIC_IN] > 0);
}

static void the_meter_of_a_link_that_ended_is_complete(void **state) {
    (void)state;
    connect_ends();
    send_frame(&here->client, 1000);
    link_close(here->client.link, "done");
    await(here->client.downs == 1 && here->server.downs == 1);
    const traffic_counters *of_client = &here->client.last,
                           *of_server = &here->server.last; /* read in `down`, not before */
    assert_int_equal(of_client->tcp_bytes[TRAFFIC_OUT] - of_client->tcp_retransmitted, FRAME_HEADER + 1000);
    assert_in_range(of_server->tcp_bytes[TRAFFIC_IN], FRAME_HEADER + 1000,
                    FRAME_HEADER + 1001); /* the kernel counts the end of the stream as a byte */
    assert_int_equal(of_server->frame_bytes[TRAFFIC_IN][1], FRAME_HEADER + 1000);
}

static void addresses_are_those_of_the_other_side(void **state) {
    (void)state;
    connect_ends();
    char expected[32];
    snprintf(expected, sizeof expected, "127.0.0.1:%u", listener_port(here->listener));
    assert_string_equal(link_address(here->client.link), expected);
    assert_memory_equal(link_address(here->server.link), "127.0.0.1:", 10);
    assert_string_not_equal(link_address(here->server.link), expected);
}

static void links_go_over_ipv6_too(void **state) {
    (void)state;
    listener *six;
    if (listener_new(&six, &here->loop, "::1", 0, server_tls, 8, on_accepted, here)) {
        skip(); /* a machine without IPv6 */
    }
    assert_int_equal(link_connect(&here->loop, "::1", listener_port(six), client_tls, &end_events, &here->client,
                                  &here->client.link),
                     ERR_OK);
    await(here->client.ups == 1 && here->accepted == 1);
    char expected[32];
    snprintf(expected, sizeof expected, "[::1]:%u", listener_port(six));
    assert_string_equal(link_address(here->client.link), expected);
    listener_close(six);
    send_frame(&here->client, 10); /* its links stay */
    link_flush(here->client.link);
    await(here->server.received == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_LOOPBACK(frames_pass_both_ways_in_order),
        ON_LOOPBACK(frames_wait_for_a_flush),
        ON_LOOPBACK(frames_of_the_largest_size_pass),
        ON_LOOPBACK(a_first_frame_may_be_so_long_and_no_longer),
        ON_LOOPBACK(the_limit_can_be_raised_at_the_first_frame),
        ON_LOOPBACK(a_paused_link_slows_its_sender_and_loses_nothing),
        ON_LOOPBACK(a_link_can_be_paused_at_every_frame),
        IN_PLAIN_TEXT(the_meter_agrees_with_the_kernel) IN_PLAIN_TEXT(the_meter_of_a_link_that_ended_is_complete)
            ON_LOOPBACK(addresses_are_those_of_the_other_side),
        ON_LOOPBACK(links_go_over_ipv6_too),
    };
    return cmocka_run_group_tests(tests, LOOPBACK_SET_UP, LOOPBACK_TEAR_DOWN);
}
