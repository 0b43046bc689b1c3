/* TLS for links (OpenSSL 3): bytes in, bytes out. Knows no socket; link.c stands between it and one.
 *
 * Both sides show a certificate and check the other's against one CA. The connecting side also checks that the
 * certificate names the host it connected to (subjectAltName, DNS or IP; the common name does not count). The
 * accepting side reads which portions the certificate speaks for: each subjectAltName "URI:fewbit:portion:NAME" names
 * one. Any other certificate of the CA connects too, and speaks for none.
 *
 * TLS 1.2 is the least. No renegotiation, no tickets, no resumption: every connection checks certificates anew. */
#ifndef FEWBIT_WIRE_TLS_H
#define FEWBIT_WIRE_TLS_H

#include "base/dynbuf.h"

/* Paths of PEM files: a certificate (with its chain, if it has one), its key, the CA's certificates. */
typedef struct tls_files {
    const char *certificate, *key, *ca;
} tls_files;

/* Whether any of the three is given. */
bool tls_is_wanted(const tls_files *files);

/* Options for the three files, for a table of options (base/options.h) whose struct has a member tls_files. */
#define TLS_OPTIONS(type)                                                                                              \
    {OPTIONS_TEXT(type, tls_files.certificate, "tls-cert", "FILE", "TLS on links: this program's certificate, PEM")},  \
        {OPTIONS_TEXT(type, tls_files.key, "tls-key", "FILE", "its key, PEM")}, {                                      \
        OPTIONS_TEXT(type, tls_files.ca, "tls-ca", "FILE", "the CA that the other side's certificate must be of, PEM") \
    }

/* ERR_USAGE unless plain text to or from `host` is no risk or `insecure` allows it; `option` names it in the error. */
err tls_check_plain(const char *option, const char *host, bool insecure);

/* What the connections of a program have in common; it must outlive them. Used from one thread. */
typedef struct tls_context tls_context;

/* Unreadable files: ERR_NOT_FOUND or ERR_IO; malformed ones and a key of another certificate: ERR_INPUT; only some of
 * the three given: ERR_USAGE. A certificate that is out of date is a warning in the log: this clock may be wrong. */
err tls_context_new(tls_context **c, const tls_files *files);
void tls_context_free(tls_context *c);

/* Reads the files again, for connections made from here on. On failure all stays as it was. */
err tls_context_reload(tls_context *c);

/* The same for a signal: `context` is a tls_context, and the outcome goes to the log. */
void tls_context_refresh(void *context);

/* One connection. An error ends it for good: tls_drain then still gives the alert for the other side, nothing else
 * works. Errors of the other side's making are ERR_REFUSED. */
typedef struct tls tls;

/* The connecting side gives the host it connects to, the accepting side NULL. */
err tls_new(tls **t, tls_context *c, const char *host);
void tls_free(tls *t);

/* Bytes from the other side; tls_handshake and tls_read then look at them. */
err tls_feed(tls *t, const void *bytes, size_t length);

/* Goes on with the handshake as far as it can. */
err tls_handshake(tls *t);
bool tls_is_ready(const tls *t);

/* After the handshake: decrypted bytes, as many as there are and fit. ERR_FULL where the other side makes TLS answer
 * and takes no answers. 0: there are none now, or, with `*ended`, there will be none any more, as the other side has
 * said. */
err tls_read(tls *t, uint8_t *to, size_t room, size_t *length, bool *ended);

/* After the handshake: encrypts `bytes` and appends them to `to`. */
err tls_write(tls *t, const void *bytes, size_t length, dynbuf *to);

/* Says goodbye (close_notify), once; before the handshake is over there is nothing to say. */
void tls_end(tls *t);

/* Appends what TLS itself has to send: handshake, alerts, goodbye. */
err tls_drain(tls *t, dynbuf *to);

/* Whether the other side's certificate speaks for the portion of that name; no one's does before the handshake is over.
 */
bool tls_speaks_for(const tls *t, const char *portion);

/* Whether a stream that begins with these bytes is TLS, where frames are expected: no first frame is that long. */
bool tls_is_record(const uint8_t *bytes, size_t length);

#endif
