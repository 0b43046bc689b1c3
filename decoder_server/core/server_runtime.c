#include "decoder_server/core/server_runtime.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "decoder_server/core/node_listener.h"
#include "loop/alarm.h"
#include "loop/compute_pool.h"
#include "loop/loop.h"
#include "loop/signals.h"

#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

struct server_runtime {
    server_runtime_config config;
    const server_role *role;
    void *context;
    uint32_t portions;
    uv_loop_t loop;
    bool has_loop;
    node_registry *nodes;
    sse_producer *sse;
    /* open while it runs */
    node_listener *listener;
    http_api *http; /* NULL without --http */
    api_token token;
    compute_pool *pool;
    signals signals;
    alarm_clock alarm;
    uv_prepare_t prepare; /* before the loop waits: what was said is flushed */
    uv_check_t check;     /* after it has waited: the role is polled */
    uv_idle_t again;      /* while it is active the loop does not wait */
    bool has_signals, is_lent, is_stopping, is_ended;
    /* While the core is lent: */
    stats stats;     /* as they were before */
    dynbuf said;     /* what it has told the nodes: said_head and what belongs to it, one after another */
    bool has_wanted; /* subscribers have come or gone: `is_wanted` says which, */
    bool is_wanted;
    bool has_taken; /* and the events handed over last were taken */
    err end_code;
    char end_text[256];
};

/* What a lent core tells the nodes waits until it is back. */

enum { SAID_BYTES_MAX = 1 << 30 }; /* more than the longest messages to 64 nodes */

typedef enum said_kind { SAID_FRAME, SAID_CLOSE, SAID_PAUSE, SAID_RESUME } said_kind;

typedef struct said_head {
    said_kind kind;
    uint64_t connection;
    size_t length; /* of the frame, or of the reason with its zero, that follows */
} said_head;

/* Room for what follows the head; NULL: no memory, which is found out when the core is back. */
static uint8_t *say(server_runtime *r, said_kind kind, uint64_t connection, size_t length) {
    const said_head head = {kind, connection, length};
    char *to = dynbuf_room(&r->said, sizeof head + length);
    if (to) {
        memcpy(to, &head, sizeof head);
        dynbuf_commit(&r->said, to + sizeof head + length);
    }
    return to ? (uint8_t *)to + sizeof head : NULL;
}

static void send_one(void *context, uint64_t connection, message_type type, const ProtobufCMessage *body) {
    server_runtime *r = context;
    if (!r->is_lent) {
        node_listener_send(r->listener, connection, type, body);
        return;
    }
    uint8_t *to = say(r, SAID_FRAME, connection, message_frame_size(body));
    if (to) {
        message_pack_frame(type, body, to);
    }
}

static void close_one(void *context, uint64_t connection, const char *reason) {
    server_runtime *r = context;
    if (!r->is_lent) {
        node_listener_close_one(r->listener, connection, reason);
        return;
    }
    uint8_t *to = say(r, SAID_CLOSE, connection, strlen(reason) + 1);
    if (to) {
        memcpy(to, reason, strlen(reason) + 1);
    }
}

static void pause_one(void *context, uint64_t connection, bool paused) {
    server_runtime *r = context;
    if (r->is_lent) {
        say(r, paused ? SAID_PAUSE : SAID_RESUME, connection, 0);
    } else {
        node_listener_pause(r->listener, connection, paused);
    }
}

static bool may_speak(void *context, uint64_t connection, const char *portion) {
    return node_listener_may_speak(((server_runtime *)context)->listener, connection, portion);
}

static void admit_one(void *context, uint64_t connection, uint32_t heartbeat_ms) {
    node_listener_admit(((server_runtime *)context)->listener, connection, heartbeat_ms);
}

static void add_traffic(void *context, uint64_t connection, traffic_counters *sum) {
    node_listener_add_traffic(((server_runtime *)context)->listener, connection, sum);
}

/* Without memory for what was said nobody can go on: nodes would wait for it. */
static err pass_on(server_runtime *r) {
    err e = dynbuf_check(&r->said, "what the nodes are to be told");
    for (size_t at = 0; at < r->said.length && !e;) {
        said_head head;
        memcpy(&head, r->said.bytes + at, sizeof head);
        const char *what = r->said.bytes + at + sizeof head;
        if (head.kind == SAID_FRAME) {
            node_listener_send_frame(r->listener, head.connection, (const uint8_t *)what, head.length);
        } else if (head.kind == SAID_CLOSE) {
            node_listener_close_one(r->listener, head.connection, what);
        } else {
            node_listener_pause(r->listener, head.connection, head.kind == SAID_PAUSE);
        }
        at += sizeof head + head.length;
    }
    dynbuf_reset(&r->said);
    return e;
}

