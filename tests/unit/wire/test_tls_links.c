/* Links over TLS: what only they do. The links' own tests run over TLS too (test_link_tls.c, test_link_ends_tls.c). */
#include "tests/lib/loopback_tls.h"

static void a_link_knows_its_portions(void **state) {
    (void)state;
    connect_ends();
    send_frame(&here->client, 10);
    link_flush(here->client.link);
    await(here->server.received == 1);
    static const char *const names[] = {"0", "1", "2", "3", "13", "", "1,3"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(link_speaks_for(here->server.link, names[i]), i == 1 || i == 3);
    }
}

static uint64_t all_frames(const traffic_counters *m, traffic_direction d) {
    uint64_t sum = 0;
    for (int type = 0; type < MESSAGE_TYPES; type++) {
        sum += m->frame_bytes[d][type];
    }
    return sum;
}

static void the_meter_counts_tls(void **state) {
    (void)state;
    enum { HANDSHAKE_MAX = 4000, RECORD_OVERHEAD = 22, RECORD = 16384 };
    connect_ends();
    raise_limits();
    for (size_t i = 0; i < 100; i++) {
        send_frame(&here->client, i * i * 20);
    }
    link_flush(here->client.link);
    await(here->server.received == 100);
    traffic_counters of_client = traffic_of(&here->client), of_server = traffic_of(&here->server);
    uint64_t out = of_client.tls_bytes[TRAFFIC_OUT], frames = all_frames(&of_client, TRAFFIC_OUT);
    assert_int_equal(out, of_client.tcp_bytes[TRAFFIC_OUT] - of_client.tcp_retransmitted);
    assert_int_equal(of_client.tls_bytes[TRAFFIC_IN], of_client.tcp_bytes[TRAFFIC_IN]);
    assert_int_equal(out, of_server.tls_bytes[TRAFFIC_IN]);
    assert_int_equal(of_client.tls_bytes[TRAFFIC_IN], of_server.tls_bytes[TRAFFIC_OUT]);
    assert_in_range(out, frames + RECORD_OVERHEAD, frames + HANDSHAKE_MAX + (frames / RECORD + 2) * RECORD_OVERHEAD);
}

static void a_reload_leaves_links_alone(void **state) {
    (void)state;
    connect_ends();
    assert_int_equal(tls_context_reload(server_tls), ERR_OK);
    assert_int_equal(tls_context_reload(client_tls), ERR_OK);
    send_frame(&here->client, 1000);
    send_frame(&here->server, 1000);
    link_flush(here->client.link);
    link_flush(here->server.link);
    await(here->server.received == 1 && here->client.received == 1);
    assert_int_equal(here->server.wrong + here->client.wrong, 0);
}

static void raw_write(raw_tls *r, const void *bytes, int length) {
    assert_int_equal(SSL_write(r->ssl, bytes, length), length);
}

static void assert_server_down(const char *reason, bool by_tls) {
    await(here->server.downs == 1);
    if (!strstr(here->server.reason, reason)) {
        fail_msg("'%s' does not tell '%s'", here->server.reason, reason);
    }
    assert_int_equal(here->server.has_failed_tls, by_tls);
    assert_int_equal(ERR_peek_error(), 0);
}

static void no_certificate_no_link(void **state) {
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        here->server = (link_end){.other = &here->client};
        raw_tls r = raw_client(false, versions[i]);
        await(raw_connects(&r) && raw_is_ended(&r));
        raw_free(&r);
        assert_server_down("the node shows no certificate", true);
        assert_int_equal(here->server.received, 0);
    }
}

static void old_versions_are_not_spoken(void **state) {
    (void)state;
    raw_tls r = raw_client(true, TLS1_1_VERSION);
    await(raw_connects(&r));
    raw_free(&r);
    assert_server_down("unsupported protocol", true);
}

