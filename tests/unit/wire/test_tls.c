/* TLS between two ends without sockets, bytes carried by hand: who is let in as what, who is not, and what both are
 * told; and the files that it all comes from. */
#include "tests/lib/loopback_tls.h"

#include "base/log.h"

/* ---- two ends without sockets ---- */

typedef struct tls_side {
    tls *tls;
    dynbuf out;
    bool has_failed;
    char said[512];
} tls_side;

static void open_side(tls_side *s, tls_context *c, const char *host) {
    *s = (tls_side){.out = dynbuf_make(1 << 24)};
    assert_int_equal(tls_new(&s->tls, c, host), ERR_OK);
}

static void close_side(tls_side *s) {
    tls_free(s->tls);
    dynbuf_free(&s->out);
}

static bool note(tls_side *s, err e) {
    if (e && !s->has_failed) {
        s->has_failed = true;
        snprintf(s->said, sizeof s->said, "%s", err_text());
    }
    return e == ERR_OK;
}

static void act(tls_side *s) {
    uint8_t byte;
    size_t length;
    bool ended;
    if (!s->has_failed && note(s, tls_handshake(s->tls)) && tls_is_ready(s->tls)) {
        note(s, tls_read(s->tls, &byte, 1, &length, &ended)); /* an alert may have come */
    }
}

/* What `from` has to say reaches `to`, which acts on it. True when anything was said. */
static bool carry(tls_side *from, tls_side *to) {
    assert_int_equal(tls_drain(from->tls, &from->out), ERR_OK);
    bool any = from->out.length > 0;
    assert_int_equal(tls_feed(to->tls, from->out.bytes, from->out.length), ERR_OK);
    dynbuf_reset(&from->out);
    if (any) {
        act(to);
    }
    return any;
}

/* Contexts of both ends, and the host that the client wants; what each end has to say of it, NULL: all is well. */
static void shake(tls_context *of_server, tls_context *of_client, const char *host, tls_side *server,
                  tls_side *client) {
    open_side(server, of_server, NULL);
    open_side(client, of_client, host);
    note(client, tls_handshake(client->tls));
    bool any = true;
    while (any) {
        any = carry(client, server);
        any = carry(server, client) || any;
    }
}

static void assert_said(const tls_side *s, const char *wanted) {
    if (!wanted != !s->has_failed || (wanted && !strstr(s->said, wanted))) {
        fail_msg("said '%s', not '%s'", s->said, wanted ? wanted : "");
    }
}

static void shake_and_tell(tls_context *of_server, tls_context *of_client, const char *host, const char *server_says,
                           const char *client_says) {
    tls_side server, client;
    shake(of_server, of_client, host, &server, &client);
    assert_said(&server, server_says);
    assert_said(&client, client_says);
    assert_true(server_says || (tls_is_ready(server.tls) && tls_is_ready(client.tls)));
    close_side(&server);
    close_side(&client);
}

/* The same with a certificate made for the purpose in place of the server's or the node's. */
static void with_certificate(bool is_server, const wish *w, const char *server_says, const char *client_says) {
    identity ca = certify(NULL, &(wish){"ca-of-one", NULL, NULL, -DAY, DAY, NULL});
    certify_files(&ca, w);
    certify_files(&ca, &(wish){"server-of-one", "DNS:localhost", "serverAuth", -DAY, DAY, NULL});
    certify_files(&ca, &(wish){"node-of-one", "URI:fewbit:portion:0", "clientAuth", -DAY, DAY, NULL});
    tls_context *server = context_of(is_server ? w->name : "server-of-one", "ca-of-one");
    tls_context *client = context_of(is_server ? "node-of-one" : w->name, "ca-of-one");
    shake_and_tell(server, client, "localhost", server_says, client_says);
    tls_context_free(server);
    tls_context_free(client);
    identity_free(&ca);
}

static void both_sides_are_let_in(void **state) {
    (void)state;
    static const char *const hosts[] = {"localhost", "127.0.0.1", "::1"};
    for (size_t i = 0; i < 3; i++) {
        shake_and_tell(server_tls, client_tls, hosts[i], NULL, NULL);
    }
}

static void the_host_must_be_in_the_servers_certificate(void **state) {
    (void)state;
    static const char *const hosts[] = {"server", "127.0.0.2", "::2",
                                        "localhost.example"}; /* "server": its common name */
    for (size_t i = 0; i < 4; i++) {
        char wanted[80];
        snprintf(wanted, sizeof wanted, "the server's certificate is refused: CN=server does not name the host %s",
                 hosts[i]);
        shake_and_tell(server_tls, client_tls, hosts[i], "the other side refuses our certificate", wanted);
    }
}

