#include "wire/tls.h"

#include "base/file.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

enum { RECORD_MAX = 16384, ANSWERS_MAX = 256 << 10, HELLO_BYTES = 3, NAME_BYTES = 64, ALERTS = 256 };

struct tls_context {
    SSL_CTX *ssl;
    char certificate[FILE_PATH_MAX], key[FILE_PATH_MAX], ca[FILE_PATH_MAX];
};

struct tls {
    SSL *ssl;
    BIO *in, *out; /* memory; the SSL's own */
    bool is_connecting, is_ready, is_over;
    GENERAL_NAMES *names;       /* of the other side's certificate; NULL: none */
    uint8_t first[HELLO_BYTES]; /* bytes from the other side */
    size_t first_count;
    const tls_context *context;
    char host[256];
    char distrust[512]; /* why the other side's certificate is not taken */
};

bool tls_is_wanted(const tls_files *files) {
    return files->certificate || files->key || files->ca;
}

/* This machine itself: localhost, 127.0.0.0/8 or ::1. Other names are elsewhere; none is looked up. */
static bool is_loopback(const char *host) {
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, host, &four) == 1) {
        return ntohl(four.s_addr) >> 24 == 127;
    }
    return strcmp(host, "localhost") == 0 || (inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six));
}

err tls_check_plain(const char *option, const char *host, bool insecure) {
    if (insecure || is_loopback(host)) {
        return ERR_OK;
    }
    return err_fail(ERR_USAGE,
                    "%s: plain text would leave this machine at %s; use TLS (docs/operations.md), or allow it "
                    "with --insecure",
                    option, host);
}

/* ---- why a connection or a file is not taken ---- */

static const char *queue_text(void) {
    unsigned long newest = ERR_peek_last_error();
    const char *reason = newest ? ERR_reason_error_string(newest) : NULL;
    return reason ? reason : "it does not say why";
}

/* What an alert of the other side says, by its number. */
static const char *const alerts[ALERTS] = {
    [SSL_AD_CERTIFICATE_EXPIRED] = "the other side refuses our certificate: it has expired",
    [SSL_AD_UNKNOWN_CA] = "the other side refuses our certificate: it does not know its CA",
    [SSL_AD_CERTIFICATE_REQUIRED] = "the other side wants a certificate, and got none",
    [SSL_AD_CERTIFICATE_REVOKED] = "the other side refuses our certificate: it is revoked",
    [SSL_AD_BAD_CERTIFICATE] = "the other side refuses our certificate",
    [SSL_AD_UNSUPPORTED_CERTIFICATE] = "the other side refuses our certificate",
    [SSL_AD_CERTIFICATE_UNKNOWN] = "the other side refuses our certificate",
    [SSL_AD_ACCESS_DENIED] = "the other side refuses our certificate",
    [SSL_AD_DECRYPT_ERROR] = "the other side refuses our certificate: its signature is wrong",
    [SSL_AD_PROTOCOL_VERSION] = "the other side speaks no version of TLS that we do",
    [SSL_AD_HANDSHAKE_FAILURE] = "the other side finds no kind of encryption that both sides know",
};

/* What OpenSSL's queue says of a connection that has failed. */
static err refuse(bool is_connecting) {
    unsigned long newest = ERR_peek_last_error();
    int reason = ERR_GET_LIB(newest) == ERR_LIB_SSL ? ERR_GET_REASON(newest) : 0, alert = reason - SSL_AD_REASON_OFFSET;
    const char *known = reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE ? "the node shows no certificate"
                        : alert > 0 && alert < ALERTS                     ? alerts[alert]
                                                                          : NULL;
    return known ? err_fail(ERR_REFUSED, "%s", known)
                 : err_fail(ERR_REFUSED, "TLS with the %s failed: %s", is_connecting ? "server" : "node", queue_text());
}

