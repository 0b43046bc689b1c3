/* Traffic counters: what passed a link, counted where it passes. Plain counters; copies are snapshots. */
#ifndef FEWBIT_WIRE_TRAFFIC_COUNTERS_H
#define FEWBIT_WIRE_TRAFFIC_COUNTERS_H

#include "wire/message.h"

/* Seen from this side. `tls_bytes` are all bytes of TLS, frames encrypted among them; 0 in plain text. `tcp_bytes` is
 * what the kernel says it sent (retransmissions included) and received as TCP payload; `tcp_segments` counts segments,
 * each of which costs its IP and TCP headers too. */
typedef enum traffic_direction { TRAFFIC_IN, TRAFFIC_OUT } traffic_direction;

typedef struct traffic_counters {
    uint64_t frames[2][MESSAGE_TYPES];
    uint64_t frame_bytes[2][MESSAGE_TYPES]; /* headers included */
    uint64_t tls_bytes[2];
    uint64_t tcp_bytes[2];
    uint64_t tcp_segments[2];
    uint64_t tcp_retransmitted; /* bytes, among tcp_bytes[TRAFFIC_OUT] */
} traffic_counters;

static inline void traffic_counters_count(traffic_counters *m, traffic_direction d, uint8_t type, uint64_t bytes) {
    uint8_t slot = type < MESSAGE_TYPES ? type : 0;
    m->frames[d][slot]++;
    m->frame_bytes[d][slot] += bytes;
}

/* Fills the tcp_ counters from TCP_INFO of a connected socket; leaves them where the kernel does not say. */
void traffic_counters_ask_kernel(traffic_counters *m, int socket);

/* All frame bytes of both directions. */
uint64_t traffic_counters_frame_bytes(const traffic_counters *m);

/* Those of one direction. */
uint64_t traffic_counters_frame_bytes_of(const traffic_counters *m, traffic_direction d);

/* sum += m; a link that ended is added to those before it. */
void traffic_counters_add(traffic_counters *sum, const traffic_counters *m);

/* after - before, counter by counter. */
traffic_counters traffic_counters_between(const traffic_counters *before, const traffic_counters *after);

#endif