static void a_certificate_of_another_ca_is_refused(void **state) {
    (void)state;
    identity other = certify(NULL, &(wish){"other-ca", NULL, NULL, -DAY, DAY, NULL});
    certify_files(&other, &(wish){"stranger", "DNS:localhost", "serverAuth,clientAuth", -DAY, DAY, NULL});
    tls_context *stranger = context_of("stranger", "ca"), *trusting = context_of("server", "other-ca");
    shake_and_tell(server_tls, stranger, "localhost", "the node's certificate is refused: CN=stranger",
                   "the other side refuses our certificate: it does not know its CA");
    shake_and_tell(stranger, client_tls, "localhost", "the other side refuses our certificate: it does not know its CA",
                   "the server's certificate is refused: CN=stranger");
    shake_and_tell(trusting, client_tls, "localhost", "other-ca.pem", "it does not know its CA");
    tls_context_free(stranger);
    tls_context_free(trusting);
    identity_free(&other);
}

static void a_ca_of_the_same_name_is_another_one(void **state) {
    (void)state;
    char kept[FILE_PATH_MAX];
    snprintf(kept, sizeof kept, "%s/ca-kept.pem", folder);
    assert_int_equal(rename(in_folder("ca.pem"), kept), 0);
    identity twin = certify(NULL, &(wish){"ca", NULL, NULL, -DAY, DAY, NULL});
    certify_files(&twin, &(wish){"forged", "URI:fewbit:portion:1", "clientAuth", -DAY, DAY, NULL});
    assert_int_equal(rename(kept, in_folder("ca.pem")), 0);
    tls_context *forged = context_of("forged", "ca");
    shake_and_tell(server_tls, forged, "localhost", "it is not of the CA in", "the other side refuses our certificate");
    tls_context_free(forged);
    identity_free(&twin);
}

static void a_certificate_has_its_time(void **state) {
    (void)state;
    log_choose_level("none");
    const wish old_node = {"old", "URI:fewbit:portion:0", "clientAuth", -2 * DAY, -DAY, NULL};
    with_certificate(false, &old_node, "the node's certificate is refused: CN=old (certificate has expired)",
                     "the other side refuses our certificate: it has expired");
    const wish old_server = {"old", "DNS:localhost", "serverAuth", -2 * DAY, -DAY, NULL};
    with_certificate(true, &old_server, "the other side refuses our certificate: it has expired",
                     "the server's certificate is refused: CN=old (certificate has expired)");
    const wish young = {"young", "URI:fewbit:portion:0", "clientAuth", DAY, 2 * DAY, NULL};
    with_certificate(false, &young, "CN=young (certificate is not yet valid)",
                     "the other side refuses our certificate");
}

static void a_certificate_has_its_use(void **state) {
    (void)state;
    const wish posing = {"posing", "DNS:localhost", "clientAuth", -DAY, DAY, NULL};
    with_certificate(true, &posing, "the other side refuses our certificate",
                     "the server's certificate is refused: CN=posing");
    const wish idle = {"idle", "URI:fewbit:portion:0", "serverAuth", -DAY, DAY, NULL};
    with_certificate(false, &idle, "the node's certificate is refused: CN=idle",
                     "the other side refuses our certificate");
}

static void names_cannot_forge_a_line(void **state) {
    (void)state;
    const wish evil = {"a\nb\x1b[31m", "URI:fewbit:portion:0", "clientAuth", -2 * DAY, -DAY, NULL};
    with_certificate(false, &evil, "CN=a\\0Ab\\1B[31m", "it has expired");
}

/* ---- which portions ---- */

/* Bit K: it speaks for portion "K". */
static uint64_t portions_of(const tls *t) {
    uint64_t portions = 0;
    for (uint32_t k = 0; k < 64; k++) {
        char name[4];
        snprintf(name, sizeof name, "%u", k);
        portions |= (uint64_t)tls_speaks_for(t, name) << k;
    }
    return portions;
}

static uint64_t portions_named(const char *alt_names) {
    identity ca = certify(NULL, &(wish){"ca-of-names", NULL, NULL, -DAY, DAY, NULL});
    certify_files(&ca, &(wish){"server-of-names", "DNS:localhost", "serverAuth", -DAY, DAY, NULL});
    certify_files(&ca, &(wish){"named", alt_names, "clientAuth", -DAY, DAY, NULL});
    tls_context *of_server = context_of("server-of-names", "ca-of-names"),
                *of_client = context_of("named", "ca-of-names");
    tls_side server, client;
    shake(of_server, of_client, "localhost", &server, &client);
    assert_said(&server, NULL);
    uint64_t portions = portions_of(server.tls);
    assert_int_equal(portions_of(client.tls), 0);
    close_side(&server);
    close_side(&client);
    tls_context_free(of_server);
    tls_context_free(of_client);
    identity_free(&ca);
    return portions;
}

