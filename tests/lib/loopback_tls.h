/* For tests of links over TLS: the loopback's two ends get contexts from files in the test's folder. */
#ifndef FEWBIT_TESTS_LIB_LOOPBACK_TLS_H
#define FEWBIT_TESTS_LIB_LOOPBACK_TLS_H

#include "tests/lib/certificates.h"
#include "tests/lib/loopback.h"

#include <fcntl.h>
#include <openssl/ssl.h>

/* A context of NAME.pem, NAME-key.pem and CA.pem in the folder. */
static inline err read_context(const char *name, const char *ca_name, tls_context **c) {
    char certificate[FILE_PATH_MAX], key[FILE_PATH_MAX], ca[FILE_PATH_MAX];
    snprintf(certificate, sizeof certificate, "%s/%s.pem", folder, name);
    snprintf(key, sizeof key, "%s/%s-key.pem", folder, name);
    snprintf(ca, sizeof ca, "%s/%s.pem", folder, ca_name);
    return tls_context_new(c, &(tls_files){certificate, key, ca});
}

static inline tls_context *context_of(const char *name, const char *ca_name) {
    tls_context *c = NULL;
    err e = read_context(name, ca_name, &c);
    if (e) {
        fail_msg("%s", err_text());
    }
    return c;
}

/* Once a program: a folder with the usual certificates, and contexts of them for both ends. */
static inline int open_tls(void **state) {
    if (make_folder(state)) {
        return -1;
    }
    identity ca = usual_certificates();
    identity_free(&ca);
    server_tls = context_of("server", "ca");
    client_tls = context_of("node", "ca");
    return 0;
}

static inline int close_tls(void **state) {
    tls_context_free(server_tls);
    tls_context_free(client_tls);
    server_tls = client_tls = NULL;
    return remove_folder(state);
}

/* A socket with OpenSSL on it: a client that can be made to do what a link never does. */
typedef struct raw_tls {
    int fd;
    SSL_CTX *context;
    SSL *ssl;
} raw_tls;

static inline raw_tls raw_client(bool has_certificate, int version) {
    raw_tls r = {connect_raw(), SSL_CTX_new(TLS_client_method()), NULL};
    SSL_CTX_set_security_level(r.context, 0);
    SSL_CTX_set_min_proto_version(r.context, version);
    SSL_CTX_set_max_proto_version(r.context, version);
    if (has_certificate) {
        assert_int_equal(SSL_CTX_use_certificate_file(r.context, in_folder("node.pem"), SSL_FILETYPE_PEM), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(r.context, in_folder("node-key.pem"), SSL_FILETYPE_PEM), 1);
    }
    r.ssl = SSL_new(r.context);
    SSL_set_fd(r.ssl, r.fd);
    fcntl(r.fd, F_SETFL, O_NONBLOCK);
    return r;
}

/* Whether the server has ended the connection, with an alert or without; it waits for this side to do the same. */
static inline bool raw_is_ended(raw_tls *r) {
    char byte;
    int got = SSL_read(r->ssl, &byte, 1), why = SSL_get_error(r->ssl, got);
    return got <= 0 && why != SSL_ERROR_WANT_READ;
}

static inline void raw_free(raw_tls *r) {
    SSL_free(r->ssl);
    SSL_CTX_free(r->context);
    close(r->fd);
    ERR_clear_error();
}

/* One more try; true when done or failed for good. */
static inline bool raw_connects(raw_tls *r) {
    int done = SSL_connect(r->ssl);
    return done == 1 || SSL_get_error(r->ssl, done) == SSL_ERROR_SSL;
}

#endif
