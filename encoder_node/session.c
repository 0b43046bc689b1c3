#include "encoder_node/session.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "loop/backoff.h"
#include "loop/loop.h"
#include "loop/sd_notify.h"
#include "loop/signals.h"
#include "loop/worker.h"
#include "wire/link.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A server that said no is asked less and less; a network may be back any moment. */
enum { BACKOFF_LOW_MS = 100, BACKOFF_AWAY_MS = 500, BACKOFF_REFUSED_MS = 5000 };

enum { HEAVY_MAX = 16 }; /* heavy frames that wait; an honest server has two under way */

/* Records between the two threads. `about` is the number of the connection, so that nothing meant for a connection
 * that is gone reaches the next one. */
enum {
    MAIL_UP = 1,
    MAIL_DOWN,
    MAIL_FRAME,
    MAIL_PORTIONS,
    MAIL_SEND,
    MAIL_HEARTBEAT,
    MAIL_RECONNECT,
    MAIL_END,
    MAIL_ROOM
};

typedef struct end_note {
    err code;
    char text[256];
} end_note;

typedef struct session {
    const session_config *config;
    /* the loop's */
    uv_loop_t loop;
    uv_timer_t retry;
    signals signals;
    backoff backoff;
    wire_link *link; /* NULL between connections */
    worker *worker;
    uint64_t connection;
    _Atomic uint64_t up; /* the connection that is up; 0: none. The worker looks at it */
    /* Frames that a whole net has to work on: handed to the worker, and done with. */
    unsigned heavy_posted;
    atomic_uint heavy_done;
    atomic_bool is_too_heavy; /* the link waits for the worker to be done with one */
    bool has_signals, ending;
    char why_down[256]; /* why there is no good connection now; the server's own words where it gave some */
    char told[256];     /* the reason logged last; "" since the last good connection */
    err outcome;
    char outcome_text[256];
    /* the worker's */
    node_protocol *protocol;
    source *source;
    arena unpacked;
    uint64_t current; /* connection the node is in */
    uint32_t heartbeat_ms;
    bool ended;
    bool is_stream_over;
    uint64_t left_out; /* portions of the source that were not streamed, since the server had this node outside */
} session;

/* On the worker. */

static void send_message(void *context, message_type type, const ProtobufCMessage *body) {
    session *s = context;
    uint8_t *to = worker_reply_begin(s->worker, MAIL_SEND, s->current, message_frame_size(body));
    if (to) {
        message_pack_frame(type, body, to);
        worker_reply_end(s->worker);
    }
}

static void end(session *s, err code) {
    end_note note = {.code = code};
    snprintf(note.text, sizeof note.text, "%s", code ? err_text() : "");
    s->ended = true;
    worker_reply(s->worker, MAIL_END, s->current, &note, sizeof note);
}

static void act_on(session *s, node_protocol_verdict verdict) {
    switch (verdict) {
    case NODE_PROTOCOL_GO_ON:
        break;
    case NODE_PROTOCOL_OVER:
        if (s->config->exit_when_done) {
            end(s, ERR_OK);
            break;
        } /* fall through */
    case NODE_PROTOCOL_RECONNECT:
        worker_reply(s->worker, MAIL_RECONNECT, s->current, err_text(), strlen(err_text()) + 1);
        break;
    case NODE_PROTOCOL_REFUSED:
        end(s, ERR_REFUSED);
        break;
    }
}

static void receive_frame(session *s, const mail *m) {
    message got;
    if (message_unpack(m->bytes[3], m->bytes + FRAME_HEADER, m->length - FRAME_HEADER, &s->unpacked, &got)) {
        act_on(s, NODE_PROTOCOL_RECONNECT);
        return;
    }
    act_on(s, node_protocol_receive(s->protocol, &got));
    if (s->heartbeat_ms != node_protocol_heartbeat_ms(s->protocol)) {
        s->heartbeat_ms = node_protocol_heartbeat_ms(s->protocol);
        worker_reply(s->worker, MAIL_HEARTBEAT, s->current, &s->heartbeat_ms, sizeof s->heartbeat_ms);
    }
}

/* Whether a frame costs as much as the net is large, however short it is. */
static bool is_heavy(uint8_t type) {
    return type == MESSAGE_BATCH || type == MESSAGE_GRADIENTS || type == MESSAGE_RESTORE || type == MESSAGE_SAVE ||
           type == MESSAGE_PREPARE;
}

static void count_heavy(session *s) {
    s->heavy_done++;
    if (atomic_exchange(&s->is_too_heavy, false)) {
        worker_reply(s->worker, MAIL_ROOM, s->current, NULL, 0);
    }
}

/* Whether there is anything to do about a frame: nobody waits for answers on a connection that is gone, and a server
 * may have left hours of work behind. */
static bool matters(const session *s, const mail *m) {
    return m->about == s->current &&
           (s->up == m->about || m->bytes[3] == MESSAGE_COMMITTED || m->bytes[3] == MESSAGE_REFUSAL);
}

