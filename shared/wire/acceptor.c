#include "wire/acceptor.h"

#include "base/address.h"
#include "base/log_limit.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A turn takes some 100 microseconds at most. After one that did not come to the end of what there is the acceptor
 * rests: a loop that never sleeps keeps the threads beside it from their core, and there is no hurry with a flood. So
 * some 8,000 connections a second is the most. */
enum { EVENTS_A_TURN = 16, ACCEPTS_A_TURN = 8, TIMEOUTS_A_TURN = 8, REST_MS = 1, TICK_MS = 200, NONE = -1 };

/* Addresses are counted by their hash, those of IPv6 by their first 64 bits: an address with a share of the places pays
 * for its next one itself. */
enum { ADDRESS_BUCKETS = 4096, SHARE = 4 };

typedef struct pending_conn {
    int socket;             /* -1: a free place */
    uint32_t turn;          /* how often the place was taken */
    uint32_t bucket;        /* where the address is counted */
    int32_t earlier, later; /* pending, in the order they came; of a free place `later` is the next free one */
    uint64_t until_ms;
} pending_conn;

struct acceptor {
    acceptor_config config;
    uv_loop_t *loop;
    int listening, watched; /* `watched` is an epoll of the listening socket and of all that are pending */
    uv_poll_t poll;
    uv_timer_t timer, rest;
    int open_handles;
    bool accepts; /* false: the process has no room for another socket; tried again at the next tick */
    bool is_closing;
    pending_conn *pending; /* [most] */
    int32_t first, last, free;
    uint16_t address_counts[ADDRESS_BUCKETS]; /* how many pending ones are from there */
    uint8_t *peeked;                          /* [peek_bytes] */
    acceptor_counters counters;
};

static void free_acceptor(acceptor *a) {
    if (a->listening >= 0) {
        close(a->listening);
    }
    if (a->watched >= 0) {
        close(a->watched);
    }
    free(a->pending);
    free(a->peeked);
    free(a);
}

/* Pending connections. */