/* Control characters and what is not ASCII come escaped. */
static void name_of(const X509 *certificate, char name[NAME_BYTES]) {
    snprintf(name, NAME_BYTES, "nameless");
    BIO *to = certificate ? BIO_new(BIO_s_mem()) : NULL;
    if (!to) {
        return;
    }
    char *bytes;
    int printed = X509_NAME_print_ex(to, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
    long length = BIO_get_mem_data(to, &bytes);
    if (printed > 0 && length > 0) {
        snprintf(name, NAME_BYTES, "%.*s", (int)length, bytes);
    }
    BIO_free(to);
}

/* Whose certificate is not taken, and why. Told at once, with its names: afterwards OpenSSL only says that it is not
 * taken. */
static void note_distrust(tls *t, X509_STORE_CTX *store) {
    char name[NAME_BYTES];
    int code = X509_STORE_CTX_get_error(store);
    name_of(X509_STORE_CTX_get_current_cert(store), name);
    switch (code) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        snprintf(t->distrust, sizeof t->distrust, "the server's certificate is refused: %s does not name the host %s",
                 name, t->host);
        return;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        snprintf(t->distrust, sizeof t->distrust,
                 "the %s's certificate is refused: %s (%s): it is not of the CA in %.300s",
                 t->is_connecting ? "server" : "node", name, X509_verify_cert_error_string(code), t->context->ca);
        return;
    default:
        snprintf(t->distrust, sizeof t->distrust, "the %s's certificate is refused: %s (%s)",
                 t->is_connecting ? "server" : "node", name, X509_verify_cert_error_string(code));
    }
}

/* ---- contexts ---- */

/* A key with a passphrase is refused, not asked about on the terminal. */
static int no_passphrase(char *to, int size, int writing, void *context) {
    (void)to, (void)size, (void)writing, (void)context;
    return -1;
}

static err check_readable(const char *path) {
    uint8_t *bytes;
    size_t length;
    err e = file_read(path, (size_t)1 << 20, &bytes, &length);
    if (!e) {
        free(bytes);
    }
    return e;
}

static err file_failed(const char *path, const char *what) {
    return err_fail(ERR_INPUT, "%s: is no %s in PEM form that can be used (%s)", path, what, queue_text());
}

static void warn_of_dates(const tls_context *c, SSL_CTX *ssl) {
    const X509 *own = SSL_CTX_get0_certificate(ssl);
    if (X509_cmp_current_time(X509_get0_notAfter(own)) < 0) {
        log_event(LOG_WARN, "certificate_expired", "%s: the certificate has expired", c->certificate);
    } else if (X509_cmp_current_time(X509_get0_notBefore(own)) > 0) {
        log_event(LOG_WARN, "certificate_not_yet_valid", "%s: the certificate is not valid yet", c->certificate);
    }
}

static err read_files(const tls_context *c, SSL_CTX *ssl) {
    err e = check_readable(c->certificate);
    e = e ? e : check_readable(c->key);
    e = e ? e : check_readable(c->ca);
    if (e) {
        return e;
    }
    if (SSL_CTX_use_certificate_chain_file(ssl, c->certificate) != 1) {
        return file_failed(c->certificate, "certificate");
    }
    if (SSL_CTX_use_PrivateKey_file(ssl, c->key, SSL_FILETYPE_PEM) != 1) {
        return ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH
                   ? err_fail(ERR_INPUT, "%s: is not the key of the certificate in %s", c->key, c->certificate)
                   : file_failed(c->key, "private key without a passphrase");
    }
    if (SSL_CTX_load_verify_file(ssl, c->ca) != 1) {
        return file_failed(c->ca, "CA certificate");
    }
    warn_of_dates(c, ssl);
    return ERR_OK;
}

static int on_certificate(int is_good, X509_STORE_CTX *store) {
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    tls *t = SSL_get_app_data(ssl);
    if (!is_good && !t->distrust[0]) {
        note_distrust(t, store);
    }
    return is_good;
}

static err make_ssl(const tls_context *c, SSL_CTX **out) {
    ERR_clear_error();
    SSL_CTX *ssl = SSL_CTX_new(TLS_method());
    if (!ssl || SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) != 1) {
        SSL_CTX_free(ssl);
        ERR_clear_error();
        return err_fail(ERR_MEMORY, "no memory for TLS");
    }
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ssl, 0);
    SSL_CTX_set_mode(ssl,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN); /* idle links cost little; the CA is known */
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_certificate);
    SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
    err e = read_files(c, ssl);
    if (e) {
        SSL_CTX_free(ssl);
        ERR_clear_error();
        return e;
    }
    ERR_clear_error();
    *out = ssl;
    return ERR_OK;
}