static void both_versions_carry_frames(void **state) {
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        here->server = (link_end){.other = &here->client};
        here->client.sent = 1;
        raw_tls r = raw_client(true, versions[i]);
        await(raw_connects(&r));
        raw_write(&r, "\0\0\0\1", 4);
        await(here->server.received == 1);
        assert_int_equal(here->server.wrong, 0);
        SSL_shutdown(r.ssl);
        assert_server_down("closed by the other side", false);
        raw_free(&r);
    }
}

static void nothing_is_negotiated_again(void **state) {
    (void)state;
    raw_tls r = raw_client(true, TLS1_2_VERSION);
    await(raw_connects(&r));
    raw_write(&r, "\0\0\0\1", 4);
    await(here->server.received == 1);
    SSL_renegotiate(r.ssl);
    char byte;
    await(SSL_get_error(r.ssl, SSL_do_handshake(r.ssl)) == SSL_ERROR_SSL ||
          SSL_get_error(r.ssl, SSL_read(r.ssl, &byte, 1)) == SSL_ERROR_SSL);
    raw_free(&r);
    await(here->server.downs == 1);
}

static void a_stream_cut_within_a_record_is_told(void **state) {
    (void)state;
    raw_tls r = raw_client(true, TLS1_3_VERSION);
    await(raw_connects(&r));
    raw_write(&r, "\0\0\0\1", 4);
    await(here->server.received == 1);
    assert_int_equal(send(r.fd, "\x17\x03\x03\x00\x40half", 9, 0), 9);
    shutdown(r.fd, SHUT_WR);
    assert_server_down("cut off by the other side", false);
    raw_free(&r);
}

static void a_record_that_was_changed_is_told(void **state) {
    (void)state;
    raw_tls r = raw_client(true, TLS1_3_VERSION);
    await(raw_connects(&r));
    raw_write(&r, "\0\0\0\1", 4);
    await(here->server.received == 1);
    assert_int_equal(send(r.fd, "\x17\x03\x03\x00\x14twenty bytes of this", 25, 0), 25);
    await(raw_is_ended(&r));
    raw_free(&r);
    assert_server_down("bad record mac", true);
}

/* Said by somebody who does not speak TLS, or means harm; the link must end by it at once. */
static void what_is_no_tls_is_told(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        const char *reason;
    } cases[] = {
        {"\x9a\0\0\x01\x08\x01\x12\x05plain", 13, "the other side does not speak TLS (plain text?)"},
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, "the other side does not speak TLS (plain text?)"},
        {"\x16\x03\x01\xff\xff\x01\x02\x03\x04", 9, "TLS with the node failed"},
        {"\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00", 10, "TLS with the node failed"},
        {"\x15\x03\x01\x00\x02\x02\x30", 7, "TLS with the node failed"},
        {"\x17\x03\x03\x00\x05hello", 10, "the other side does not speak TLS (plain text?)"},
        {"\x14\x03\x03\x00\x01\x01", 6, "the other side does not speak TLS (plain text?)"},
        {"\0\0\0\0\0\0\0\0", 8, "the other side does not speak TLS (plain text?)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        here->server = (link_end){.other = &here->client};
        int fd = connect_raw();
        assert_int_equal(send(fd, cases[i].bytes, cases[i].length, 0), cases[i].length);
        await(here->server.link && traffic_of(&here->server).tls_bytes[TRAFFIC_IN] == cases[i].length);
        uint8_t answer[7];
        await(recv(fd, answer, sizeof answer, MSG_DONTWAIT | MSG_PEEK) >= 0);
        close(fd);
        assert_server_down(cases[i].reason, true);
    }
}

