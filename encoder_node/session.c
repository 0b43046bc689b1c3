#include "encoder_node/session.h"

#include "base/clock.h"
#include "base/log.h"
#include "encoder_node/node_protocol.h"
#include "loop/backoff.h"
#include "loop/compute_pool.h"
#include "loop/loop.h"
#include "loop/signals.h"
#include "wire/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* A server that said no is asked less and less; a network may be back any moment. */
enum { BACKOFF_LOW_MS = 100, BACKOFF_AWAY_MS = 500, BACKOFF_REFUSED_MS = 5000 };

/* A turn of the loop that has lasted for longer gives the next task away: signals, heartbeats and what is to be sent
 * wait for its end. */
enum { TURN_MS = 10 };

/* What the protocol is asked to do. */
typedef enum task { TASK_RECEIVE, TASK_FLUSH, TASK_STREAM } task;

typedef struct session {
    const node_options *options;
    tls_context *tls;    /* NULL: plain text */
    const portion *data; /* the node's */
    uv_loop_t loop;
    uv_timer_t retry;
    uv_prepare_t prepare; /* the loop is about to wait */
    uv_async_t arrived;   /* the source has something */
    signals signals;
    backoff backoff;
    wire_link *link; /* NULL between connections */
    source *source;  /* NULL: none */
    arena unpacked;
    node_protocol *protocol;
    uint32_t heartbeat_ms;
    /* The task at hand. Where it takes long the pool has the protocol until it is done: the link is not read meanwhile,
     * and what is sent waits in `replies`. */
    compute_pool *pool;
    bool is_lent;
    task task;
    message received;
    const uint8_t *portions; /* [count], of the source */
    uint32_t count;
    node_protocol_verdict verdict;
    char verdict_text[256];
    dynbuf replies;

    bool has_signals, has_arrived, ending;
    bool is_stream_over;
    uint64_t left_out;  /* portions of the source that were not streamed, since the server had this node outside */
    char why_down[256]; /* why there is no good connection now; the server's own words where it gave some */
    char told[256];     /* the reason logged last; "" since the last good connection */
    err outcome;
    char outcome_text[256];
} session;

/* For what watches this node from outside. A file that cannot be written is no reason to end. */
static void mark_ready(const session *s) {
    const char *path = s->options->ready_file;
    file_span line[] = {{s->options->server.host, strlen(s->options->server.host)}, {"\n", 1}};
    if (path && file_write_atomic(path, line, 2)) {
        log_event(LOG_WARN, "ready_file_failed", "%s", err_text());
    }
}

static void mark_away(const session *s) {
    const char *path = s->options->ready_file;
    if (path && unlink(path) != 0 && errno != ENOENT) {
        log_warn("%s: cannot be removed: %s", path, strerror(errno));
    }
}

static void finish(session *s, err code, const char *text) {
    if (s->ending) {
        return;
    }
    s->ending = true;
    s->outcome = code;
    snprintf(s->outcome_text, sizeof s->outcome_text, "%s", text);
    uv_close((uv_handle_t *)&s->retry, NULL);
    uv_close((uv_handle_t *)&s->prepare, NULL);
    if (s->has_signals) {
        signals_release(&s->signals);
    }
    if (s->link) {
        link_close(s->link, "the node ends");
    } else {
        uv_stop(&s->loop);
    }
}

/* What the protocol does, on the loop's thread or the pool's. */

static void send_message(void *context, message_type type, const ProtobufCMessage *body) {
    session *s = context;
    if (!s->is_lent) {
        if (s->link) {
            link_send_message(s->link, type, body);
        }
        return;
    }
    size_t length = message_frame_size(body);
    char *to = dynbuf_room(&s->replies, length);
    if (to) {
        message_pack_frame(type, body, (uint8_t *)to);
        dynbuf_commit(&s->replies, to + length);
    }
}

