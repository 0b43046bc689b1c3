#include "base/address.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *address_text(char to[ADDRESS_TEXT_MAX], const char *host, uint16_t port) {
    snprintf(to, ADDRESS_TEXT_MAX, strchr(host, ':') ? "[%.255s]:%u" : "%.255s:%u", host, port);
    return to;
}

const char *address_of(char to[ADDRESS_TEXT_MAX], const struct sockaddr *socket) {
    char host[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in *four = (const void *)socket;
    const struct sockaddr_in6 *six = (const void *)socket;
    bool is_six = socket->sa_family == AF_INET6;
    inet_ntop(socket->sa_family, is_six ? (const void *)&six->sin6_addr : &four->sin_addr, host, sizeof host);
    return address_text(to, host, ntohs(is_six ? six->sin6_port : four->sin_port));
}
