/* An HTTP/1.1 server: an acceptor on a port, and its connections. Loop's thread only. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_HTTP_SERVER_H
#define FEWBIT_DECODER_SERVER_HTTP_HTTP_SERVER_H

#include "decoder_server/http/http_connection.h"

enum { HTTP_CONNECTIONS_MAX = 2048 };

typedef struct http_server http_server;

typedef struct http_counters {
    uint64_t taken, turned_away; /* connections; those closed at once, since there were too many */
    uint64_t cut;                /* no whole request came in time, or its body did not end */
    uint32_t open;
} http_counters;

/* `host_name` is an address to listen on, or "localhost". */
err http_server_new(http_server **s, uv_loop_t *loop, const char *host_name, uint16_t port,
                    const http_callbacks *callbacks);
uint16_t http_server_port(const http_server *s);
http_counters http_server_count(const http_server *s);

/* Closes every connection with its request; then, in one of the loop's next turns, frees itself and calls
 * closed(context). */
void http_server_close(http_server *s, void (*closed)(void *context));

#endif