static void work(void *context) {
    session *s = context;
    s->verdict = NODE_PROTOCOL_GO_ON;
    switch (s->task) {
    case TASK_RECEIVE:
        s->verdict = node_protocol_receive(s->protocol, &s->received);
        break;
    case TASK_FLUSH:
        node_serve_flush(node_protocol_serve(s->protocol));
        break;
    case TASK_STREAM:
        node_serve_stream(node_protocol_serve(s->protocol), s->portions, s->count);
        break;
    }
    if (s->verdict != NODE_PROTOCOL_GO_ON) {
        snprintf(s->verdict_text, sizeof s->verdict_text, "%s", err_text());
    }
}

/* On the loop. */

static void reconnect(session *s, const char *text) {
    snprintf(s->why_down, sizeof s->why_down, "%s", text);
    if (s->link) {
        link_close(s->link, s->why_down);
    }
}

static void act_on_verdict(session *s) {
    if (s->verdict == NODE_PROTOCOL_REFUSED) {
        finish(s, ERR_REFUSED, s->verdict_text);
    } else if (s->verdict == NODE_PROTOCOL_OVER && s->options->exit_when_done) {
        finish(s, ERR_OK, "");
    } else if (s->verdict != NODE_PROTOCOL_GO_ON) {
        reconnect(s, s->verdict_text);
    }
}

/* The server has this node once it has said how often it wants to hear of it. */
static void follow_heartbeat(session *s) {
    uint32_t ms = node_protocol_heartbeat_ms(s->protocol);
    if (ms != s->heartbeat_ms && s->link) {
        s->heartbeat_ms = ms;
        link_set_heartbeat(s->link, ms);
        backoff_reset(&s->backoff);
        s->told[0] = '\0';
        mark_ready(s);
    }
}

static void end_task(session *s) {
    if (s->task == TASK_STREAM) {
        source_consume(s->source);
        uv_async_send(&s->arrived); /* there may be more */
    }
    if (s->task == TASK_RECEIVE) {
        follow_heartbeat(s);
    }
    act_on_verdict(s);
}

static void come_down(session *s);

static void send_replies(session *s) {
    for (size_t at = 0; at < s->replies.length && s->link;) {
        const uint8_t *one = (const uint8_t *)s->replies.bytes + at;
        size_t size = frame_size(one);
        if (link_send(s->link, one, size)) {
            break;
        }
        at += size;
    }
    if (s->replies.has_failed && s->link) {
        link_close(s->link, "no memory for an answer");
    }
    dynbuf_reset(&s->replies);
}

/* The protocol is back from the pool. */
static void on_worked(void *context) {
    session *s = context;
    s->is_lent = false;
    send_replies(s);
    end_task(s);
    if (s->link) {
        link_resume(s->link);
    } else {
        come_down(s);
    }
}

static void run(session *s, task task, bool is_long) {
    s->task = task;
    s->is_lent = is_long;
    if (!is_long) {
        work(s);
        end_task(s);
        return;
    }
    if (s->link) {
        link_pause(s->link);
    }
    if (compute_pool_run(s->pool, work, on_worked, s)) { /* never so: one task is all there is at a time */
        s->is_lent = false;
        reconnect(s, err_text());
    }
}

/* Everything was taken from the source. */
static void end_stream(session *s) {
    err e = source_outcome(s->source);
    if (!e && s->left_out > 0) {
        e = err_fail(ERR_REFUSED, "%llu portions were not streamed: the server had them left out of its session",
                     (unsigned long long)s->left_out);
    }
    if (e && !s->is_stream_over && !s->options->exit_when_done) {
        log_event(LOG_ERROR, "stream_failed", "%s", err_text());
    }
    s->is_stream_over = true;
    node_serve_end_stream(node_protocol_serve(s->protocol));
    if (s->options->exit_when_done && !node_serve_may_be_refined(node_protocol_serve(s->protocol))) {
        finish(s, e, e ? err_text() : "");
    }
}

/* Whether the stream has come to its end. What is left of a source that failed before it gave anything is not worth
 * waiting for. */
static bool is_at_end(session *s) {
    const node_stream *stream = &node_protocol_serve(s->protocol)->stream;
    return source_is_over(s->source) && (stream->session || stream->is_outside || source_outcome(s->source) != ERR_OK);
}

/* What comes while other streams are counted without this one belongs to none of their samples; a file can wait, unless
 * it began in a session that is over. */
