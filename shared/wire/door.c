#include "wire/door.h"

#include "base/address.h"
#include "base/log_limit.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A turn takes some 100 microseconds at most. After one that did not come to the end of what there is the door rests:
 * a loop that never sleeps keeps the threads beside it from their core, and there is no hurry with a flood. So some
 * 8,000 connections a second is the most. */
enum { EVENTS_A_TURN = 16, ACCEPTS_A_TURN = 8, CUTS_A_TURN = 8, REST_MS = 1, TICK_MS = 200, NONE = -1 };

/* Addresses are counted by their hash, those of IPv6 by their first 64 bits: an address with a share of the places pays
 * for its next caller itself. */
enum { HOMES = 4096, SHARE = 4 };

typedef struct caller {
    int socket;             /* -1: a free place */
    uint32_t turn;          /* how often the place was taken */
    uint32_t home;          /* where the address is counted */
    int32_t earlier, later; /* outside, in the order they came; of a free place `later` is the next free one */
    uint64_t until_ms;
    struct sockaddr_storage address;
    socklen_t address_length;
} caller;

struct door {
    door_config config;
    uv_loop_t *loop;
    int listening, watched; /* `watched` is an epoll of the listening socket and of all that are outside */
    uv_poll_t poll;
    uv_timer_t timer, rest;
    int open_handles;
    bool accepts; /* false: the process has no room for another socket; tried again at the next tick */
    bool is_closing;
    caller *callers; /* [most] */
    int32_t first, last, free;
    uint16_t homes[HOMES]; /* how many outside are from there */
    uint8_t *looked_at;    /* [look_bytes] */
    door_counters counters;
};

static void free_door(door *d) {
    if (d->listening >= 0) {
        close(d->listening);
    }
    if (d->watched >= 0) {
        close(d->watched);
    }
    free(d->callers);
    free(d->looked_at);
    free(d);
}

/* Callers. */

