/* Certificates for tests, made on the spot: a CA, and what it signs. Header only: a test is one program. */
#ifndef FEWBIT_TESTS_LIB_CERTIFICATES_H
#define FEWBIT_TESTS_LIB_CERTIFICATES_H

#include "tests/lib/folder.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

enum { DAY = 24 * 3600 };

typedef struct identity {
    X509 *certificate;
    EVP_PKEY *key;
} identity;

typedef struct wish {
    const char *name;       /* common name, and NAME.pem and NAME-key.pem in the folder */
    const char *alt_names;  /* as openssl.cnf writes them; NULL: none */
    const char *usage;      /* "serverAuth", "clientAuth"; NULL: a CA */
    long from, until;       /* seconds from now */
    const char *passphrase; /* of the key's file; NULL: none */
} wish;

static inline void identity_free(identity *i) {
    X509_free(i->certificate);
    EVP_PKEY_free(i->key);
    *i = (identity){0};
}

static inline void add_extension(X509 *to, const X509 *issuer, int kind, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, (X509 *)(uintptr_t)issuer, to, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(to, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline void write_pem(const wish *w, const identity *made) {
    char name[64];
    snprintf(name, sizeof name, "%s.pem", w->name);
    FILE *file = fopen(in_folder(name), "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, made->certificate), 1);
    fclose(file);
    snprintf(name, sizeof name, "%s-key.pem", w->name);
    file = fopen(in_folder(name), "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, made->key, w->passphrase ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL,
                                          (void *)(uintptr_t)w->passphrase),
                     1);
    fclose(file);
}

/* Signed by `ca`; NULL: by itself. */
static inline identity certify(const identity *ca, const wish *w) {
    static long serial;
    identity made = {X509_new(), EVP_EC_gen("P-256")};
    assert_true(made.certificate && made.key);
    X509_set_version(made.certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(made.certificate), w->from);
    X509_gmtime_adj(X509_getm_notAfter(made.certificate), w->until);
    X509_set_pubkey(made.certificate, made.key);
    X509_NAME *name = X509_get_subject_name(made.certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)w->name, -1, -1, 0);
    const X509 *issuer = ca ? ca->certificate : made.certificate;
    X509_set_issuer_name(made.certificate, X509_get_subject_name(issuer));
    add_extension(made.certificate, issuer, NID_basic_constraints, w->usage ? "critical,CA:false" : "critical,CA:true");
    if (w->usage) {
        add_extension(made.certificate, issuer, NID_ext_key_usage, w->usage);
    }
    if (w->alt_names) {
        add_extension(made.certificate, issuer, NID_subject_alt_name, w->alt_names);
    }
    assert_true(X509_sign(made.certificate, ca ? ca->key : made.key, EVP_sha256()) > 0);
    write_pem(w, &made);
    return made;
}

/* The same, for its files alone. */
static inline void certify_files(const identity *ca, const wish *w) {
    identity made = certify(ca, w);
    identity_free(&made);
}

/* ca, server (localhost, 127.0.0.1, ::1), node (portions 1 and 3); the CA stays, to sign more. */
static inline identity usual_certificates(void) {
    identity ca = certify(NULL, &(wish){"ca", NULL, NULL, -DAY, DAY, NULL});
    certify_files(&ca, &(wish){"server", "DNS:localhost,IP:127.0.0.1,IP:::1", "serverAuth", -DAY, DAY, NULL});
    certify_files(&ca, &(wish){"node", "URI:fewbit:portion:1,URI:fewbit:portion:3", "clientAuth", -DAY, DAY, NULL});
    return ca;
}

#endif
