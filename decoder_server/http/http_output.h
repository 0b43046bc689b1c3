/* What goes out on a connection: at once where the kernel takes it, the rest as it can. */
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

/* *o has tcp, done and context. */
void http_output_start(http_output *o);

/* Sends `parts` (at most HTTP_OUTPUT_PARTS_MAX), which are changed. What the kernel does not take now goes from where
 * it is, which must stay; with `spare`, a copy in there. False: the connection is no good. */
enum { HTTP_OUTPUT_PARTS_MAX = 3 };
bool http_output_send(http_output *o, uv_buf_t *parts, unsigned count, char *spare);

/* Whether the other side has read something since this was asked last. */
bool http_output_has_moved(http_output *o);

#endif