err tls_context_new(tls_context **out, const tls_files *files) {
    if (!files->certificate || !files->key || !files->ca) {
        return err_fail(ERR_USAGE, "--tls-cert, --tls-key and --tls-ca go together: --tls-%s is missing",
                        !files->certificate ? "cert"
                        : !files->key       ? "key"
                                            : "ca");
    }
    tls_context *c = calloc(1, sizeof *c);
    if (!c) {
        return err_fail(ERR_MEMORY, "no memory for TLS");
    }
    err e = file_path(c->certificate, sizeof c->certificate, "%s", files->certificate);
    e = e ? e : file_path(c->key, sizeof c->key, "%s", files->key);
    e = e ? e : file_path(c->ca, sizeof c->ca, "%s", files->ca);
    e = e ? e : make_ssl(c, &c->ssl);
    if (e) {
        free(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void tls_context_free(tls_context *c) {
    if (c) {
        SSL_CTX_free(c->ssl);
        ERR_clear_error();
        free(c);
    }
}

err tls_context_reload(tls_context *c) {
    SSL_CTX *fresh;
    err e = make_ssl(c, &fresh);
    if (e) {
        return e;
    }
    SSL_CTX_free(c->ssl); /* connections hold their own reference */
    ERR_clear_error();
    c->ssl = fresh;
    return ERR_OK;
}

void tls_context_refresh(void *context) {
    const tls_context *c = context;
    if (tls_context_reload(context)) {
        log_event(LOG_ERROR, "certificate_reload_failed", "%s; connections go on with the certificate they had",
                  err_text());
    } else {
        log_event(LOG_INFO, "certificate_reloaded", "%s: new connections use what it holds now", c->certificate);
    }
}

/* ---- connections ---- */

/* The certificate must name `host`, which is also told to the other side where it is a name. */
static bool expect_host(SSL *ssl, const char *host) {
    struct in6_addr address;
    if (inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static bool start(tls *t, SSL_CTX *context, const char *host) {
    t->ssl = SSL_new(context);
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    if (!t->ssl || !t->in || !t->out) {
        BIO_free(t->in);
        BIO_free(t->out);
        return false;
    }
    SSL_set_bio(t->ssl, t->in, t->out);
    SSL_set_app_data(t->ssl, t);
    if (!host) {
        SSL_set_accept_state(t->ssl);
        return true;
    }
    SSL_set_connect_state(t->ssl);
    return expect_host(t->ssl, host);
}

err tls_new(tls **out, tls_context *c, const char *host) {
    tls *t = calloc(1, sizeof *t);
    if (!t) {
        return err_fail(ERR_MEMORY, "no memory for a TLS connection");
    }
    t->context = c;
    t->is_connecting = host != NULL;
    snprintf(t->host, sizeof t->host, "%s", host ? host : "");
    ERR_clear_error();
    bool started = start(t, c->ssl, host);
    ERR_clear_error();
    if (!started) {
        tls_free(t);
        return err_fail(ERR_MEMORY, "no memory for a TLS connection");
    }
    *out = t;
    return ERR_OK;
}

void tls_free(tls *t) {
    if (t) {
        GENERAL_NAMES_free(t->names);
        SSL_free(t->ssl);
        ERR_clear_error();
        free(t);
    }
}

err tls_feed(tls *t, const void *bytes, size_t length) {
    for (size_t i = 0; i < length && t->first_count < HELLO_BYTES; i++) {
        t->first[t->first_count++] = ((const uint8_t *)bytes)[i];
    }
    size_t taken = 0;
    if (length > 0 && (BIO_write_ex(t->in, bytes, length, &taken) != 1 || taken != length)) {
        ERR_clear_error();
        t->is_over = true;
        return err_fail(ERR_MEMORY, "no memory for %zu bytes of TLS", length);
    }
    return ERR_OK;
}

bool tls_is_record(const uint8_t *bytes, size_t length) {
    return length >= 3 && (bytes[0] == SSL3_RT_HANDSHAKE || bytes[0] == SSL3_RT_ALERT) && bytes[1] == 3 &&
           bytes[2] >= 1 && bytes[2] <= 4;
}

/* The error line of a connection that has failed, from what is known of it. */
static err fail(tls *t) {
    static const uint8_t alert[] = {SSL3_RT_ALERT, 3, 3, 0, 2, SSL3_AL_FATAL, SSL_AD_PROTOCOL_VERSION};
    t->is_over = true;
    err e;
    if (t->distrust[0]) {
        e = err_fail(ERR_REFUSED, "%s", t->distrust);
    } else if (!t->is_ready && t->first_count > 0 && !tls_is_record(t->first, t->first_count)) {
        BIO_write(t->out, alert, sizeof alert); /* OpenSSL says nothing here, and the other side would not know why */
        e = err_fail(ERR_REFUSED, "the other side does not speak TLS (plain text?)");
    } else {
        e = refuse(t->is_connecting);
    }
    ERR_clear_error();
    return e;
}

/* What an OpenSSL call that did not succeed means; ERR_OK: more bytes are wanted. */
static err judge(tls *t, int returned, bool *ended) {
    switch (SSL_get_error(t->ssl, returned)) {
    case SSL_ERROR_WANT_READ:
        return ERR_OK;
    case SSL_ERROR_ZERO_RETURN:
        *ended = true;
        return ERR_OK;
    default:
        return fail(t);
    }
}

/* False where the names cannot be read; a certificate without any names none. */
static bool read_names(const X509 *certificate, GENERAL_NAMES **names) {
    enum { ABSENT = -1 };
    int found = ABSENT;
    *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, &found, NULL);
    return *names || found == ABSENT;
}

err tls_handshake(tls *t) {
    if (t->is_ready || t->is_over) {
        return t->is_over ? err_fail(ERR_NETWORK, "the TLS connection is over") : ERR_OK;
    }
    ERR_clear_error();
    int done = SSL_do_handshake(t->ssl);
    if (done != 1) {
        bool ended = false;
        err e = judge(t, done, &ended);
        return e || !ended ? e : fail(t);
    }
    const X509 *certificate = SSL_get0_peer_certificate(t->ssl);
    if (!certificate || !read_names(certificate, &t->names)) {
        return fail(t);
    }
    t->is_ready = true;
    ERR_clear_error();
    return ERR_OK;
}

bool tls_is_ready(const tls *t) {
    return t->is_ready && !t->is_over;
}

err tls_read(tls *t, uint8_t *to, size_t room, size_t *length, bool *ended) {
    *length = 0;
    *ended = false;
    if (!tls_is_ready(t)) {
        return err_fail(ERR_NETWORK, "the TLS connection is over");
    }
    if (BIO_ctrl_pending(t->out) > ANSWERS_MAX) { /* each request for new keys brings one */
        t->is_over = true;
        return err_fail(ERR_FULL, "the other side asks for ever new keys");
    }
    ERR_clear_error();
    int done = SSL_read_ex(t->ssl, to, room, length);
    return done == 1 ? ERR_OK : judge(t, done, ended);
}

err tls_drain(tls *t, dynbuf *to) {
    char *bytes;
    long length = BIO_get_mem_data(t->out, &bytes);
    if (length <= 0) {
        return ERR_OK;
    }
    dynbuf_add(to, bytes, (size_t)length);
    (void)BIO_reset(t->out);
    return dynbuf_check(to, "what TLS sends");
}

err tls_write(tls *t, const void *bytes, size_t length, dynbuf *to) {
    const uint8_t *from = bytes;
    err e = tls_is_ready(t) ? tls_drain(t, to) : err_fail(ERR_NETWORK, "the TLS connection is over");
    while (!e && length > 0) { /* record by record, so that it never lies here twice */
        size_t piece = length < RECORD_MAX ? length : RECORD_MAX, taken = 0;
        ERR_clear_error();
        if (SSL_write_ex(t->ssl, from, piece, &taken) != 1) {
            return fail(t);
        }
        from += taken;
        length -= taken;
        e = tls_drain(t, to);
    }
    return e;
}

void tls_end(tls *t) {
    if (tls_is_ready(t) && !(SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN)) {
        ERR_clear_error();
        SSL_shutdown(t->ssl);
        ERR_clear_error();
    }
}

bool tls_speaks_for(const tls *t, const char *portion) {
    static const char prefix[] = "fewbit:portion:";
    size_t head = sizeof prefix - 1, length = strlen(portion);
    for (int i = 0; i < sk_GENERAL_NAME_num(t->names); i++) { /* -1 names where there are none */
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(t->names, i);
        if (name->type != GEN_URI) {
            continue;
        }
        const ASN1_IA5STRING *uri = name->d.uniformResourceIdentifier;
        const uint8_t *text = ASN1_STRING_get0_data(uri);
        if ((size_t)ASN1_STRING_length(uri) == head + length && memcmp(text, prefix, head) == 0 &&
            memcmp(text + head, portion, length) == 0) {
            return true;
        }
    }
    return false;
}
