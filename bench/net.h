/* What the bench's clients share: connections to this machine, and whole HTTP answers. */
#ifndef FEWBIT_BENCH_NET_H
#define FEWBIT_BENCH_NET_H

#include "base/err.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Connects to 127.0.0.1:port; small messages leave at once. */
static inline err net_dial(long port, int *to) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    *to = socket(AF_INET, SOCK_STREAM, 0);
    if (*to < 0 || connect(*to, (struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(*to, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        return err_system(ERR_NETWORK, "127.0.0.1:%ld", port);
    }
    return ERR_OK;
}

/* Blocks until all of it is with the kernel. */
static inline err net_send_all(int to, const void *bytes, size_t length) {
    for (size_t sent = 0; sent < length;) {
        ssize_t n = send(to, (const char *)bytes + sent, length - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            return err_system(ERR_NETWORK, "sending");
        }
        sent += (size_t)n;
    }
    return ERR_OK;
}

/* Whether `answer` [length], closed by a zero, is a whole HTTP answer. */
static inline bool net_is_whole(const char *answer, size_t length) {
    const char *end = strstr(answer, "\r\n\r\n"), *field = strcasestr(answer, "\r\nContent-Length:");
    return end && field && field < end && length - (size_t)(end + 4 - answer) >= strtoul(field + 17, NULL, 10);
}

/* Reads a whole answer to `answer` [size], with a zero behind it; nothing may be left of it elsewhere. Blocks. */
static inline err net_read_answer(int from, char *answer, size_t size) {
    size_t length = 0;
    for (answer[0] = '\0'; !net_is_whole(answer, length); answer[length] = '\0') {
        ssize_t n = recv(from, answer + length, size - 1 - length, 0);
        if (n <= 0) {
            return err_fail(ERR_NETWORK, "the server closed the connection, or its answer is too long");
        }
        length += (size_t)n;
    }
    return ERR_OK;
}

/* An answer that classifies from the codes of every node. */
static inline err net_check_answer(const char *answer) {
    if (strncmp(answer, "HTTP/1.1 200", 12) != 0 || !strstr(answer, "\"degraded\":false")) {
        return err_fail(ERR_REFUSED, "the answer is not what was asked for: %.300s", answer);
    }
    return ERR_OK;
}

#endif