static uint32_t home_of(const struct sockaddr_storage *address) {
    uint64_t key = 0;
    if (address->ss_family == AF_INET6) {
        memcpy(&key, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, sizeof key);
    } else {
        key = ((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr;
    }
    return (uint32_t)(key * 0x9e3779b97f4a7c15 >> 32) % HOMES;
}

static int32_t take_place(door *d, uint32_t home) {
    int32_t at = d->free;
    caller *c = &d->callers[at];
    d->free = c->later;
    *c = (caller){.turn = c->turn + 1, .home = home, .earlier = d->last, .later = NONE};
    d->homes[home]++;
    *(d->last == NONE ? &d->first : &d->callers[d->last].later) = at;
    d->last = at;
    d->counters.outside++;
    return at;
}

static void give_back(door *d, int32_t at) {
    caller *c = &d->callers[at];
    *(c->earlier == NONE ? &d->first : &d->callers[c->earlier].later) = c->later;
    *(c->later == NONE ? &d->last : &d->callers[c->later].earlier) = c->earlier;
    d->homes[c->home]--;
    c->socket = NONE;
    c->later = d->free;
    d->free = at;
    d->counters.outside--;
}

static void send_away(door *d, int32_t at) {
    close(d->callers[at].socket); /* the epoll forgets it by itself */
    give_back(d, at);
}

/* Where few are outside, one of those inside goes. Else, or where none can be spared, one of those outside, whoever has
 * been there for longest: of the newcomer's own address where that has its share, else of all. False: there is nobody.
 */
static bool make_room(door *d, uint32_t home) {
    bool are_few = d->counters.outside < d->config.most / SHARE;
    if (are_few && d->config.spare && d->config.spare(d->config.context)) {
        return true;
    }
    bool has_share = d->homes[home] >= d->config.most / SHARE && d->homes[home] > 0;
    int32_t at = d->first;
    while (has_share && d->callers[at].home != home) {
        at = d->callers[at].later;
    }
    if (at != NONE) {
        send_away(d, at);
    }
    return at != NONE;
}

static void let_in(door *d, int32_t at, size_t length) {
    caller in = d->callers[at];
    epoll_ctl(d->watched, EPOLL_CTL_DEL, in.socket, NULL);
    give_back(d, at);
    d->counters.inside++;
    door_caller in_person = {in.socket, (const struct sockaddr *)&in.address, in.address_length,
                             length > 0 ? d->looked_at : NULL, length};
    d->config.enter(d->config.context, &in_person);
}

/* `whom`: place and turn. */
static void look_at(door *d, uint64_t whom, bool has_ended) {
    int32_t at = (int32_t)(whom & UINT32_MAX);
    if (d->callers[at].socket == NONE || d->callers[at].turn != whom >> 32) {
        return; /* has made room for another in the same turn of the loop */
    }
    ssize_t length = recv(d->callers[at].socket, d->looked_at, d->config.look_bytes, MSG_PEEK);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    bool is_enough =
        length > 0 && ((size_t)length == d->config.look_bytes || d->config.is_enough(d->looked_at, (size_t)length));
    if (is_enough) {
        let_in(d, at, (size_t)length);
    } else if (length <= 0 || has_ended) {
        send_away(d, at);
    }
}

/* Accepting. */

static void watch_listening(door *d, bool accepts) {
    struct epoll_event event = {.events = accepts ? EPOLLIN : 0, .data.u64 = UINT64_MAX};
    d->accepts = accepts;
    epoll_ctl(d->watched, EPOLL_CTL_MOD, d->listening, &event);
}

/* Takes one; false: there is none, or no room for it. */
static bool take_one(door *d) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int fd = accept4(d->listening, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        bool is_full = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        if (is_full) {
            log_limited(LOG_WARN, 0, "accepting failed: %s", strerror(errno));
            watch_listening(d, false);
        }
        return errno == ECONNABORTED || errno == EINTR;
    }
    uint32_t home = home_of(&address);
    if (d->counters.outside + d->counters.inside >= d->config.most) {
        d->counters.turned_away++;
        if (!make_room(d, home)) {
            close(fd);
            return true;
        }
    }
    int32_t at = take_place(d, home);
    caller *c = &d->callers[at];
    c->socket = fd;
    c->address = address;
    c->address_length = length;
    c->until_ms = uv_now(d->loop) + d->config.patience_ms;
    d->counters.taken++;
    if (d->config.lets_in_at_once) {
        let_in(d, at, 0);
        return true;
    }
    /* At the edge: one that drips is looked at once for what has come, not for as long as it is there. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET,
                                .data.u64 = (uint64_t)c->turn << 32 | (uint32_t)at};
    if (epoll_ctl(d->watched, EPOLL_CTL_ADD, fd, &event) != 0) {
        send_away(d, at);
    }
    return true;
}

static void on_poll(uv_poll_t *poll, int status, int ready);

static void on_rested(uv_timer_t *rest) {
    door *d = rest->data;
    uv_poll_start(&d->poll, UV_READABLE, on_poll);
}

static void on_poll(uv_poll_t *poll, int status, int ready) {
    (void)status, (void)ready;
    door *d = poll->data;
    struct epoll_event events[EVENTS_A_TURN];
    int count = epoll_wait(d->watched, events, EVENTS_A_TURN, 0), taken = 0;
    for (int i = 0; i < count && !d->is_closing; i++) {
        if (events[i].data.u64 != UINT64_MAX) {
            look_at(d, events[i].data.u64, (events[i].events & ~(uint32_t)EPOLLIN) != 0);
            continue;
        }
        while (taken < ACCEPTS_A_TURN && !d->is_closing && take_one(d)) {
            taken++;
        }
    }
    if ((count == EVENTS_A_TURN || taken == ACCEPTS_A_TURN) && !d->is_closing) {
        uv_poll_stop(poll);
        uv_timer_start(&d->rest, on_rested, REST_MS, 0);
    }
}

/* They came in the order of their deadlines. */
static void on_timer(uv_timer_t *timer) {
    door *d = timer->data;
    int cut = 0;
    while (cut < CUTS_A_TURN && d->first != NONE && uv_now(d->loop) > d->callers[d->first].until_ms) {
        send_away(d, d->first);
        d->counters.cut++;
        cut++;
    }
    if (!d->accepts) {
        watch_listening(d, true);
    }
    uv_timer_start(timer, on_timer, cut == CUTS_A_TURN ? 1 : TICK_MS, 0);
}

/* Start and end. */

static int bind_and_listen(door *d, const char *host, uint16_t port) {
    struct sockaddr_storage address = {0};
    bool is_six = strchr(host, ':') != NULL;
    int status = is_six ? uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address)
                        : uv_ip4_addr(host, port, (struct sockaddr_in *)&address);
    if (status < 0) {
        return status;
    }
    d->listening = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    socklen_t length = is_six ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (d->listening < 0 || setsockopt(d->listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(d->listening, (const struct sockaddr *)&address, length) != 0 || listen(d->listening, SOMAXCONN) != 0) {
        return -errno;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = UINT64_MAX};
    d->watched = epoll_create1(EPOLL_CLOEXEC);
    return d->watched < 0 || epoll_ctl(d->watched, EPOLL_CTL_ADD, d->listening, &event) != 0 ? -errno : 0;
}

static door *allocate(const door_config *config) {
    door *d = calloc(1, sizeof *d);
    if (!d) {
        return NULL;
    }
    d->config = *config;
    d->listening = d->watched = -1;
    d->accepts = true;
    d->callers = calloc(config->most, sizeof *d->callers);
    d->looked_at = malloc(config->look_bytes);
    d->first = d->last = NONE;
    for (uint32_t i = 0; d->callers && i < config->most; i++) {
        d->callers[i].socket = NONE;
        d->callers[i].later = i + 1 < config->most ? (int32_t)i + 1 : NONE;
    }
    return d;
}

err door_new(door **out, uv_loop_t *loop, const door_config *config) {
    door *d = allocate(config);
    if (!d || !d->callers || !d->looked_at) {
        if (d) {
            free_door(d);
        }
        return err_fail(ERR_MEMORY, "no memory for %u connections", config->most);
    }
    d->loop = loop;
    const char *host = strcmp(config->host, "localhost") == 0 ? "127.0.0.1" : config->host;
    int status = bind_and_listen(d, host, config->port);
    if (status < 0) {
        free_door(d);
        char address[ADDRESS_TEXT_MAX];
        return err_fail(status == UV_EINVAL ? ERR_USAGE : ERR_NETWORK, "cannot listen on %s: %s",
                        address_text(address, host, config->port), uv_strerror(status));
    }
    status = uv_poll_init(loop, &d->poll, d->watched);
    if (status < 0) {
        free_door(d);
        return err_fail(ERR_IO, "cannot watch %s:%u: %s", host, config->port, uv_strerror(status));
    }
    uv_timer_init(loop, &d->timer);
    uv_timer_init(loop, &d->rest);
    d->poll.data = d->timer.data = d->rest.data = d;
    d->open_handles = 3;
    uv_poll_start(&d->poll, UV_READABLE, on_poll);
    uv_timer_start(&d->timer, on_timer, TICK_MS, 0);
    *out = d;
    return ERR_OK;
}

void door_hear_first(door *d) {
    d->config.lets_in_at_once = false;
}

void door_left(door *d) {
    d->counters.inside--;
}

uint16_t door_port(const door *d) {
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (getsockname(d->listening, (struct sockaddr *)&address, &size) != 0) {
        return 0;
    }
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

const door_counters *door_count(const door *d) {
    return &d->counters;
}

static void on_closed(uv_handle_t *handle) {
    door *d = handle->data;
    if (--d->open_handles == 0) {
        free_door(d);
    }
}

void door_close(door *d) {
    d->is_closing = true;
    while (d->first != NONE) {
        send_away(d, d->first);
    }
    close(d->listening);
    d->listening = -1;
    uv_close((uv_handle_t *)&d->poll, on_closed);
    uv_close((uv_handle_t *)&d->timer, on_closed);
    uv_close((uv_handle_t *)&d->rest, on_closed);
}