static void a_certificate_names_portions(void **state) {
    (void)state;
    static const struct {
        const char *alt_names;
        uint64_t portions;
    } cases[] = {
        {NULL, 0},
        {"DNS:fewbit.example", 0},
        {"URI:fewbit:portion:0", 1},
        {"URI:fewbit:portion:63", (uint64_t)1 << 63},
        {"URI:fewbit:portion:3,DNS:three.example,URI:fewbit:portion:12", 1 << 3 | 1 << 12},
        {"URI:fewbit:portion:99", 0},
        {"URI:fewbit:portion:256", 0},
        {"URI:fewbit:portion:00", 0},
        {"URI:fewbit:portion:07", 0},
        {"URI:fewbit:portion:", 0},
        {"URI:fewbit:portion:-1", 0},
        {"URI:fewbit:portion:1x", 0},
        {"URI:fewbit:portion: 1", 0},
        {"URI:FEWBIT:portion:1", 0},
        {"URI:fewbit:portion", 0},
        {"URI:x-fewbit:portion:1", 0},
        {"DNS:fewbit:portion:1", 0},
        {"email:fewbit:portion:1", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t named = portions_named(cases[i].alt_names);
        if (named != cases[i].portions) {
            fail_msg("'%s' names %llx", cases[i].alt_names, (unsigned long long)named);
        }
    }
}

/* ---- files ---- */

static void assert_refuses(const char *name, const char *ca, err wanted, const char *file, const char *reason) {
    tls_context *c = NULL;
    assert_int_equal(read_context(name, ca, &c), wanted);
    assert_told(file, reason);
    assert_null(c);
    assert_int_equal(ERR_peek_error(), 0); /* nothing is left for whoever uses OpenSSL next */
}

static void files_that_cannot_be_used_are_named(void **state) {
    (void)state;
    identity ca = certify(NULL, &(wish){"ca-of-files", NULL, NULL, -DAY, DAY, NULL});
    certify_files(&ca, &(wish){"locked", NULL, "clientAuth", -DAY, DAY, "secret"});
    certify_files(&ca, &(wish){"one", NULL, "clientAuth", -DAY, DAY, NULL});
    certify_files(&ca, &(wish){"two", NULL, "clientAuth", -DAY, DAY, NULL});
    identity_free(&ca);
    char key[FILE_PATH_MAX];
    assert_refuses("nothing", "ca", ERR_NOT_FOUND, "nothing.pem", "");
    assert_refuses("node", "nothing", ERR_NOT_FOUND, "nothing.pem", "");
    assert_refuses("locked", "ca", ERR_INPUT, "locked-key.pem", "is no private key without a passphrase");
    snprintf(key, sizeof key, "%s/two-key.pem", folder);
    assert_int_equal(rename(key, in_folder("one-key.pem")), 0);
    assert_refuses("one", "ca", ERR_INPUT, "one-key.pem", "is not the key of the certificate in");
    assert_refuses("two", "ca", ERR_NOT_FOUND, "two-key.pem", "");
    put("two-key.pem", "hello", 5);
    assert_refuses("two", "ca", ERR_INPUT, "two-key.pem", "is no private key");
    put("two.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 60);
    assert_refuses("two", "ca", ERR_INPUT, "two.pem", "is no certificate in PEM form");
    put("empty.pem", "", 0);
    assert_refuses("node", "empty", ERR_INPUT, "empty.pem", "is no CA certificate in PEM form");
}

static void the_three_files_go_together(void **state) {
    (void)state;
    tls_context *c = NULL;
    assert_int_equal(tls_context_new(&c, &(tls_files){.certificate = "a", .ca = "b"}), ERR_USAGE);
    assert_string_equal(err_text(), "--tls-cert, --tls-key and --tls-ca go together: --tls-key is missing");
    assert_true(tls_is_wanted(&(tls_files){.ca = "b"}));
    assert_false(tls_is_wanted(&(tls_files){0}));
}

static void files_are_read_again(void **state) {
    (void)state;
    identity ca = certify(NULL, &(wish){"ca-of-two", NULL, NULL, -DAY, DAY, NULL});
    certify_files(&ca, &(wish){"server-of-two", "DNS:localhost", "serverAuth", -DAY, DAY, NULL});
    certify_files(&ca, &(wish){"changing", "URI:fewbit:portion:1", "clientAuth", -DAY, DAY, NULL});
    tls_context *of_server = context_of("server-of-two", "ca-of-two"), *changing = context_of("changing", "ca-of-two");
    tls_side server, client, early;
    open_side(&early, changing, "localhost"); /* begun before, and not touched */
    certify_files(&ca, &(wish){"changing", "URI:fewbit:portion:2", "clientAuth", -DAY, DAY, NULL});
    assert_int_equal(tls_context_reload(changing), ERR_OK);
    shake(of_server, changing, "localhost", &server, &client);
    assert_int_equal(portions_of(server.tls), 1 << 2);
    close_side(&server);
    close_side(&client);
    put("changing.pem", "no certificate", 14);
    assert_int_equal(tls_context_reload(changing), ERR_INPUT);
    shake(of_server, changing, "localhost", &server, &client); /* as before */
    assert_int_equal(portions_of(server.tls), 1 << 2);
    close_side(&server);
    close_side(&client);
    close_side(&early);
    tls_context_free(of_server);
    tls_context_free(changing);
    identity_free(&ca);
}

static void loopback_is_known(void **state) {
    (void)state;
    static const char *const near[] = {"localhost", "127.0.0.1", "127.9.8.7", "::1"};
    static const char *const far[] = {
        "0.0.0.0",          "::", "10.0.0.1", "128.0.0.1", "localhost.example", "127.0.0.1.example",
        "::ffff:127.0.0.1", "",   "127.1"};
    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
        assert_int_equal(tls_check_plain("--listen", near[i], false), ERR_OK);
    }
    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
        assert_int_equal(tls_check_plain("--listen", far[i], false), ERR_USAGE);
        assert_non_null(strstr(err_text(), "--insecure"));
        assert_int_equal(tls_check_plain("--listen", far[i], true), ERR_OK);
    }
}

