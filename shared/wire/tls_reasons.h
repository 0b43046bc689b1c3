/* Why TLS failed, in words for people: what OpenSSL's queue, an alert or a certificate's check says. Inside wire/tls.
 */
#ifndef FEWBIT_WIRE_TLS_REASONS_H
#define FEWBIT_WIRE_TLS_REASONS_H

#include <openssl/x509_vfy.h>
#include <stdbool.h>
#include <stddef.h>

/* The newest entry of OpenSSL's error queue; the text is static. */
const char *tls_queue_text(void);

/* The same for a connection that has failed: an alert of the other side says what it has against us. */
const char *tls_failure_text(bool is_connecting);

/* From inside a verify callback: whose certificate is not taken, and why. `host`: whom the certificate should name,
 * NULL on the accepting side; `ca`: the file it was checked against. */
void tls_distrust_text(X509_STORE_CTX *store, const char *host, const char *ca, char *text, size_t size);

#endif
