#include "decoder_server/http/gateway_inside.h"

#include "base/log.h"
#include "decoder_server/http/head.h"
#include "decoder_server/http/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    STALLED_SECONDS = 60, /* a connection that takes or brings nothing for so long, whatever is expected, is closed */
    TURN_MS = 1000,
    RUNS_A_TURN = 2, /* few, so that nobody who pours bytes in keeps the nodes' answers waiting */
    CONNECTION_BYTES = 16 * 1024,
    CUTS_A_TURN = 8, /* of those that took too long; the rest CUTS_MS later */
    CUTS_MS = 2,
    PAUSE_MS = 2,
    RESUMED_A_TURN = 8, /* of those at rest; a piece of some KiB of each is read, so some 20 MB a second of them all */
    REFUSAL_BYTES = 512,
    REST_BYTES = 16384, /* read at a time of what is no good, RESTS times at most */
    RESTS = 8,
};

/* The daemon on the loop. */

static void run_daemon(gateway *g);

static void on_timer(uv_timer_t *timer) {
    run_daemon(timer->data);
}

static void on_idle(uv_idle_t *idle) {
    run_daemon(idle->data);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    run_daemon(poll->data);
}

/* Runs the daemon until it has nothing more to do at once. Where it never ends, the loop gets its turn in between: by
 * an idle handle, since a timer's milliseconds are far too coarse. */
static void run_daemon(gateway *g) {
    if (g->is_running) {
        return;
    }
    g->is_running = true;
    MHD_UNSIGNED_LONG_LONG ms = 0;
    bool is_timed = false;
    for (int runs = 0; runs < RUNS_A_TURN && (runs == 0 || g->has_resumed || (is_timed && ms == 0)); runs++) {
        g->has_resumed = false;
        MHD_run(g->daemon);
        is_timed = MHD_get_timeout(g->daemon, &ms) == MHD_YES;
    }
    g->is_running = false;
    if (g->has_resumed || (is_timed && ms == 0)) {
        uv_idle_start(g->idle, on_idle);
    } else {
        uv_idle_stop(g->idle);
    }
    uv_timer_start(g->timer, on_timer, is_timed && ms > 0 && ms < TURN_MS ? ms : TURN_MS, 0);
}

void gateway_resume(gateway *g, exchange *x) {
    x->is_answered = true;
    g->has_resumed = true;
    MHD_resume_connection(x->connection);
}

void gateway_flush(gateway *g) {
    if (g->has_resumed) {
        run_daemon(g);
    }
}

static void end_rest(gateway *g) {
    exchange *x = g->resting;
    g->resting = x->next;
    x->next = NULL;
    x->is_resting = false;
    g->has_resumed = true;
    MHD_resume_connection(x->connection);
}

static void on_rest(uv_timer_t *timer) {
    gateway *g = timer->data;
    for (int i = 0; i < RESUMED_A_TURN && g->resting; i++) {
        end_rest(g);
    }
    if (g->resting) {
        uv_timer_start(timer, on_rest, PAUSE_MS, 0);
    }
    run_daemon(g);
}

void gateway_rest(gateway *g, exchange *x) {
    if (g->is_closing || x->is_resting) {
        return; /* of a chunked body the chunks that are there already come all the same */
    }
    if (!g->resting) {
        g->resting_end = &g->resting;
        uv_timer_start(g->rest, on_rest, PAUSE_MS, 0);
    }
    MHD_suspend_connection(x->connection);
    x->is_resting = true;
    *g->resting_end = x;
    g->resting_end = &x->next;
}

/* Connections. */

/* Answers who has sent no good head; whether more of it comes or not, that is the end. */
static void refuse_head(gateway *g, int socket, const head_problem *p) {
    char id[IDENTITY_ID_MAX + 1], answer[REFUSAL_BYTES], rest[REST_BYTES];
    text body = {0};
    identity_choose(NULL, ++g->pool.last_number, id);
    reply_error(&body, id, p->code, p->message);
    int length =
        snprintf(answer, sizeof answer,
                 "HTTP/1.1 %u %s\r\nContent-Type: application/json\r\nX-Request-Id: %s\r\nContent-Length: %zu\r\n"
                 "Connection: close\r\n\r\n%s",
                 p->status, p->reason, id, body.length, body.bytes ? body.bytes : "");
    text_free(&body);
    for (int i = 0; i < RESTS && recv(socket, rest, sizeof rest, 0) > 0; i++) {
        /* what is unread when a socket is closed takes the answer with it */
    }
    (void)send(socket, answer, (size_t)length, MSG_NOSIGNAL);
    close(socket);
    metrics_count_request(&g->metrics, ROUTE_NONE, p->status);
    log_debug("HTTP: no good head: %u %s, request %s", p->status, p->message, id);
    door_left(g->door);
}

