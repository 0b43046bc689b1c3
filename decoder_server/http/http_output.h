/* The sending side of a connection: what the kernel takes goes at once, the rest when it can. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_HTTP_OUTPUT_H
#define FEWBIT_DECODER_SERVER_HTTP_HTTP_OUTPUT_H

#include <stdbool.h>
#include <uv.h>

typedef struct http_output {
    uv_tcp_t *tcp;
    uv_write_t write;
    bool is_waiting; /* for the kernel: nothing can be sent before `done` */
    size_t unsent;   /* when the other side was last seen to read */
    /* What it waited for is over: all is out (0), or the connection is no good. Not called for one that is closing. */
    void (*done)(void *context, int status);
    void *context;
} http_output;

/* Expects tcp, done and context in *o. */
void http_output_start(http_output *o);

/* Sends at most HTTP_OUTPUT_PARTS_MAX `parts`, and changes them. What the kernel does not take now is sent later from
 * where it lies, which must stay valid, or, if `spare` is given, from a copy there. False: the connection is broken. */
enum { HTTP_OUTPUT_PARTS_MAX = 3 };
bool http_output_send(http_output *o, uv_buf_t *parts, unsigned count, char *spare);

/* Whether the peer has read something since the last call. */
bool http_output_has_moved(http_output *o);

#endif