static bool leaves_out(const session *s) {
    const node_stream *stream = &node_protocol_serve(s->protocol)->stream;
    return stream->is_outside && (stream->session || source_is_live(s->source));
}

static void stream_what_is_there(session *s) {
    if (is_at_end(s)) {
        end_stream(s);
        return;
    }
    bool is_left_out = leaves_out(s);
    bool has_room = s->link && link_backlog(s->link) <= LINK_BACKLOG_HIGH;
    if (!is_left_out && !(node_serve_may_stream(node_protocol_serve(s->protocol)) && has_room)) {
        return;
    }
    source_peek(s->source, NODE_SERVE_ROWS, &s->portions, &s->count);
    if (s->count > 0 && is_left_out) {
        s->left_out += s->count;
        source_consume(s->source);
        uv_async_send(&s->arrived);
    } else if (s->count > 0) {
        run(s, TASK_STREAM, node_protocol_stream_is_long(s->protocol, s->count));
    }
}

/* What a turn of the loop has brought is taken: its requests are answered together, and all that is sent goes out at
 * once. */
static void before_waiting(uv_prepare_t *prepare) {
    session *s = prepare->data;
    if (!s->is_lent) {
        run(s, TASK_FLUSH, node_protocol_flush_is_long(s->protocol));
    }
    if (!s->is_lent && s->source && !s->ending) {
        stream_what_is_there(s);
    }
    if (s->link) {
        link_flush(s->link);
    }
}

static void connect_now(session *s);

/* Said once a reason: a node may try for days. */
static void on_retry(uv_timer_t *timer) {
    session *s = timer->data;
    if (strcmp(s->why_down, s->told) != 0) {
        log_event(LOG_INFO, "server_away", "%s; trying again until it works", s->why_down);
        memcpy(s->told, s->why_down, sizeof s->told);
    }
    connect_now(s);
}

static void on_up(void *context, wire_link *l) {
    session *s = context;
    log_event(LOG_DEBUG, "connected", "connected to %s", link_address(l));
    link_set_limit(l, FRAME_PAYLOAD_MAX);
    node_protocol_connected(s->protocol);
}

static bool has_turn_lasted(const session *s) {
    return uv_hrtime() / 1000000 > uv_now(&s->loop) + TURN_MS;
}

/* Nobody waits for answers on a connection that is gone, and a server may have left hours of work behind. */
static bool is_worth_doing(const wire_link *l, const frame *f) {
    return f->type == MESSAGE_COMMITTED || f->type == MESSAGE_REFUSAL || !link_is_write_broken(l);
}

static void on_frame(void *context, wire_link *l, const frame *f) {
    session *s = context;
    if (!is_worth_doing(l, f)) {
        return;
    }
    if (message_unpack(f->type, f->payload, f->length, &s->unpacked, &s->received)) {
        reconnect(s, err_text());
        return;
    }
    run(s, TASK_RECEIVE, has_turn_lasted(s) || node_protocol_is_long(s->protocol, &s->received));
}

/* There is no connection, and the protocol is here. */
static void come_down(session *s) {
    node_protocol_disconnected(s->protocol);
    s->heartbeat_ms = 0;
    if (!s->ending) {
        uv_timer_start(&s->retry, on_retry, backoff_next_ms(&s->backoff), 0);
    }
}

static void on_down(void *context, wire_link *l, const char *reason) {
    session *s = context;
    s->link = NULL;
    mark_away(s);
    if (s->ending) {
        uv_stop(&s->loop);
        return;
    }
    bool needs_place = link_has_failed_tls(l);
    backoff_limit(&s->backoff, s->why_down[0] || needs_place ? BACKOFF_REFUSED_MS : BACKOFF_AWAY_MS);
    if (!s->why_down[0]) {
        snprintf(s->why_down, sizeof s->why_down, "%s%s%s", needs_place ? link_address(l) : "", needs_place ? ": " : "",
                 reason);
    }
    if (!s->is_lent) {
        come_down(s);
    }
}