static void receive(void *role, const mail *m) {
    session *s = role;
    if (s->ended || interrupt_asked()) {
        return; /* however much waits, a stop is soon */
    }
    switch (m->kind) {
    case MAIL_UP:
        s->current = m->about;
        s->heartbeat_ms = 0;
        node_protocol_connected(s->protocol);
        break;
    case MAIL_DOWN:
        node_protocol_disconnected(s->protocol);
        break;
    case MAIL_FRAME:
        if (matters(s, m)) {
            receive_frame(s, m);
        }
        if (is_heavy(m->bytes[3])) {
            count_heavy(s);
        }
        break;
    default: /* MAIL_PORTIONS only wakes the worker */
        break;
    }
}

/* Everything was taken from the source. */
static void end_stream(session *s) {
    err e = source_outcome(s->source);
    if (!e && s->left_out > 0) {
        e = err_fail(ERR_REFUSED, "%llu portions were not streamed: the server had them left out of its session",
                     (unsigned long long)s->left_out);
    }
    if (e && !s->is_stream_over && !s->config->exit_when_done) {
        log_error("%s", err_text());
    }
    s->is_stream_over = true;
    node_protocol_end_stream(s->protocol);
    if (s->config->exit_when_done && !node_protocol_may_be_refined(s->protocol)) {
        end(s, e);
    }
}

/* Whether the stream has come to its end. What is left of a source that failed before it gave anything is not worth
 * waiting for. */
static bool is_at_end(session *s) {
    const node_stream *stream = node_protocol_stream(s->protocol);
    return source_is_over(s->source) && (stream->session || stream->is_outside || source_outcome(s->source) != ERR_OK);
}

/* What comes while other streams are counted without this one belongs to none of their samples; a file can wait, unless
 * it began in a session that is over. */
static bool leaves_out(const session *s) {
    const node_stream *stream = node_protocol_stream(s->protocol);
    return stream->is_outside && (stream->session || source_is_live(s->source));
}

static int64_t stream_what_is_there(void *role) {
    session *s = role;
    node_protocol_flush(s->protocol);
    if (s->ended || !s->source) {
        return -1;
    }
    if (is_at_end(s)) {
        end_stream(s);
        return -1;
    }
    bool may_stream = node_protocol_may_stream(s->protocol), is_left_out = leaves_out(s);
    if (!may_stream && !is_left_out) {
        return -1;
    }
    if (worker_replies_are_high(s->worker)) {
        return 1000;
    }
    const uint8_t *portions;
    uint32_t count;
    source_peek(s->source, NODE_PROTOCOL_ROWS, &portions, &count);
    if (count == 0) {
        return -1;
    }
    if (is_left_out) {
        s->left_out += count;
    } else {
        node_protocol_send_samples(s->protocol, portions, count);
    }
    source_consume(s->source);
    return 0;
}

/* On the loop. */

static void connect_now(session *s);

/* For whoever watches this node from outside. A file that cannot be written is no reason to end. */
static void mark_ready(const session *s) {
    const char *path = s->config->ready_file;
    file_span line[] = {{s->config->host, strlen(s->config->host)}, {"\n", 1}};
    if (path && file_write_atomic(path, line, 2)) {
        log_warn("%s", err_text());
    }
}

static void mark_away(const session *s) {
    const char *path = s->config->ready_file;
    if (path && unlink(path) != 0 && errno != ENOENT) {
        log_warn("%s: cannot be removed: %s", path, strerror(errno));
    }
}

/* Said once a reason: a node may try for days. */
static void on_retry(uv_timer_t *timer) {
    session *s = timer->data;
    if (strcmp(s->why_down, s->told) != 0) {
        log_event(LOG_INFO, "server_away", "%s; trying again until it works", s->why_down);
        memcpy(s->told, s->why_down, sizeof s->told);
    }
    connect_now(s);
}

static void finish(session *s, err code, const char *text) {
    if (s->ending) {
        return;
    }
    s->ending = true;
    s->outcome = code;
    snprintf(s->outcome_text, sizeof s->outcome_text, "%s", text);
    uv_close((uv_handle_t *)&s->retry, NULL);
    if (s->has_signals) {
        signals_release(&s->signals);
    }
    if (s->link) {
        link_close(s->link, "the node ends");
    } else {
        uv_stop(&s->loop);
    }
}

static void on_up(void *context, wire_link *l) {
    session *s = context;
    log_event(LOG_DEBUG, "connected", "connected to %s", link_address(l));
    link_set_limit(l, FRAME_PAYLOAD_MAX);
    s->up = s->connection;
    worker_post(s->worker, MAIL_UP, s->connection, NULL, 0);
}

/* A server that asks for more than it could have use for is read no further until some of it is done. */
static bool is_too_heavy(session *s) {
    if (s->heavy_posted - s->heavy_done < HEAVY_MAX) {
        return false;
    }
    s->is_too_heavy = true;
    return s->heavy_posted - s->heavy_done >= HEAVY_MAX; /* one may have been done just before */
}

