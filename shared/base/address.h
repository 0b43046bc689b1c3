/* Address: a host and a port as people read and write them; an IPv6 address stands in brackets. */
#ifndef FEWBIT_BASE_ADDRESS_H
#define FEWBIT_BASE_ADDRESS_H

#include <stdint.h>

struct sockaddr;

enum { ADDRESS_TEXT_MAX = 264 };

typedef struct address {
    char host[256]; /* a name, or an IPv4 or IPv6 address; "": there is none */
    uint16_t port;
} address;

/* "192.0.2.1:7000", "[2001:db8::1]:7000", "decoder.example:7000". Returns `to`. */
const char *address_text(char to[ADDRESS_TEXT_MAX], const char *host, uint16_t port);

/* The same of an IPv4 or IPv6 socket's. */
const char *address_of(char to[ADDRESS_TEXT_MAX], const struct sockaddr *socket);

#endif
