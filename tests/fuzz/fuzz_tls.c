/* The server's side of TLS under attack: garbage in place of a handshake and behind a good one, records cut anywhere
 * and changed. What is read is what was written, as far as it goes, or nothing; every error is told; nothing grows.
 *
 * Input: what happens (index), how many cuts, their lengths (used over and over), the stream.
 *   0  the stream comes in place of a handshake
 *   1  the stream is written by a good client
 *   2  the same, with one bit changed on its way (number: the stream's first three bytes)
 *   3  the stream comes behind a good handshake, in place of records */
#define FUZZ_MUTATIONS 100 /* most inputs begin with a handshake */
#include "wire/tls.h"

#include "tests/lib/fuzz/replay.h"

#include <sys/wait.h>

enum { NO_HANDSHAKE, WRITTEN, CHANGED, NO_RECORDS, WAYS, ANSWERS_MAX = 1 << 16 };

static tls_context *server_context, *client_context;

typedef struct attack {
    const uint8_t *cuts;
    size_t cut_count;
    const uint8_t *stream;
    size_t length;
    tls *server, *client;
    dynbuf wire; /* from the client to the server */
    size_t read;
    bool is_over;
} attack;

static tls_context *context_of(const char *name) {
    char certificate[FILE_PATH_MAX], key[FILE_PATH_MAX];
    tls_context *c = NULL;
    snprintf(certificate, sizeof certificate, "%s/ca/%s.pem", fuzz_folder(), name);
    snprintf(key, sizeof key, "%s/ca/%s-key.pem", fuzz_folder(), name);
    FUZZ_CHECK(tls_context_new(&c, &(tls_files){certificate, key, fuzz_path("ca/ca.pem")}) == ERR_OK, "%s", err_text());
    return c;
}

static void free_contexts(void) {
    tls_context_free(server_context);
    tls_context_free(client_context);
}

/* Once a process. */
static void make_contexts(void) {
    char command[FILE_PATH_MAX + 64];
    snprintf(command, sizeof command, "deploy/make-ca %s/ca localhost 1 >/dev/null", fuzz_folder());
    int status = system(command);
    FUZZ_CHECK(status == 0, "%s ended with %d", command, WEXITSTATUS(status));
    server_context = context_of("server");
    client_context = context_of("node-0");
    atexit(free_contexts);
}

/* What `from` has to say, all at once to `to`. */
static void answer(tls *from, tls *to) {
    dynbuf said = dynbuf_make(1 << 20);
    FUZZ_CHECK(tls_drain(from, &said) == ERR_OK && tls_feed(to, said.bytes, said.length) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(tls_handshake(to) == ERR_OK, "%s", err_text());
    dynbuf_free(&said);
}

static void shake_hands(attack *a) {
    FUZZ_CHECK(tls_handshake(a->client) == ERR_OK, "%s", err_text());
    for (int turn = 0; turn < 2; turn++) {
        answer(a->client, a->server);
        answer(a->server, a->client);
    }
    FUZZ_CHECK(tls_is_ready(a->server) && tls_is_ready(a->client), "two good sides do not shake hands");
    FUZZ_CHECK(tls_speaks_for(a->server, "0") && !tls_speaks_for(a->server, "1"), "other portions");
}

static void check_error(attack *a, err e) {
    fuzz_check_told(e);
    FUZZ_CHECK(e != ERR_OK || !a->is_over, "goes on after an error");
    a->is_over = a->is_over || e != ERR_OK;
}

/* What can be read is what was written. */
static void read_all(attack *a, bool is_garbage) {
    uint8_t plain[1000];
    size_t length = 1;
    bool ended = false;
    while (length > 0 && !a->is_over && !ended) {
        check_error(a, tls_read(a->server, plain, sizeof plain, &length, &ended));
        FUZZ_CHECK(!ended, "a goodbye that nobody said");
        FUZZ_CHECK(length == 0 || (!is_garbage && length <= a->length - a->read &&
                                   memcmp(plain, a->stream + a->read, length) == 0),
                   "%zu bytes are not those written", length);
        a->read += length;
    }
}

/* Bytes to the server, cut as the input says. */
static void deliver(attack *a, const uint8_t *bytes, size_t length, bool is_garbage) {
    for (size_t at = 0, i = 0; at < length && !a->is_over; i++) {
        size_t piece = a->cut_count ? (size_t)a->cuts[i % a->cut_count] + 1 : length;
        piece = piece < length - at ? piece : length - at;
        FUZZ_CHECK(tls_feed(a->server, bytes + at, piece) == ERR_OK, "%s", err_text());
        at += piece;
        if (!tls_is_ready(a->server)) {
            check_error(a, tls_handshake(a->server));
        }
        if (tls_is_ready(a->server)) {
            read_all(a, is_garbage);
        }
    }
}

static void happen(attack *a, int way) {
    if (way == NO_HANDSHAKE) {
        deliver(a, a->stream, a->length, true);
        FUZZ_CHECK(!tls_is_ready(a->server) && !tls_speaks_for(a->server, "0"), "let in without a certificate");
        return;
    }
    shake_hands(a);
    if (way == NO_RECORDS) {
        deliver(a, a->stream, a->length, true);
        return;
    }
    FUZZ_CHECK(tls_write(a->client, a->stream, a->length, &a->wire) == ERR_OK, "%s", err_text());
    if (way == CHANGED && a->length >= 3) {
        size_t bit = ((size_t)a->stream[0] << 16 | (size_t)a->stream[1] << 8 | a->stream[2]) % (8 * a->wire.length);
        a->wire.bytes[bit / 8] ^= (char)(1u << bit % 8);
    }
    deliver(a, (const uint8_t *)a->wire.bytes, a->wire.length, false);
    FUZZ_CHECK(way == CHANGED || (!a->is_over && a->read == a->length), "%zu of %zu bytes read: %s", a->read, a->length,
               a->is_over ? err_text() : "no error");
    FUZZ_CHECK(way != CHANGED || a->length < 3 || a->read < a->length, "a changed record is read to its end");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!server_context) {
        make_contexts();
    }
    if (size < 2 || size - 2 < data[1]) {
        return 0;
    }
    attack a = {.cuts = data + 2, .cut_count = data[1], .wire = dynbuf_make(1 << 20)};
    a.stream = a.cuts + a.cut_count;
    a.length = size - 2 - a.cut_count;
    err e = tls_new(&a.server, server_context, NULL);
    e = e ? e : tls_new(&a.client, client_context, "localhost");
    FUZZ_CHECK(e == ERR_OK, "%s", err_text());
    happen(&a, data[0] % WAYS);
    dynbuf answers = dynbuf_make(1 << 20);
    FUZZ_CHECK(tls_drain(a.server, &answers) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(answers.length < ANSWERS_MAX, "%zu bytes of answers", answers.length);
    dynbuf_free(&answers);
    dynbuf_free(&a.wire);
    tls_free(a.server);
    tls_free(a.client);
    return 0;
}
