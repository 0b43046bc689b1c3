#include "wire/name_lookup.h"

#include "loop/background.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct name_lookup {
    background *background;
    name_lookup_done *done;
    void *context;
    char service[8];
    int status; /* of getaddrinfo */
    struct addrinfo *found;
    char host[]; /* with its zero */
};

static void free_lookup(void *context) {
    name_lookup *n = context;
    if (n->found) {
        freeaddrinfo(n->found);
    }
    free(n);
}

static const struct sockaddr *next_address(const struct addrinfo *found) {
    static unsigned taken;
    unsigned count = 0;
    for (const struct addrinfo *a = found; a; a = a->ai_next) {
        count++;
    }
    for (unsigned skip = taken++ % count; skip > 0; skip--) {
        found = found->ai_next;
    }
    return found->ai_addr;
}

/* In the background. */
static void look_up(void *context) {
    name_lookup *n = context;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    n->status = getaddrinfo(n->host, n->service, &hints, &n->found);
}

static void on_found(void *context) {
    name_lookup *n = context;
    n->done(n->context, n->status ? NULL : next_address(n->found), n->status ? gai_strerror(n->status) : NULL);
    free_lookup(n);
}

err name_lookup_start(name_lookup **out, uv_loop_t *loop, const char *host, uint16_t port, name_lookup_done *done,
                      void *context) {
    size_t length = strlen(host) + 1;
    name_lookup *n = calloc(1, sizeof *n + length);
    if (!n) {
        return err_fail(ERR_MEMORY, "no memory to look up %s", host);
    }
    n->done = done;
    n->context = context;
    memcpy(n->host, host, length);
    snprintf(n->service, sizeof n->service, "%u", port);
    err e = background_start(&n->background, loop, look_up, on_found, n);
    if (e) {
        free_lookup(n);
        return e;
    }
    *out = n;
    return ERR_OK;
}

void name_lookup_cancel(name_lookup *n) {
    background_leave(n->background, free_lookup);
}
