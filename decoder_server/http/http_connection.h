/* HTTP/1.1 connections: requests in their order, answers, streams. The caller decides what is answered, and when.
 *
 * Everything is bounded: a head, a body, all bodies together, the time for a head, for a body and for an answer that is
 * not read, and the share of a loop's turn that one connection gets. A warm server allocates nothing for requests of
 * usual size. A request takes one read and one write. Loop's thread only. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_HTTP_CONNECTION_H
#define FEWBIT_DECODER_SERVER_HTTP_HTTP_CONNECTION_H

#include "base/err.h"
#include "decoder_server/http/request_body.h"
#include "decoder_server/http/response_head.h"

#include <sys/queue.h>
#include <uv.h>

/* HEAD_MS: from the start of a connection, or the end of an answer, to the whole head of the next request. BODY_MS:
 * from there to the end of the body. STALLED_MS: an answer of which nothing more is read. A body of more than
 * REQUEST_BODY_MAX is refused at once; the rest of it, up to BODY_END, is read slowly and dropped, so that its sender
 * gets to read the refusal. A body announced as longer than that is not read, and its connection ends a second later.
 * What the reader of a stream sends is dropped too; more than BODY_END ends the stream. */
enum {
    HTTP_HEAD_MS = 10000,
    HTTP_BODY_MS = 20000,
    HTTP_STALLED_MS = 60000,
    HTTP_BODY_END = 8 << 20,
};

/* One request of a connection, from its head to the end of its answer. */
typedef struct http_request {
    request_head head;
    request_body
        body;   /* `begin` sets is_kept; else it is read and dropped. Its bytes are all here when `take` is called */
    void *data; /* the caller's own */
} http_request;

typedef struct http_response {
    unsigned status;
    const http_field *fields;
    size_t field_count;
    const char *body; /* borrowed until the request's end */
    size_t length;
} http_response;

/* `end` comes once for every request that begins or is refused. It never comes inside a call for another request; it
 * may come inside http_reply: do not touch the request after that. */
typedef struct http_callbacks {
    /* The head is here. It may be answered already: its body is dropped then. */
    void (*begin)(void *context, http_request *r);
    /* All of it is here; answer it now or later. */
    void (*take)(void *context, http_request *r);
    /* It cannot be read or kept; answer it at once with this problem. `begin` was not called if its head is malformed;
     * as much of the head as was read is there. */
    void (*refuse)(void *context, http_request *r, const http_problem *p);
    /* The stream can take more. */
    void (*resume)(void *context, http_request *r);
    /* It is over: its answer is out or, with is_sent false, its connection is gone. */
    void (*end)(void *context, http_request *r, bool is_sent);
    void *context;
} http_callbacks;

void http_reply(http_request *r, const http_response *a);

/* Ends its connection without an answer. */
void http_abort(http_request *r);

/* Counts memory of the caller towards the bound on all bodies, until the request ends. False: there is no room. */
bool http_claim_memory(http_request *r, size_t bytes);

/* Answers with a stream (a->body is ignored) whose socket buffers `kernel_bytes`. False: send nothing until
 * `resume`. */
bool http_stream_start(http_request *r, const http_response *a, int kernel_bytes);

/* Sends a piece of at most HTTP_PIECE_MAX bytes. False: send nothing more until `resume`. */
enum { HTTP_PIECE_MAX = 8 * 1024 };
bool http_stream_send(http_request *r, const char *bytes, size_t length);
void http_stream_end(http_request *r);

/* All connections of a server, and what they share. */
enum { HTTP_DROPPED_BYTES = 8 * 1024 };

typedef struct http_connections {
    http_callbacks callbacks;
    uv_loop_t *loop;
    uint32_t count;
    uint64_t cut; /* of a request nothing whole came in time, or its body did not end */
    LIST_HEAD(, connection) first, free;
    uint32_t free_count;
    STAILQ_HEAD(, connection) throttled; /* go on in a later turn, a few at a time */
    uv_timer_t throttle;
    body_pool bodies;
    bool is_closing;
    void (*left)(void *context); /* a connection has gone */
    void *context;
    http_clock date;
    char dropped[HTTP_DROPPED_BYTES]; /* what is read for nothing */
} http_connections;

/* Expects callbacks, left and context in *s. The caller closes the timer `throttle`. */
void http_connections_start(http_connections *s, uv_loop_t *loop);

/* Takes a non-blocking socket. `left` follows in the end, or at once if there is no memory. */
void http_connections_add(http_connections *s, int socket);

/* Closes connections that take too long, at most `most`; returns how many. Connections between requests, or after their
 * last, may idle for `idle_ms`, HTTP_HEAD_MS at most. */
uint32_t http_connections_cut_late(http_connections *s, uint32_t most, uint64_t idle_ms);

/* Closes all of them; `left` follows for each. */
void http_connections_close(http_connections *s);

/* Once none is left. */
void http_connections_free(http_connections *s);

#endif