/* What lies in `from` reaches a side, which acts on it. */
static void hand_over(BIO *from, tls_side *to) {
    char *bytes;
    long length = BIO_get_mem_data(from, &bytes);
    assert_int_equal(tls_feed(to->tls, (const uint8_t *)bytes, (size_t)length), ERR_OK);
    (void)BIO_reset(from);
    act(to);
}

/* Each makes the server answer; a peer that takes no answers must not fill its memory. */
static void new_keys_without_end_are_cut_off(void **state) {
    (void)state;
    raw_tls r = raw_client(true, TLS1_3_VERSION);
    tls_side server;
    open_side(&server, server_tls, NULL);
    BIO *from_client = BIO_new(BIO_s_mem()), *to_client = BIO_new(BIO_s_mem());
    SSL_set_bio(r.ssl, to_client, from_client);
    for (int turn = 0; turn < 3; turn++) {
        SSL_connect(r.ssl);
        hand_over(from_client, &server);
        tls_drain(server.tls, &server.out);
        BIO_write(to_client, server.out.bytes, (int)server.out.length);
        dynbuf_reset(&server.out);
    }
    assert_true(tls_is_ready(server.tls));
    int updates = 0;
    while (!server.has_failed && updates < 100000) {
        SSL_key_update(r.ssl, SSL_KEY_UPDATE_REQUESTED);
        assert_int_equal(SSL_do_handshake(r.ssl), 1);
        hand_over(from_client, &server);
        updates++;
    }
    assert_said(&server, "the other side asks for ever new keys");
    assert_true(updates > 1000);
    tls_drain(server.tls, &server.out);
    assert_true(server.out.length < 1 << 20);
    close_side(&server);
    raw_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_are_let_in),
        cmocka_unit_test(the_host_must_be_in_the_servers_certificate),
        cmocka_unit_test(a_certificate_of_another_ca_is_refused),
        cmocka_unit_test(a_ca_of_the_same_name_is_another_one),
        cmocka_unit_test(a_certificate_has_its_time),
        cmocka_unit_test(a_certificate_has_its_use),
        cmocka_unit_test(names_cannot_forge_a_line),
        cmocka_unit_test(a_certificate_names_portions),
        cmocka_unit_test(files_that_cannot_be_used_are_named),
        cmocka_unit_test(the_three_files_go_together),
        cmocka_unit_test(files_are_read_again),
        cmocka_unit_test(loopback_is_known),
        ON_LOOPBACK(new_keys_without_end_are_cut_off),
    };
    return cmocka_run_group_tests(tests, open_tls, close_tls);
}
