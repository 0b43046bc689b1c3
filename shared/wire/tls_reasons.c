#include "wire/tls_reasons.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>

enum { NAME_BYTES = 64 };

const char *tls_queue_text(void) {
    unsigned long newest = ERR_peek_last_error();
    const char *reason = newest ? ERR_reason_error_string(newest) : NULL;
    return reason ? reason : "it does not say why";
}

static const char *alert_text(int alert) {
    switch (alert) {
    case SSL_AD_CERTIFICATE_EXPIRED:
        return "the other side refuses our certificate: it has expired";
    case SSL_AD_UNKNOWN_CA:
        return "the other side refuses our certificate: it does not know its CA";
    case SSL_AD_CERTIFICATE_REQUIRED:
        return "the other side wants a certificate, and got none";
    case SSL_AD_CERTIFICATE_REVOKED:
        return "the other side refuses our certificate: it is revoked";
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_ACCESS_DENIED:
        return "the other side refuses our certificate";
    case SSL_AD_DECRYPT_ERROR:
        return "the other side refuses our certificate: its signature is wrong";
    case SSL_AD_PROTOCOL_VERSION:
        return "the other side speaks no version of TLS that we do";
    case SSL_AD_HANDSHAKE_FAILURE:
        return "the other side finds no kind of encryption that both sides know";
    default:
        return NULL;
    }
}

const char *tls_failure_text(bool is_connecting) {
    static _Thread_local char text[128];
    unsigned long newest = ERR_peek_last_error();
    int reason = ERR_GET_LIB(newest) == ERR_LIB_SSL ? ERR_GET_REASON(newest) : 0;
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        return "the node shows no certificate";
    }
    if (reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
        const char *known = alert_text(reason - SSL_AD_REASON_OFFSET);
        if (known) {
            return known;
        }
    }
    snprintf(text, sizeof text, "TLS with the %s failed: %s", is_connecting ? "server" : "node", tls_queue_text());
    return text;
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

void tls_distrust_text(X509_STORE_CTX *store, const char *host, const char *ca, char *text, size_t size) {
    char name[NAME_BYTES];
    int code = X509_STORE_CTX_get_error(store);
    name_of(X509_STORE_CTX_get_current_cert(store), name);
    int at = snprintf(text, size, "the %s's certificate is refused: %s (%s)", host ? "server" : "node", name,
                      X509_verify_cert_error_string(code));
    switch (code) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        snprintf(text, size, "the server's certificate is refused: %s does not name the host %s", name,
                 host ? host : "");
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        if (at > 0 && (size_t)at < size) {
            snprintf(text + at, size - (size_t)at, ": it is not of the CA in %s", ca);
        }
        break;
    default:
        break;
    }
}