/* Work. */

static void take_stats(server_runtime *r, stats *s) {
    *s = (stats){0};
    node_registry_stats(r->nodes, s);
    r->role->stats(r->context, s);
}

static void on_again(uv_idle_t *again) {
    (void)again;
}

void server_runtime_wake(server_runtime *r) {
    uv_idle_start(&r->again, on_again);
}

static void do_work(void *context) {
    server_runtime *r = context;
    r->role->work(r->context);
}

static void work_while_due(server_runtime *r);

static void take_back(server_runtime *r) {
    r->is_lent = false;
    if (r->has_wanted) {
        r->has_wanted = false;
        sse_producer_set_wanted(r->sse, r->is_wanted);
    }
    if (r->has_taken) {
        r->has_taken = false;
        sse_producer_taken(r->sse);
    }
    sse_producer_hold(r->sse, false);
}

static void on_worked(void *context) {
    server_runtime *r = context;
    take_back(r);
    if (r->is_ended) {
        return;
    }
    err e = pass_on(r);
    if (e) {
        server_runtime_end(r, e, err_text());
        return;
    }
    r->role->work_done(r->context);
    work_while_due(r);
    if (!r->is_lent) {
        node_listener_release(r->listener);
    }
}

static bool lend(server_runtime *r) {
    sse_producer_hold(r->sse, true);
    r->is_lent = true; /* the work looks at it */
    if (compute_pool_run(r->pool, do_work, on_worked, r)) {
        take_back(r);
    }
    return r->is_lent;
}

/* Does what is due, or lends the core for it. */
static void work_while_due(server_runtime *r) {
    while (!r->is_lent && !r->is_ended) {
        server_work due = r->role->work_due(r->context);
        if (due == SERVER_WORK_NONE) {
            return;
        }
        if (due == SERVER_WORK_LONG) {
            take_stats(r, &r->stats);
            node_listener_hold(r->listener);
            if (lend(r)) {
                node_listener_flush(r->listener);
                return;
            }
            node_listener_release(r->listener);
        }
        node_listener_flush(r->listener);
        r->role->work(r->context);
        r->role->work_done(r->context);
    }
}

/* Nodes: from the listener to the registry, and from there to the role. */

static void on_frame(void *context, uint64_t connection, const frame *f) {
    server_runtime *r = context;
    node_registry_take(r->nodes, connection, f);
    work_while_due(r);
}

/* The end of a link is told behind the turn's poll. */
static void on_lost(void *context, uint64_t connection, const traffic_counters *last) {
    server_runtime *r = context;
    if (!r->is_ended) {
        node_registry_lost(r->nodes, connection, last);
        server_runtime_wake(r);
        work_while_due(r);
    }
}

/* Turns of the loop. */

/* The sockets that had something have been read. What has come while links were not read from counts as come before
 * now: no deadline passes before it is read. */
static void on_check(uv_check_t *check) {
    server_runtime *r = check->data;
    int64_t rest_us = -1;
    if (node_listener_resume(r->listener)) {
        rest_us = 0;
    } else if (!r->is_lent && !r->is_ended) {
        uint64_t now_ns = clock_now_ns();
        rest_us = r->role->poll(r->context, now_ns);
        work_while_due(r);
        if (rest_us > 0) {
            alarm_set(&r->alarm, now_ns + (uint64_t)rest_us * 1000);
        }
    }
    bool is_at_rest = r->is_lent || r->is_ended || (rest_us != 0 && !node_listener_may_resume(r->listener));
    if (is_at_rest) {
        uv_idle_stop(&r->again);
    } else {
        server_runtime_wake(r);
    }
}

static void on_prepare(uv_prepare_t *prepare) {
    server_runtime *r = prepare->data;
    node_listener_flush(r->listener);
}

static void open_turns(server_runtime *r) {
    uv_prepare_init(&r->loop, &r->prepare);
    uv_check_init(&r->loop, &r->check);
    uv_idle_init(&r->loop, &r->again);
    r->prepare.data = r->check.data = r;
    uv_prepare_start(&r->prepare, on_prepare);
    uv_check_start(&r->check, on_check);
}

/* The HTTP API. */

