/* Inside wire/link: what link.c and listener.c share. Nobody else includes it. */
#ifndef FEWBIT_WIRE_LINK_INSIDE_H
#define FEWBIT_WIRE_LINK_INSIDE_H

#include "base/address.h"
#include "loop/background.h"
#include "wire/link.h"
#include "wire/out_buffer.h"

enum { LINK_REASON_BYTES = 256 };

struct wire_link {
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connecting;
    uv_write_t writing;
    uv_shutdown_t shutting;
    background *resolving; /* NULL: no name is looked up */
    listener *from;
    link_events events;
    void *context;
    frame_reader reader;
    tls *tls;                   /* NULL: plain text */
    out_buffer filling, flying; /* one is filled while the other is with the kernel; TLS lies between them */
    size_t flown;               /* of `flying` */
    traffic_counters traffic;
    uint64_t last_in_ms, last_out_ms, paused_ms;
    uint32_t heartbeat_ms;
    int open_handles;
    bool is_up, is_paused, is_closing, is_down, in_flight;
    bool is_shut;   /* nothing more will be written */
    bool has_first; /* a frame has come */
    bool has_failed_tls;
    bool is_deaf; /* the other side takes no more; what it has sent is still read, as far as its end */
    uint64_t read_bytes;
    char address[ADDRESS_TEXT_MAX];
    char reason[LINK_REASON_BYTES];
    char why_failed[LINK_REASON_BYTES];
};

/* A link without a connection; NULL: no memory. */
wire_link *link_new(uv_loop_t *loop);

/* Its socket is connected. */
void link_come_up(wire_link *l);

/* The end, from the loop's next turn on. `reason` NULL: the one that link_close gave. */
void link_take_down(wire_link *l, const char *reason);

/* A link that the listener accepted is gone. */
void listener_lost_link(listener *l);

#endif