static void on_frame(void *context, wire_link *l, const frame *f) {
    session *s = context;
    if (worker_post_in_turn(s->worker, MAIL_FRAME, s->connection, f->payload - FRAME_HEADER,
                            FRAME_HEADER + f->length)) {
        link_close(l, err_text());
        return;
    }
    s->heavy_posted += is_heavy(f->type);
    if (worker_is_behind(s->worker) || is_too_heavy(s)) {
        link_pause(l);
    }
}

static void on_caught_up(void *loop_side) {
    session *s = loop_side;
    if (s->link) {
        link_resume(s->link);
    }
}

static void on_down(void *context, wire_link *l, const char *reason) {
    session *s = context;
    s->link = NULL;
    s->up = 0;
    mark_away(s);
    worker_release(s->worker);
    if (s->ending) {
        uv_stop(&s->loop);
        return;
    }
    worker_post(s->worker, MAIL_DOWN, s->connection, NULL, 0);
    bool needs_place = link_has_failed_tls(l);
    backoff_limit(&s->backoff, s->why_down[0] || needs_place ? BACKOFF_REFUSED_MS : BACKOFF_AWAY_MS);
    uint32_t wait = backoff_next_ms(&s->backoff);
    if (!s->why_down[0]) {
        snprintf(s->why_down, sizeof s->why_down, "%s%s%s", needs_place ? link_address(l) : "", needs_place ? ": " : "",
                 reason);
    }
    uv_timer_start(&s->retry, on_retry, wait, 0);
}

static void connect_now(session *s) {
    static const link_events events = {.up = on_up, .frame = on_frame, .down = on_down};
    s->connection++;
    s->why_down[0] = '\0';
    if (link_connect(&s->loop, s->config->host, s->config->port, s->config->tls, &events, s, &s->link)) {
        finish(s, ERR_MEMORY, err_text());
    }
}

static void deliver(void *loop_side, const mail *m) {
    session *s = loop_side;
    if (m->kind == MAIL_END) {
        const end_note *note = (const void *)m->bytes;
        if (s->link) {
            link_flush(s->link);
        }
        finish(s, note->code, note->text);
        return;
    }
    if (m->about == s->connection && m->kind == MAIL_RECONNECT) {
        snprintf(s->why_down, sizeof s->why_down, "%s", (const char *)m->bytes);
    }
    if (m->kind == MAIL_ROOM) {
        on_caught_up(s);
        return;
    }
    if (!s->link || m->about != s->connection) {
        return;
    }
    switch (m->kind) {
    case MAIL_SEND:
        link_send(s->link, m->bytes, m->length);
        if (link_backlog(s->link) > LINK_BACKLOG_HIGH) {
            link_flush(s->link);
        }
        break;
    case MAIL_HEARTBEAT:
        link_set_heartbeat(s->link, *(const uint32_t *)(const void *)m->bytes);
        backoff_reset(&s->backoff);
        s->told[0] = '\0';
        mark_ready(s);
        break;
    case MAIL_RECONNECT:
        link_close(s->link, (const char *)m->bytes);
        break;
    default:
        break;
    }
}

static void delivered(void *loop_side) {
    session *s = loop_side;
    if (s->link) {
        link_flush(s->link);
    }
}

static void on_stop(void *context) {
    sd_notify_stopping();
    finish(context, ERR_OK, "");
}

static void on_portions(void *context) {
    session *s = context;
    worker_post(s->worker, MAIL_PORTIONS, 0, NULL, 0);
}

static err run_loop(session *s) {
    static const worker_role role = {receive, stream_what_is_there, deliver, delivered, on_caught_up};
    uv_timer_init(&s->loop, &s->retry);
    s->retry.data = s;
    err e = signals_catch(&s->signals, &s->loop, on_stop, s);
    s->has_signals = !e;
    e = e || !s->config->tls ? e : signals_on_reload(&s->signals, tls_context_refresh, s->config->tls);
    if (!e && s->config->source != SOURCE_NONE) {
        e = source_new(&s->source, s->config->source, s->config->node.data, on_portions, s);
    }
    e = e ? e : worker_new(&s->worker, &s->loop, &role, s, s); /* it looks at the source, so that comes first */
    if (!e) {
        worker_gather(s->worker); /* the answers to many requests go out together */
    }
    if (!e && s->source) {
        e = source_start(s->source);
    }
    if (!e) {
        sd_notify_ready("connecting to its server, and again whenever it is gone");
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
    worker_free(s->worker); /* which may be taking from the source until here */
    source_free(s->source);
    uv_run(&s->loop, UV_RUN_DEFAULT);
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

err session_run(const session_config *config) {
    static session s; /* one a process: too large for the stack, and its address must not change */
    s = (session){.config = config};
    backoff_init(&s.backoff, BACKOFF_LOW_MS, BACKOFF_AWAY_MS, clock_now_ns() ^ (uint64_t)getpid());
    node_protocol_host host = {send_message, &s};
    err e = node_protocol_new(&s.protocol, &config->node, &host);
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
    return e || !s.outcome ? e : err_fail(s.outcome, "%s", s.outcome_text);
}