static uint32_t bucket_of(const struct sockaddr_storage *address) {
    uint64_t key = 0;
    if (address->ss_family == AF_INET6) {
        memcpy(&key, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, sizeof key);
    } else {
        key = ((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr;
    }
    return (uint32_t)(key * 0x9e3779b97f4a7c15 >> 32) % ADDRESS_BUCKETS;
}

static int32_t take_slot(acceptor *a, uint32_t bucket) {
    int32_t at = a->free;
    pending_conn *c = &a->pending[at];
    a->free = c->later;
    *c = (pending_conn){.turn = c->turn + 1, .bucket = bucket, .earlier = a->last, .later = NONE};
    a->address_counts[bucket]++;
    *(a->last == NONE ? &a->first : &a->pending[a->last].later) = at;
    a->last = at;
    a->counters.pending++;
    return at;
}

static void free_slot(acceptor *a, int32_t at) {
    pending_conn *c = &a->pending[at];
    *(c->earlier == NONE ? &a->first : &a->pending[c->earlier].later) = c->later;
    *(c->later == NONE ? &a->last : &a->pending[c->later].earlier) = c->earlier;
    a->address_counts[c->bucket]--;
    c->socket = NONE;
    c->later = a->free;
    a->free = at;
    a->counters.pending--;
}

static void close_pending(acceptor *a, int32_t at) {
    close(a->pending[at].socket); /* the epoll forgets it by itself */
    free_slot(a, at);
}

/* Where few are pending, one of the accepted goes. Else, or where none can be spared, one of the pending, whoever has
 * been there for longest: of the newcomer's own address where that has its share, else of all. False: there is nobody.
 */
static bool make_room(acceptor *a, uint32_t bucket) {
    bool are_few = a->counters.pending < a->config.most / SHARE;
    if (are_few && a->config.evict && a->config.evict(a->config.context)) {
        return true;
    }
    bool has_share = a->address_counts[bucket] >= a->config.most / SHARE && a->address_counts[bucket] > 0;
    int32_t at = a->first;
    while (has_share && a->pending[at].bucket != bucket) {
        at = a->pending[at].later;
    }
    if (at != NONE) {
        close_pending(a, at);
    }
    return at != NONE;
}

static void accept_one(acceptor *a, int32_t at) {
    int socket = a->pending[at].socket;
    epoll_ctl(a->watched, EPOLL_CTL_DEL, socket, NULL);
    free_slot(a, at);
    a->counters.accepted++;
    a->config.accepted(a->config.context, socket);
}

/* `whom`: place and turn. */
static void peek_at(acceptor *a, uint64_t whom, bool has_ended) {
    int32_t at = (int32_t)(whom & UINT32_MAX);
    if (a->pending[at].socket == NONE || a->pending[at].turn != whom >> 32) {
        return; /* has made room for another in the same turn of the loop */
    }
    ssize_t length = recv(a->pending[at].socket, a->peeked, a->config.peek_bytes, MSG_PEEK);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    bool is_enough =
        length > 0 && ((size_t)length == a->config.peek_bytes || a->config.is_enough(a->peeked, (size_t)length));
    if (is_enough) {
        accept_one(a, at);
    } else if (length <= 0 || has_ended) {
        close_pending(a, at);
    }
}

/* Accepting. */

static void watch_listening(acceptor *a, bool accepts) {
    struct epoll_event event = {.events = accepts ? EPOLLIN : 0, .data.u64 = UINT64_MAX};
    a->accepts = accepts;
    epoll_ctl(a->watched, EPOLL_CTL_MOD, a->listening, &event);
}

/* Takes one; false: there is none, or no room for it. */
static bool take_connection(acceptor *a) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int fd = accept4(a->listening, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        bool is_full = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        if (is_full) {
            log_limited(LOG_WARN, "accept_failed", 0, "accepting failed: %s", strerror(errno));
            watch_listening(a, false);
        }
        return errno == ECONNABORTED || errno == EINTR;
    }
    uint32_t bucket = bucket_of(&address);
    if (a->counters.pending + a->counters.accepted >= a->config.most) {
        a->counters.turned_away++;
        if (!make_room(a, bucket)) {
            close(fd);
            return true;
        }
    }
    int32_t at = take_slot(a, bucket);
    pending_conn *c = &a->pending[at];
    c->socket = fd;
    c->until_ms = uv_now(a->loop) + a->config.handshake_timeout_ms;
    a->counters.taken++;
    if (a->config.accepts_at_once) {
        accept_one(a, at);
        return true;
    }
    /* At the edge: one that drips is looked at once for what has come, not for as long as it is there. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET,
                                .data.u64 = (uint64_t)c->turn << 32 | (uint32_t)at};
    if (epoll_ctl(a->watched, EPOLL_CTL_ADD, fd, &event) != 0) {
        close_pending(a, at);
    }
    return true;
}

static void on_poll(uv_poll_t *poll, int status, int ready);

static void on_rested(uv_timer_t *rest) {
    acceptor *a = rest->data;
    uv_poll_start(&a->poll, UV_READABLE, on_poll);
}

static void on_poll(uv_poll_t *poll, int status, int ready) {
    (void)status, (void)ready;
    acceptor *a = poll->data;
    struct epoll_event events[EVENTS_A_TURN];
    int count = epoll_wait(a->watched, events, EVENTS_A_TURN, 0), taken = 0;
    for (int i = 0; i < count && !a->is_closing; i++) {
        if (events[i].data.u64 != UINT64_MAX) {
            peek_at(a, events[i].data.u64, (events[i].events & ~(uint32_t)EPOLLIN) != 0);
            continue;
        }
        while (taken < ACCEPTS_A_TURN && !a->is_closing && take_connection(a)) {
            taken++;
        }
    }
    if ((count == EVENTS_A_TURN || taken == ACCEPTS_A_TURN) && !a->is_closing) {
        uv_poll_stop(poll);
        uv_timer_start(&a->rest, on_rested, REST_MS, 0);
    }
}

/* They came in the order of their deadlines. */
static void on_timer(uv_timer_t *timer) {
    acceptor *a = timer->data;
    int timed_out = 0;
    while (timed_out < TIMEOUTS_A_TURN && a->first != NONE && uv_now(a->loop) > a->pending[a->first].until_ms) {
        close_pending(a, a->first);
        a->counters.timed_out++;
        timed_out++;
    }
    if (!a->accepts) {
        watch_listening(a, true);
    }
    uv_timer_start(timer, on_timer, timed_out == TIMEOUTS_A_TURN ? 1 : TICK_MS, 0);
}

/* Start and end. */

static int bind_and_listen(acceptor *a, const char *host, uint16_t port) {
    struct sockaddr_storage address = {0};
    bool is_six = strchr(host, ':') != NULL;
    int status = is_six ? uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address)
                        : uv_ip4_addr(host, port, (struct sockaddr_in *)&address);
    if (status < 0) {
        return status;
    }
    a->listening = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    socklen_t length = is_six ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (a->listening < 0 || setsockopt(a->listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(a->listening, (const struct sockaddr *)&address, length) != 0 || listen(a->listening, SOMAXCONN) != 0) {
        return -errno;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = UINT64_MAX};
    a->watched = epoll_create1(EPOLL_CLOEXEC);
    return a->watched < 0 || epoll_ctl(a->watched, EPOLL_CTL_ADD, a->listening, &event) != 0 ? -errno : 0;
}

static acceptor *allocate(const acceptor_config *config) {
    acceptor *a = calloc(1, sizeof *a);
    if (!a) {
        return NULL;
    }
    a->config = *config;
    a->listening = a->watched = -1;
    a->accepts = true;
    a->pending = calloc(config->most, sizeof *a->pending);
    a->peeked = malloc(config->peek_bytes);
    a->first = a->last = NONE;
    for (uint32_t i = 0; a->pending && i < config->most; i++) {
        a->pending[i].socket = NONE;
        a->pending[i].later = i + 1 < config->most ? (int32_t)i + 1 : NONE;
    }
    return a;
}

err acceptor_new(acceptor **out, uv_loop_t *loop, const acceptor_config *config) {
    acceptor *a = allocate(config);
    if (!a || !a->pending || !a->peeked) {
        if (a) {
            free_acceptor(a);
        }
        return err_fail(ERR_MEMORY, "no memory for %u connections", config->most);
    }
    a->loop = loop;
    const char *host = strcmp(config->host, "localhost") == 0 ? "127.0.0.1" : config->host;
    int status = bind_and_listen(a, host, config->port);
    if (status < 0) {
        free_acceptor(a);
        char address[ADDRESS_TEXT_MAX];
        return err_fail(status == UV_EINVAL ? ERR_USAGE : ERR_NETWORK, "cannot listen on %s: %s",
                        address_text(address, host, config->port), uv_strerror(status));
    }
    status = uv_poll_init(loop, &a->poll, a->watched);
    if (status < 0) {
        free_acceptor(a);
        return err_fail(ERR_IO, "cannot watch %s:%u: %s", host, config->port, uv_strerror(status));
    }
    uv_timer_init(loop, &a->timer);
    uv_timer_init(loop, &a->rest);
    a->poll.data = a->timer.data = a->rest.data = a;
    a->open_handles = 3;
    uv_poll_start(&a->poll, UV_READABLE, on_poll);
    uv_timer_start(&a->timer, on_timer, TICK_MS, 0);
    *out = a;
    return ERR_OK;
}

void acceptor_wait_for_bytes(acceptor *a) {
    a->config.accepts_at_once = false;
}

void acceptor_release(acceptor *a) {
    a->counters.accepted--;
}

uint16_t acceptor_port(const acceptor *a) {
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (getsockname(a->listening, (struct sockaddr *)&address, &size) != 0) {
        return 0;
    }
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

const acceptor_counters *acceptor_count(const acceptor *a) {
    return &a->counters;
}

static void on_closed(uv_handle_t *handle) {
    acceptor *a = handle->data;
    if (--a->open_handles == 0) {
        free_acceptor(a);
    }
}

void acceptor_close(acceptor *a) {
    a->is_closing = true;
    while (a->first != NONE) {
        close_pending(a, a->first);
    }
    close(a->listening);
    a->listening = -1;
    uv_close((uv_handle_t *)&a->poll, on_closed);
    uv_close((uv_handle_t *)&a->timer, on_closed);
    uv_close((uv_handle_t *)&a->rest, on_closed);
}
