/* TLS without memory: each allocation fails in turn, OpenSSL's among them. What is tried fails with a line, or works
 * all the same; nothing is lost, and OpenSSL's error queue is empty behind it. */
#include "tests/lib/certificates.h"
#include "tests/lib/torture.h"
#include "wire/tls.h"

static tls_context *server_context, *client_context;

static err make_context(void) {
    char certificate[FILE_PATH_MAX], key[FILE_PATH_MAX];
    tls_context *c = NULL;
    snprintf(certificate, sizeof certificate, "%s/server.pem", folder);
    snprintf(key, sizeof key, "%s/server-key.pem", folder);
    err e = tls_context_new(&c, &(tls_files){certificate, key, in_folder("ca.pem")});
    tls_context_free(c);
    assert_int_equal(ERR_peek_error(), 0);
    return e;
}

static err reload_context(void) {
    err e = tls_context_reload(server_context);
    assert_int_equal(ERR_peek_error(), 0);
    return e;
}

static err carry(tls *from, tls *to, dynbuf *way) {
    err e = tls_drain(from, way);
    e = e ? e : tls_feed(to, way->bytes, way->length);
    dynbuf_reset(way);
    return e ? e : tls_handshake(to);
}

/* Two ends that shake hands, and a message. */
static err talk(tls *server, tls *client, dynbuf *way) {
    uint8_t got[64];
    size_t length = 0;
    bool ended;
    err e = tls_handshake(client);
    for (int turn = 0; turn < 2; turn++) {
        e = e ? e : carry(client, server, way);
        e = e ? e : carry(server, client, way);
    }
    e = e ? e : tls_write(client, (const uint8_t *)"hello", 5, way);
    e = e ? e : tls_feed(server, way->bytes, way->length);
    e = e ? e : tls_read(server, got, sizeof got, &length, &ended);
    assert_true(e || (length == 5 && memcmp(got, "hello", 5) == 0));
    assert_true(e || (tls_speaks_for(server, "1") && tls_speaks_for(server, "3") && !tls_speaks_for(server, "2")));
    return e;
}

static err make_connection(void) {
    tls *server = NULL, *client = NULL;
    dynbuf way = dynbuf_make(1 << 24);
    err e = tls_new(&server, server_context, NULL);
    e = e ? e : tls_new(&client, client_context, "localhost");
    e = e ? e : talk(server, client, &way);
    tls_free(server);
    tls_free(client);
    dynbuf_free(&way);
    assert_int_equal(ERR_peek_error(), 0);
    return e;
}

TORTURE(make_context, OURS) /* OpenSSL makes 7,000 more, which take too long */
TORTURE(reload_context, OURS)
TORTURE(make_connection, ALL)

/* OpenSSL frees its buffers after each record and makes them anew, so that idle links cost little: a few a record. */
static void a_record_takes_no_memory_of_ours(void **state) {
    enum { ROUNDS = 200, BYTES = 20000, RECORDS = 2, A_RECORD = 8 };
    static uint8_t bytes[BYTES], got[BYTES];
    (void)state;
    memory_skip_if_sanitized();
    tls *server = NULL, *client = NULL;
    dynbuf way = dynbuf_make(1 << 24);
    assert_int_equal(tls_new(&server, server_context, NULL), ERR_OK);
    assert_int_equal(tls_new(&client, client_context, "localhost"), ERR_OK);
    assert_int_equal(talk(server, client, &way), ERR_OK);
    for (int round = 0; round < 2 * ROUNDS; round++) {
        if (round == ROUNDS) { /* warm */
            memory_count_start();
        }
        size_t length = 1, sum = 0;
        bool ended;
        dynbuf_reset(&way);
        err e = tls_write(client, bytes, BYTES, &way);
        e = e ? e : tls_feed(server, way.bytes, way.length);
        while (!e && length > 0) {
            e = tls_read(server, got, BYTES, &length, &ended);
            sum += length;
        }
        assert_int_equal(e, ERR_OK);
        assert_int_equal(sum, BYTES);
    }
    memory_count_stop();
    assert_int_equal(memory.calls[MEMORY_OURS], 0);
    assert_in_range(memory.calls[MEMORY_OF_LIBRARIES], 0, ROUNDS * RECORDS * A_RECORD);
    tls_free(server);
    tls_free(client);
    dynbuf_free(&way);
}

static int open_contexts(void **state) {
    if (make_folder(state)) {
        return -1;
    }
    identity ca = usual_certificates();
    identity_free(&ca);
    char certificate[FILE_PATH_MAX], key[FILE_PATH_MAX];
    snprintf(certificate, sizeof certificate, "%s/server.pem", folder);
    snprintf(key, sizeof key, "%s/server-key.pem", folder);
    err e = tls_context_new(&server_context, &(tls_files){certificate, key, in_folder("ca.pem")});
    snprintf(certificate, sizeof certificate, "%s/node.pem", folder);
    snprintf(key, sizeof key, "%s/node-key.pem", folder);
    return e || tls_context_new(&client_context, &(tls_files){certificate, key, in_folder("ca.pem")});
}

static int close_contexts(void **state) {
    tls_context_free(server_context);
    tls_context_free(client_context);
    return remove_folder(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(make_context_survives),
        cmocka_unit_test(reload_context_survives),
        cmocka_unit_test(make_connection_survives),
        cmocka_unit_test(a_record_takes_no_memory_of_ours),
    };
    return cmocka_run_group_tests(tests, open_contexts, close_contexts);
}