static void garbage_is_told(void **state) {
    (void)state;
    unsigned seed = 1;
    for (int round = 0; round < 200; round++) {
        here->server = (link_end){.other = &here->client};
        uint8_t bytes[600] = {22, 3, 1};
        for (size_t i = round % 2 ? 3 : 0; i < sizeof bytes; i++) {
            bytes[i] = (uint8_t)(rand_r(&seed) >> 8);
        }
        int fd = connect_raw();
        assert_int_equal(send(fd, bytes, sizeof bytes, MSG_NOSIGNAL), sizeof bytes);
        shutdown(fd, SHUT_WR);
        await(here->server.downs == 1);
        assert_int_equal(here->server.received, 0);
        close(fd);
    }
}

static void a_peer_that_leaves_within_the_handshake_is_told(void **state) {
    (void)state;
    int fd = connect_raw();
    await(here->accepted == 1);
    assert_int_equal(send(fd, "\x16\x03\x01\x02", 4, 0), 4);
    close(fd);
    assert_server_down("closed by the other side during the TLS handshake", false);
}

static void a_plain_node_at_a_tls_server_is_told(void **state) {
    (void)state;
    tls_context *kept = client_tls;
    client_tls = NULL;
    connect_client();
    client_tls = kept;
    await(here->client.ups == 1 && here->accepted == 1);
    send_frame(&here->client, 300);
    link_flush(here->client.link);
    await(here->client.downs == 1 && here->server.downs == 1);
    assert_server_down("the other side does not speak TLS (plain text?)", true);
    assert_non_null(strstr(here->client.reason, "the other side speaks TLS, this one plain text"));
    assert_true(here->client.has_failed_tls);
}

static void a_tls_node_at_a_plain_server_is_told(void **state) {
    (void)state;
    close_listener();
    assert_int_equal(listener_new(&here->listener, &here->loop, "127.0.0.1", 0, NULL, 8, on_accepted, here), ERR_OK);
    connect_client();
    await(here->client.downs == 1 && here->server.downs == 1);
    assert_server_down("the other side speaks TLS, this one plain text", true);
    assert_int_equal(here->client.ups, 0);
    assert_non_null(strstr(here->client.reason, "during the TLS handshake (does it speak TLS?)"));
    assert_true(here->client.has_failed_tls);
}

/* Both are told over the links as they are without them. */
static void a_refused_node_is_told(void **state) {
    (void)state;
    identity other = certify(NULL, &(wish){"link-ca", NULL, NULL, -DAY, DAY, NULL});
    certify_files(&other, &(wish){"guest", "URI:fewbit:portion:1", "clientAuth", -DAY, DAY, NULL});
    tls_context *kept = client_tls;
    client_tls = context_of("guest", "ca");
    connect_client();
    await(here->client.downs == 1 && here->server.downs == 1);
    assert_server_down("the node's certificate is refused: CN=guest", true);
    assert_string_equal(here->client.reason, "the other side refuses our certificate: it does not know its CA");
    assert_true(here->client.has_failed_tls);
    tls_context_free(client_tls);
    client_tls = kept;
    identity_free(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_LOOPBACK(a_link_knows_its_portions),
        ON_LOOPBACK(the_meter_counts_tls),
        ON_LOOPBACK(a_reload_leaves_links_alone),
        ON_LOOPBACK(no_certificate_no_link),
        ON_LOOPBACK(old_versions_are_not_spoken),
        ON_LOOPBACK(both_versions_carry_frames),
        ON_LOOPBACK(nothing_is_negotiated_again),
        ON_LOOPBACK(a_stream_cut_within_a_record_is_told),
        ON_LOOPBACK(a_record_that_was_changed_is_told),
        ON_LOOPBACK(what_is_no_tls_is_told),
        ON_LOOPBACK(garbage_is_told),
        ON_LOOPBACK(a_peer_that_leaves_within_the_handshake_is_told),
        ON_LOOPBACK(a_plain_node_at_a_tls_server_is_told),
        ON_LOOPBACK(a_tls_node_at_a_plain_server_is_told),
        ON_LOOPBACK(a_refused_node_is_told),
    };
    return cmocka_run_group_tests(tests, open_tls, close_tls);
}