static void give_stats(void *context, stats *s) {
    server_runtime *r = context;
    if (r->is_lent || r->is_ended) {
        *s = r->stats;
    } else {
        take_stats(r, s);
    }
    node_listener_stats(r->listener, s);
}

static void on_subscribers(void *context, bool wanted) {
    server_runtime *r = context;
    if (r->is_lent) {
        r->has_wanted = true;
        r->is_wanted = wanted;
    } else {
        sse_producer_set_wanted(r->sse, wanted);
    }
}

static void on_events_taken(void *context) {
    server_runtime *r = context;
    if (r->is_lent) {
        r->has_taken = true;
    } else {
        sse_producer_taken(r->sse);
    }
}

static void pass_events(void *context, uint64_t dropped, const char *bytes, size_t length) {
    server_runtime *r = context;
    if (r->http) {
        http_api_events(r->http, dropped, bytes, length);
    }
}

static err open_http(server_runtime *r) {
    const server_options *o = r->config.options;
    if (!o->http.host[0]) {
        return ERR_OK;
    }
    http_api_config config = {
        .host = o->http.host,
        .port = o->http.port,
        .mode = r->config.mode,
        .token = o->token_file ? &r->token : NULL,
        .allowed_hosts = o->allowed_hosts,
        .classes = r->config.classes,
        .experiment = r->config.nodes.experiment,
        .enough_nodes = r->config.enough_nodes > 0 ? r->config.enough_nodes : r->portions,
        .classify = r->config.classify,
        .samples = r->config.samples,
        .reload = r->config.reload,
        .role = r->context,
        .stats = give_stats,
        .listen = on_subscribers,
        .events_taken = on_events_taken,
        .context = r,
    };
    err e = o->token_file ? api_token_load(&r->token, o->token_file) : ERR_OK;
    e = e ? e : http_api_new(&r->http, &r->loop, &config);
    if (!e) {
        http_api_set_ready(r->http, 0, r->portions);
    }
    return e;
}

void server_runtime_set_ready(server_runtime *r, uint32_t nodes) {
    if (r->http) {
        http_api_set_ready(r->http, nodes, r->portions);
    }
}

/* Start and end. */

static void begin_stop(server_runtime *r) {
    if (!r->is_stopping) {
        r->is_stopping = true;
        sd_notify(0, "STOPPING=1\nSTATUS=ending");
    }
}

static void on_stop(void *context) {
    server_runtime *r = context;
    begin_stop(r);
    r->role->stop(r->context);
}

static void on_closed(void *context) {
    uv_stop(&((server_runtime *)context)->loop);
}

void server_runtime_let_nobody_in(server_runtime *r) {
    node_listener_stop_listening(r->listener);
    if (r->http) {
        http_api_stop(r->http);
    }
}

void server_runtime_end(server_runtime *r, err code, const char *text) {
    if (r->is_ended) {
        return;
    }
    if (!r->is_lent) {
        take_stats(r, &r->stats);
    }
    r->is_ended = true;
    r->end_code = code;
    snprintf(r->end_text, sizeof r->end_text, "%s", text);
    begin_stop(r);
    r->role->close(r->context);
    if (r->has_signals) {
        signals_release(&r->signals);
    }
    if (r->http) {
        http_api *http = r->http;
        r->http = NULL;
        http_api_close(http);
    }
    node_listener_flush(r->listener);
    node_listener_close(r->listener, on_closed, r);
}

err server_runtime_on_reload(server_runtime *r, void (*act)(void *context), void *context) {
    return signals_on_reload(&r->signals, act, context);
}

static json_t *address_json(const char *host, uint16_t port) {
    char text[ADDRESS_TEXT_MAX];
    return json_string(address_text(text, host, port));
}

/* Where it listens, for whoever started it with port 0:
 *
 *   {"nodes": "127.0.0.1:40123", "http": "127.0.0.1:40124", "pid": 4242}       without --http there is no "http" */
static err write_address_file(const server_runtime *r) {
    const server_options *o = r->config.options;
    if (!o->address_file) {
        return ERR_OK;
    }
    json_t *j = json_pack("{s:o, s:i}", "nodes", address_json(o->listen.host, node_listener_port(r->listener)), "pid",
                          (int)getpid());
    if (r->http) {
        json_object_set_new(j, "http", address_json(o->http.host, http_api_port(r->http)));
    }
    return json_fields_write(o->address_file, j);
}