static void connect_now(session *s) {
    static const link_events events = {.up = on_up, .frame = on_frame, .down = on_down};
    s->why_down[0] = '\0';
    if (link_connect(&s->loop, s->options->server.host, s->options->server.port, s->tls, &events, s, &s->link)) {
        finish(s, ERR_MEMORY, err_text());
    }
}

static void on_stop(void *context) {
    sd_notify(0, "STOPPING=1\nSTATUS=ending");
    finish(context, ERR_OK, "");
}

/* On the source's thread. */
static void on_portions(void *context) {
    uv_async_send(&((session *)context)->arrived);
}

static err open_source(session *s) {
    if (s->options->stream == SOURCE_NONE) {
        return ERR_OK;
    }
    int status = uv_async_init(&s->loop, &s->arrived, NULL); /* the loop wakes, and looks before it waits again */
    if (status < 0) {
        return err_fail(ERR_IO, "cannot wait for portions: %s", uv_strerror(status));
    }
    s->has_arrived = true;
    return source_new(&s->source, s->options->stream, s->data, on_portions, s);
}

static err run_loop(session *s) {
    uv_timer_init(&s->loop, &s->retry);
    uv_prepare_init(&s->loop, &s->prepare);
    s->retry.data = s->prepare.data = s;
    err e = signals_catch(&s->signals, &s->loop, on_stop, s);
    s->has_signals = !e;
    e = e || !s->tls ? e : signals_on_reload(&s->signals, tls_context_refresh, s->tls);
    e = e ? e : compute_pool_new(&s->pool, &s->loop);
    e = e ? e : open_source(s);
    if (!e) {
        uv_prepare_start(&s->prepare, before_waiting);
        sd_notify(0, "READY=1\nSTATUS=connecting to its server, and again whenever it is gone");
        connect_now(s);
        uv_run(&s->loop, UV_RUN_DEFAULT);
    }
    return e;
}

static void drain_loop(session *s) {
    finish(s, ERR_OK, "");
    while (s->link) {
        uv_run(&s->loop, UV_RUN_ONCE);
    }
    source_stop(s->source);
    compute_pool_free(s->pool); /* which may have portions of the source until here */
    source_free(s->source);
    if (s->has_arrived) {
        uv_close((uv_handle_t *)&s->arrived, NULL);
    }
    while (uv_run(&s->loop, UV_RUN_DEFAULT)) {
        /* once more: it was told to stop before it ran */
    }
}

static err with_loop(session *s) {
    err e = loop_open(&s->loop);
    if (e) {
        return e;
    }
    e = run_loop(s);
    char text[512];
    snprintf(text, sizeof text, "%s", e ? err_text() : "");
    drain_loop(s);
    loop_close(&s->loop);
    return e ? err_fail(e, "%s", text) : ERR_OK;
}

err session_run(const node_options *o, tls_context *tls, const portion *data) {
    static session s; /* one a process: too large for the stack, and its address must not change */
    s = (session){.options = o, .tls = tls, .data = data, .replies = dynbuf_make(LINK_BACKLOG_MAX)};
    backoff_init(&s.backoff, BACKOFF_LOW_MS, BACKOFF_AWAY_MS, clock_now_ns() ^ (uint64_t)getpid());
    node_host host = {send_message, &s};
    node_protocol_config config = {.name = o->name ? o->name : portion_get_info(data)->name,
                                   .data = data,
                                   .state = o->state,
                                   .coding = o->coding,
                                   .streams = o->stream != SOURCE_NONE,
                                   .offers_listed = o->offers_samples,
                                   .max_memory = (size_t)o->max_memory_mib << 20,
                                   .max_state = (uint64_t)o->max_state_mib << 20};
    err e = node_protocol_new(&s.protocol, &config, &host);
    if (e) {
        return e;
    }
    e = arena_init(&s.unpacked, message_arena_size(FRAME_PAYLOAD_MAX));
    if (e) {
        node_protocol_free(s.protocol);
        return e;
    }
    mark_away(&s);
    e = with_loop(&s);
    node_protocol_free(s.protocol);
    arena_free(&s.unpacked);
    dynbuf_free(&s.replies);
    return e || !s.outcome ? e : err_fail(s.outcome, "%s", s.outcome_text);
}
