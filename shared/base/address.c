#include "base/address.h"

#include <stdio.h>
#include <string.h>

const char *address_text(char to[ADDRESS_TEXT_MAX], const char *host, uint16_t port) {
    snprintf(to, ADDRESS_TEXT_MAX, strchr(host, ':') ? "[%.255s]:%u" : "%.255s:%u", host, port);
    return to;
}