static void log_addresses(const server_runtime *r) {
    const server_options *o = r->config.options;
    char address[ADDRESS_TEXT_MAX];
    address_text(address, o->listen.host, node_listener_port(r->listener));
    if (r->config.mode == ROUTES_SERVING) {
        log_event(LOG_INFO, "serving", "serving run %s: nodes on %s%s", o->run, address, o->tls ? " with TLS" : "");
    } else {
        log_event(LOG_INFO, "listening", "listening on %s for %u nodes, run %s", address, r->portions, o->run);
    }
    if (r->http) {
        log_event(LOG_INFO, "http_listening", "HTTP on %s",
                  address_text(address, o->http.host, http_api_port(r->http)));
    }
}

static err open_all(server_runtime *r) {
    const server_options *o = r->config.options;
    err e = open_http(r);
    e = e ? e : alarm_open(&r->alarm, &r->loop);
    e = e ? e : compute_pool_new(&r->pool, &r->loop);
    e = e ? e : signals_catch(&r->signals, &r->loop, on_stop, r);
    r->has_signals = !e;
    e = e || !o->tls ? e : signals_on_reload(&r->signals, tls_context_refresh, o->tls);
    e = e ? e : r->role->start(r->context);
    return e ? e : write_address_file(r);
}

static void close_turns(server_runtime *r) {
    uv_close((uv_handle_t *)&r->prepare, NULL);
    uv_close((uv_handle_t *)&r->check, NULL);
    uv_close((uv_handle_t *)&r->again, NULL);
    alarm_close(&r->alarm);
}

err server_runtime_run(server_runtime *r) {
    const server_options *o = r->config.options;
    const node_listener_host host = {on_frame, on_lost, r};
    err e = node_listener_new(&r->listener, &r->loop, o->listen.host, o->listen.port, o->tls, &host);
    if (e) {
        return e;
    }
    open_turns(r);
    e = open_all(r);
    if (e) {
        server_runtime_end(r, e, err_text());
    } else {
        log_addresses(r);
        sd_notifyf(0, "READY=1\nSTATUS=%s", r->config.mode == ROUTES_SERVING ? "serving" : "training");
    }
    uv_run(&r->loop, UV_RUN_DEFAULT);
    close_turns(r);
    compute_pool_free(r->pool); /* waits for what is under way */
    uv_run(&r->loop, UV_RUN_DEFAULT);
    node_listener_free(r->listener);
    return r->end_code ? err_fail(r->end_code, "%s", r->end_text) : ERR_OK;
}

err server_runtime_new(server_runtime **out, const server_runtime_config *config, const server_role *role,
                       void *context) {
    server_runtime *r = calloc(1, sizeof *r);
    if (!r) {
        return err_fail(ERR_MEMORY, "no memory for the server");
    }
    process_shorten_slices();
    r->config = *config;
    r->role = role;
    r->context = context;
    r->said = dynbuf_make(SAID_BYTES_MAX);
    r->config.nodes.heartbeat_ms = (uint32_t)config->options->heartbeat_ms;
    const node_registry_host host = {send_one, may_speak, admit_one, close_one, pause_one, add_traffic, r};
    const node_registry_events events = {role->joined, role->left, role->message, context};
    const experiment *of = config->nodes.experiment;
    r->portions = of->portion_count;
    err e = node_registry_new(&r->nodes, &r->config.nodes, &host, &events);
    e = e ? e : sse_producer_new(&r->sse, pass_events, r);
    e = e ? e : loop_open(&r->loop);
    r->has_loop = !e;
    if (e) {
        server_runtime_free(r);
        return e;
    }
    *out = r;
    return ERR_OK;
}

void server_runtime_free(server_runtime *r) {
    if (r) {
        if (r->has_loop) {
            loop_close(&r->loop);
        }
        node_registry_free(r->nodes);
        sse_producer_free(r->sse);
        dynbuf_free(&r->said);
        free(r);
    }
}

bool server_runtime_has_room(const server_runtime *r, uint32_t portion, size_t bytes) {
    return node_listener_has_room(r->listener, node_registry_connection(r->nodes, portion), bytes);
}

bool server_runtime_is_lent(const server_runtime *r) {
    return r->is_lent;
}

uv_loop_t *server_runtime_loop(server_runtime *r) {
    return &r->loop;
}

node_registry *server_runtime_nodes(server_runtime *r) {
    return r->nodes;
}

sse_producer *server_runtime_sse(server_runtime *r) {
    return r->sse;
}

http_api *server_runtime_http(server_runtime *r) {
    return r->http;
}
