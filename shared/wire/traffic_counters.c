#include "wire/traffic_counters.h"

#include <linux/tcp.h> /* glibc's netinet/tcp.h has a shorter tcp_info */
#include <netinet/in.h>
#include <sys/socket.h>

void traffic_counters_ask_kernel(traffic_counters *m, int socket) {
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        size < offsetof(struct tcp_info, tcpi_bytes_retrans) + sizeof info.tcpi_bytes_retrans) {
        return;
    }
    m->tcp_bytes[TRAFFIC_IN] = info.tcpi_bytes_received;
    m->tcp_bytes[TRAFFIC_OUT] = info.tcpi_bytes_sent;
    m->tcp_segments[TRAFFIC_IN] = info.tcpi_segs_in;
    m->tcp_segments[TRAFFIC_OUT] = info.tcpi_segs_out;
    m->tcp_retransmitted = info.tcpi_bytes_retrans;
}

uint64_t traffic_counters_frame_bytes(const traffic_counters *m) {
    uint64_t sum = 0;
    for (int type = 0; type < MESSAGE_TYPES; type++) {
        sum += m->frame_bytes[TRAFFIC_IN][type] + m->frame_bytes[TRAFFIC_OUT][type];
    }
    return sum;
}

uint64_t traffic_counters_frame_bytes_of(const traffic_counters *m, traffic_direction d) {
    uint64_t sum = 0;
    for (int type = 0; type < MESSAGE_TYPES; type++) {
        sum += m->frame_bytes[d][type];
    }
    return sum;
}

static void add_scaled(traffic_counters *sum, const traffic_counters *m, uint64_t sign) {
    for (int d = 0; d < 2; d++) {
        for (int type = 0; type < MESSAGE_TYPES; type++) {
            sum->frames[d][type] += sign * m->frames[d][type];
            sum->frame_bytes[d][type] += sign * m->frame_bytes[d][type];
        }
        sum->tls_bytes[d] += sign * m->tls_bytes[d];
        sum->tcp_bytes[d] += sign * m->tcp_bytes[d];
        sum->tcp_segments[d] += sign * m->tcp_segments[d];
    }
    sum->tcp_retransmitted += sign * m->tcp_retransmitted;
}

void traffic_counters_add(traffic_counters *sum, const traffic_counters *m) {
    add_scaled(sum, m, 1);
}

traffic_counters traffic_counters_between(const traffic_counters *before, const traffic_counters *after) {
    traffic_counters difference = *after;
    add_scaled(&difference, before, (uint64_t)-1);
    return difference;
}
