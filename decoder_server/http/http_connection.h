/* HTTP/1.1 connections: the requests of each in their order, answers, streams. What is answered is the caller's; when,
 * too.
 *
 * All is bounded: a head, a body, all bodies together, the time that a head, a body or an answer that is not read may
 * take, and what one connection may have of a turn of the loop. Once warm, nothing is allocated for requests of usual
 * size, and a lone request takes one read and one write. Loop's thread only. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_HTTP_CONNECTION_H
#define FEWBIT_DECODER_SERVER_HTTP_HTTP_CONNECTION_H

#include "base/err.h"
#include "decoder_server/http/request_body.h"
#include "decoder_server/http/response_head.h"

#include <sys/queue.h>
#include <uv.h>

/* HEAD_MS: from a connection's start, or the end of an answer, to the whole head of the (next) request. BODY_MS: from
 * there to the end of the body. STALLED_MS: an answer of which nothing more is read. A body beyond REQUEST_BODY_MAX is
 * refused at once, and what comes of it is read on, slowly, and dropped, so that its sender comes to read the refusal:
 * up to BODY_END. Of one that is announced as longer nothing is read, and its connection ends a second later. What a
 * listener to a stream says is dropped as well; beyond BODY_END it is one no more. */
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

/* Every request that begins, or is refused, ends. `end` is never called while the caller calls in here for another one;
 * it may be called within http_reply, after which the request is not to be touched. */
typedef struct http_callbacks {
    /* The head is here. It may be answered already: its body is dropped then. */
    void (*begin)(void *context, http_request *r);
    /* All of it is here: to be answered, now or later. */
    void (*take)(void *context, http_request *r);
    /* It cannot be read, or not be kept: to be answered at once, with these words. `begin` was not called where its
     * head is no good, of which there is as much as was read. */
    void (*refuse)(void *context, http_request *r, const http_problem *p);
    /* A stream's connection has taken what it was sent. */
    void (*resume)(void *context, http_request *r);
    /* Forget it: its answer is out, or (not is_sent) its connection has gone. */
    void (*end)(void *context, http_request *r, bool is_sent);
    void *context;
} http_callbacks;

void http_reply(http_request *r, const http_response *a);

/* Ends its connection without an answer. */
void http_abort(http_request *r);

/* Counts memory of the caller's among the bodies until the request's end; false: there is no room. */
bool http_claim_memory(http_request *r, size_t bytes);

/* Answers with a stream (a->body is not looked at), of which the kernel keeps `kernel_bytes`. False: nothing may be
 * sent until `resume`. */
bool http_stream_start(http_request *r, const http_response *a, int kernel_bytes);

/* Sends a piece, HTTP_PIECE_MAX at most. False: nothing more may be sent until `resume`. */
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

/* *s has callbacks, left and context; its timer `throttle` is the caller's to close. */
void http_connections_start(http_connections *s, uv_loop_t *loop);

/* Takes the socket, which does not block. `left` follows, at once where there is no memory. */
void http_connections_add(http_connections *s, int socket);

/* Cuts those that take too long, `most` at most; how many it were. Between requests, and behind the last, `idle_ms` is
 * too long, HTTP_HEAD_MS at most. */
uint32_t http_connections_cut_late(http_connections *s, uint32_t most, uint64_t idle_ms);

/* Closes all of them; `left` follows for each. */
void http_connections_close(http_connections *s);

/* Once none is left. */
void http_connections_free(http_connections *s);

#endif