static void on_enter(void *context, const door_caller *caller) {
    gateway *g = context;
    const head_problem *problem = head_check(caller->said, caller->said_length);
    if (problem) {
        refuse_head(g, caller->socket, problem);
        return;
    }
    g->has_resumed = true;
    g->has_left = false;
    if (MHD_add_connection(g->daemon, caller->socket, caller->address, caller->address_length) != MHD_YES &&
        !g->has_left) {
        door_left(g->door); /* no memory: closed by libmicrohttpd, which may have told of its end or not */
    }
    run_daemon(g);
}

static void connection_opens(gateway *g, struct MHD_Connection *connection, void **mark) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    client *c = calloc(1, sizeof *c);
    *mark = c;
    if (!c) {
        return; /* without the watch over its time */
    }
    *c = (client){.next = g->clients, .socket = info ? info->connect_fd : -1, .until_ms = uv_now(g->loop) + HEAD_MS};
    if (c->next) {
        c->next->before = c;
    }
    g->clients = c;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **mark,
                          enum MHD_ConnectionNotificationCode code) {
    gateway *g = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        connection_opens(g, connection, mark);
        return;
    }
    g->has_left = true;
    if (g->door) {
        door_left(g->door);
    }
    client *c = *mark;
    if (c) {
        *(c->before ? &c->before->next : &g->clients) = c->next;
        if (c->next) {
            c->next->before = c->before;
        }
        free(c);
    }
}

/* Cuts off whoever takes too long over a request: libmicrohttpd only asks that something comes now and then. (Its own
 * limit by connection would cost a look at each of them in each turn.) */
static void on_watch(uv_timer_t *watch) {
    gateway *g = watch->data;
    uint64_t now = uv_now(g->loop);
    int cut = 0;
    for (client *c = g->clients; c && cut < CUTS_A_TURN; c = c->next) {
        if (c->until_ms != 0 && now > c->until_ms && !c->is_cut && c->socket >= 0) {
            c->is_cut = true;
            cut++;
            g->metrics.connections_cut++;
            shutdown(c->socket, SHUT_RDWR);
        }
    }
    if (cut > 0) {
        run_daemon(g);
    }
    if (now - g->watched_ms >= TURN_MS) {
        g->watched_ms = now;
        g->failures_logged = g->traces_logged = 0;
    }
    uv_timer_start(watch, on_watch, cut == CUTS_A_TURN ? CUTS_MS : TURN_MS, 0);
}

/* Events. */

static void on_wanted(void *context, bool wanted) {
    gateway *g = context;
    g->config.listen(g->config.context, wanted);
}

static void on_taken(void *context) {
    gateway *g = context;
    g->config.events_taken(g->config.context);
}

static void on_resumed(void *context) {
    gateway *g = context;
    g->has_resumed = true;
    run_daemon(g);
}

void gateway_events(gateway *g, uint64_t dropped, const char *bytes, size_t length) {
    events_add(g->events, dropped, bytes, length);
}

void gateway_greet(gateway *g, const char *bytes, size_t length) {
    events_greet(g->events, bytes, length);
}

/* What comes from outside. */

void gateway_answer(gateway *g, uint64_t request, const answer *a) {
    question *q = g->asked[request % REQUESTS_MAX];
    if (q && q->number == request) { /* else the client has gone */
        classify_answered(g, q, a);
    }
}

void gateway_report(gateway *g, const report *r) {
    g->report = *r;
    routes_reported(g);
}

void gateway_set_ready(gateway *g, uint32_t nodes, uint32_t of) {
    g->ready_nodes = nodes;
    g->nodes = of;
}

err gateway_set_model(gateway *g, const char *model) {
    text_reset(&g->model);
    text_add(&g->model, model);
    return g->model.has_failed ? err_fail(ERR_MEMORY, "no memory for the model's description") : ERR_OK;
}

void gateway_stop(gateway *g) {
    g->is_stopping = true;
}

void gateway_reloaded(gateway *g, const char *text) {
    routes_reloaded(g, text);
    run_daemon(g);
}

/* Start and end. */

