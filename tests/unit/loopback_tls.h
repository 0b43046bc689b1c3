/* For tests of links over TLS: the loopback's two ends get contexts from files in the test's folder. */
#ifndef FEWBIT_TESTS_LOOPBACK_TLS_H
#define FEWBIT_TESTS_LOOPBACK_TLS_H

#include "tests/unit/certificates.h"
#include "tests/unit/loopback.h"

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

#endif
