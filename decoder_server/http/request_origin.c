#include "decoder_server/http/request_origin.h"

#include <string.h>
#include <strings.h>

/* Without its port. */
static span name_of(span host) {
    const char *end = host.length > 0 && host.at[0] == '[' ? memchr(host.at, ']', host.length) : NULL;
    size_t from = end ? (size_t)(end - host.at) : 0;
    const char *colon = host.length > from ? memchr(host.at + from, ':', host.length - from) : NULL;
    return (span){host.at, colon ? (size_t)(colon - host.at) : host.length};
}

static bool is_same(span a, span b) {
    return a.length == b.length && a.length > 0 && strncasecmp(a.at, b.at, a.length) == 0;
}

err request_origin_check_hosts(const char *list) {
    span rest = span_of(list), one;
    if (rest.length == 0) {
        return err_fail(ERR_USAGE, "--allowed-hosts names no host");
    }
    while (span_take(&rest, ',', &one)) {
        if (one.length == 0 || !request_host_is_good(one) || name_of(one).length == 0) {
            return err_fail(ERR_USAGE, "--allowed-hosts: '%.*s' is no HOST or HOST:PORT", (int)one.length, one.at);
        }
    }
    return ERR_OK;
}

bool request_origin_is_allowed_host(const char *list, span host) {
    span rest = span_of(list), one;
    while (span_take(&rest, ',', &one)) {
        bool has_port = name_of(one).length < one.length;
        if (is_same(one, has_port ? host : name_of(host))) {
            return true;
        }
    }
    return false;
}

bool request_origin_is_foreign(const request_head *h) {
    span site = h->fields[REQUEST_FIELD_SEC_FETCH_SITE], origin = h->fields[REQUEST_FIELD_ORIGIN];
    if (site.at) {
        return !span_is(site, "same-origin") && !span_is(site, "none");
    }
    if (!origin.at) {
        return false;
    }
    const char *slashes = origin.length > 0 ? memmem(origin.at, origin.length, "://", 3) : NULL;
    if (!slashes) {
        return true; /* "null", or nothing that a browser sends */
    }
    size_t scheme = (size_t)(slashes - origin.at) + 3;
    return !is_same((span){origin.at + scheme, origin.length - scheme}, h->host);
}