static err start_daemon(gateway *g) {
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET;
    g->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, routes_take, g, MHD_OPTION_CONNECTION_LIMIT, GATEWAY_CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)STALLED_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t)CONNECTION_BYTES, MHD_OPTION_NOTIFY_COMPLETED, routes_completed, g,
                         MHD_OPTION_NOTIFY_CONNECTION, on_connection, g, MHD_OPTION_END);
    return g->daemon ? ERR_OK : err_fail(ERR_MEMORY, "libmicrohttpd does not start");
}

static err open_door(gateway *g) {
    door_config config = {
        .host = g->config.host,
        .port = g->config.port,
        .most = GATEWAY_CONNECTIONS_MAX,
        .patience_ms = HEAD_MS,
        .look_bytes = HEAD_BYTES_MAX,
        .is_enough = head_is_whole,
        .enter = on_enter,
        .context = g,
    };
    return door_new(&g->door, g->loop, &config);
}

static void free_handle(uv_handle_t *handle) {
    free(handle);
}

/* Allocates what the gateway holds, before anything runs. */
static gateway *allocate(const gateway_config *config) {
    gateway *g = calloc(1, sizeof *g);
    if (!g) {
        return NULL;
    }
    g->config = *config;
    g->sample = malloc(split_sample_elements(&config->shape));
    g->poll = malloc(sizeof *g->poll);
    g->timer = malloc(sizeof *g->timer);
    g->watch = malloc(sizeof *g->watch);
    g->rest = malloc(sizeof *g->rest);
    g->idle = malloc(sizeof *g->idle);
    return g;
}

static void free_gateway(gateway *g) {
    events_free(g->events);
    exchange_pool_free(&g->pool);
    text_free(&g->model);
    free(g->sample);
    free(g);
}

static void free_unstarted(gateway *g) {
    if (g) {
        free(g->poll);
        free(g->timer);
        free(g->watch);
        free(g->rest);
        free(g->idle);
        free_gateway(g);
    }
}

static void start_handles(gateway *g) {
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(g->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    uv_poll_init(g->loop, g->poll, info->epoll_fd);
    uv_timer_init(g->loop, g->timer);
    uv_timer_init(g->loop, g->watch);
    uv_timer_init(g->loop, g->rest);
    uv_idle_init(g->loop, g->idle);
    g->poll->data = g->timer->data = g->watch->data = g->rest->data = g->idle->data = g;
    uv_poll_start(g->poll, UV_READABLE, on_poll);
    uv_timer_start(g->watch, on_watch, TURN_MS, 0);
}

err gateway_new(gateway **out, uv_loop_t *loop, const gateway_config *config) {
    gateway *g = allocate(config);
    if (!g || !g->sample || !g->poll || !g->timer || !g->watch || !g->rest || !g->idle) {
        free_unstarted(g);
        return err_fail(ERR_MEMORY, "no memory for the HTTP side");
    }
    g->loop = loop;
    err e = page_init(&g->page);
    e = e ? e : start_daemon(g);
    e = e ? e : open_door(g);
    events_host host = {on_wanted, on_taken, on_resumed, g};
    e = e ? e : events_new(&g->events, loop, &host, config->mode == GATEWAY_TRAINS);
    if (e) {
        if (g->door) {
            door_close(g->door);
        }
        if (g->daemon) {
            MHD_stop_daemon(g->daemon);
        }
        free_unstarted(g);
        return e;
    }
    start_handles(g);
    *out = g;
    return ERR_OK;
}

uint16_t gateway_port(const gateway *g) {
    return door_port(g->door);
}

void gateway_close(gateway *g) {
    answer busy = {.outcome = ANSWER_BUSY};
    g->is_closing = true;
    door_close(g->door);
    g->door = NULL;
    for (size_t i = 0; i < REQUESTS_MAX; i++) {
        if (g->asked[i]) {
            classify_answered(g, g->asked[i], &busy);
        }
    }
    routes_reloaded(g, "the server is stopping");
    routes_reported(g); /* with the last report there was */
    events_end(g->events);
    while (g->resting) {
        end_rest(g);
    }
    g->has_resumed = true;
    run_daemon(g);
    uv_close((uv_handle_t *)g->poll, free_handle);
    uv_close((uv_handle_t *)g->timer, free_handle);
    uv_close((uv_handle_t *)g->watch, free_handle);
    uv_close((uv_handle_t *)g->rest, free_handle);
    uv_close((uv_handle_t *)g->idle, free_handle);
    MHD_stop_daemon(g->daemon);
    free_gateway(g);
}
