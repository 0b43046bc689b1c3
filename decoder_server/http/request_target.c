#include "decoder_server/http/request_target.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define UNRESERVED "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
#define DIGITS "0123456789"

enum { PORT_DIGITS_MAX = 5, PORT_MAX = 65535 };

/* The byte that "%XX" at `at` stands for; -1: it is no such. */
static int encoded_byte(const char *at, const char *end) {
    int high = end - at >= 3 && *at == '%' ? span_hex_digit(at[1]) : -1, low = high >= 0 ? span_hex_digit(at[2]) : -1;
    return low >= 0 ? high * 16 + low : -1;
}

/* Hosts. */

static bool is_address(span s) {
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (s.length >= sizeof text) {
        return false;
    }
    memcpy(text, s.at, s.length);
    text[s.length] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1;
}

static bool is_port(span s) {
    char digits[PORT_DIGITS_MAX + 1];
    if (s.length == 0) {
        return true;
    }
    if (s.length > PORT_DIGITS_MAX || !span_has_only(s, DIGITS)) {
        return false;
    }
    memcpy(digits, s.at, s.length);
    digits[s.length] = '\0';
    return atoi(digits) <= PORT_MAX;
}

static bool is_name(span s) {
    const char *end = s.at + s.length;
    for (const char *at = s.at; at < end; at++) {
        if (*at == '%' && encoded_byte(at, end) < 0) {
            return false;
        }
        if (*at == '\0' || !strchr(UNRESERVED "!$&'()*+,;=%", *at)) {
            return false;
        }
    }
    return true;
}

bool request_host_is_good(span host) {
    if (host.length == 0) {
        return true;
    }
    const char *end = host.at + host.length, *after;
    if (host.at[0] == '[') {
        after = memchr(host.at, ']', host.length);
        if (!after || !is_address((span){host.at + 1, (size_t)(after - host.at - 1)})) {
            return false;
        }
        after++;
    } else {
        after = memchr(host.at, ':', host.length);
        after = after ? after : end;
        if (!is_name((span){host.at, (size_t)(after - host.at)})) {
            return false;
        }
    }
    return after == end || (*after == ':' && is_port((span){after + 1, (size_t)(end - after - 1)}));
}

/* Targets. */

/* Nothing but visible ASCII; a fragment is never sent. */
static bool has_good_letters(span target) {
    for (size_t i = 0; i < target.length; i++) {
        if (target.at[i] <= ' ' || target.at[i] >= 0x7f || target.at[i] == '#') {
            return false;
        }
    }
    return target.length > 0;
}

static span up_to(span s, const char *marks) {
    size_t length = 0;
    while (length < s.length && !strchr(marks, s.at[length])) {
        length++;
    }
    return (span){s.at, length};
}

static span after(span s, size_t length) {
    return (span){s.at + length, s.length - length};
}

static bool read_absolute(span target, bool is_options, request_target *t) {
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(schemes[i]);
        if (target.length <= length || strncasecmp(target.at, schemes[i], length) != 0) {
            continue;
        }
        span rest = after(target, length);
        t->host = up_to(rest, "/?");
        rest = after(rest, t->host.length);
        t->path = rest.length > 0 && rest.at[0] == '/' ? up_to(rest, "?")
                                                       : span_of(is_options && rest.length == 0 ? "*" : "/");
        return t->host.length > 0 && t->host.at[0] != ':' && request_host_is_good(t->host);
    }
    return false;
}

bool request_target_read(span target, span method, request_target *t) {
    *t = (request_target){0};
    if (!has_good_letters(target)) {
        return false;
    }
    if (span_equals(method, "CONNECT")) { /* HOST:PORT, both of them */
        t->host = target;
        const char *colon = memrchr(target.at, ':', target.length);
        return request_host_is_good(target) && colon && colon != target.at && target.at[target.length - 1] != ':' &&
               target.at[target.length - 1] != ']';
    }
    bool is_options = span_equals(method, "OPTIONS");
    if (target.at[0] == '/') {
        t->path = up_to(target, "?");
        return true;
    }
    if (span_equals(target, "*")) {
        t->path = target;
        return is_options;
    }
    return read_absolute(target, is_options, t);
}

/* Paths. */

/* RFC 3986, section 5.2.4; `path` begins with a slash. */
static void remove_dot_segments(char *path) {
    char *to = path;
    for (const char *at = path; *at;) {
        size_t length = 1 + strcspn(at + 1, "/");
        bool is_last = at[length] == '\0';
        bool is_dot = length == 2 && at[1] == '.', is_dots = length == 3 && at[1] == '.' && at[2] == '.';
        if (is_dots) {
            while (to > path && *--to != '/') {
            }
        }
        if (!is_dot && !is_dots) {
            memmove(to, at, length);
            to += length;
        } else if (is_last) {
            *to++ = '/';
        }
        at += length;
    }
    *to = '\0';
}

bool request_path_read(span path, char to[REQUEST_PATH_MAX + 1]) {
    const char *end = path.at + path.length;
    size_t length = 0;
    for (const char *at = path.at; at < end; at++) {
        int byte = encoded_byte(at, end);
        if (*at == '%' && byte < 0) {
            return false;
        }
        bool is_plain = byte > 0 && strchr(UNRESERVED, byte);
        if (length <= REQUEST_PATH_MAX) {
            to[length++] = is_plain ? (char)byte : *at;
        }
        at += is_plain ? 2 : 0;
    }
    to[length <= REQUEST_PATH_MAX ? length : 0] = '\0';
    if (to[0] == '/') {
        remove_dot_segments(to);
    }
    return true;
}
