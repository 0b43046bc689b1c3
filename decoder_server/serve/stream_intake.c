#include "decoder_server/serve/stream_intake.h"

#include "base/log_limit.h"
#include "bits/pack.h"
#include "decoder_server/serve/backlog.h"

#include <inttypes.h>
#include <stdlib.h>

/* Bytes in the backlog of one node: it is asked to hold from HOLD_BYTES on, and not read from beyond PAUSE_BYTES; while
 * nodes get ready for another model, beyond PREPARING_BYTES. What was under way then comes on top. */
enum { HOLD_BYTES = 128 << 10, PAUSE_BYTES = 4 << 20, PREPARING_BYTES = 64 << 20 };

/* What one node streams and nobody else does becomes degraded results, so many a second of each node: codes are few
 * bits, results are lines. */
enum { SINGLE_A_SECOND = 1000, SINGLE_BURST = STREAM_INTAKE_CAPACITY, SINGLE_TURN_NS = 50000000 };
static const uint64_t single_pause_ns = 1000000000 / SINGLE_A_SECOND;

/* Answered samples that are worth an Ack; and it comes after a pause at the latest. */
enum { ACK_STEP = 4096 };
static const uint64_t ack_pause_ns = 1000000000;

static const uint64_t late_pause_ns = 5000000000;

/* One node's. */
typedef struct intake_node {
    bool is_held, is_paused;   /* asked to hold; not read from */
    uint32_t connection;       /* how often its node has gone */
    uint64_t single_ns;        /* until then a node that streams alone has used up what it may */
    uint64_t to_ack, acked_ns; /* answered samples that it was not told of; when it was told last */
    uint64_t late, late_ns;    /* samples that came too late and are not logged yet; when they were last */
} intake_node;

struct stream_intake {
    stream_intake_config config;
    stream_intake_events events;
    const engine_host *host;
    streams *streams;
    backlog *backlog;
    assembler *samples;
    bool is_preparing, is_ending, hurries;
    intake_node nodes[PARTITION_PORTIONS_MAX];
};

err stream_intake_new(stream_intake **out, const stream_intake_config *config, const stream_intake_events *events,
                      const engine_host *host) {
    stream_intake *i = calloc(1, sizeof *i);
    if (!i) {
        return err_fail(ERR_MEMORY, "no memory for the streams");
    }
    i->config = *config;
    i->events = *events;
    i->host = host;
    assembler_config samples = {STREAM_INTAKE_CAPACITY, config->streams.portions, config->deadline_ns, true};
    err e = assembler_new(&i->samples, &samples);
    e = e ? e : streams_new(&i->streams, &config->streams);
    e = e ? e : backlog_new(&i->backlog, config->streams.portions);
    if (e) {
        stream_intake_free(i);
        return e;
    }
    *out = i;
    return ERR_OK;
}

void stream_intake_free(stream_intake *i) {
    if (i) {
        assembler_free(i->samples);
        streams_free(i->streams);
        backlog_free(i->backlog);
        free(i);
    }
}

assembler *stream_intake_samples(const stream_intake *i) {
    return i->samples;
}

/* What nodes are sent. */

static void send_notice(stream_intake *i, uint32_t portion, const streams_notice *t) {
    Fewbit__Begin begin = FEWBIT__BEGIN__INIT;
    Fewbit__StreamHold hold = FEWBIT__STREAM_HOLD__INIT;
    if (t->kind == STREAMS_NOTICE_BEGIN) {
        begin.session = t->session;
        begin.first = t->first;
        engine_host_send(i->host, portion, MESSAGE_BEGIN, &begin.base);
    } else if (t->kind == STREAMS_NOTICE_OUTSIDE) {
        hold.held = hold.outside = true;
        hold.text = (char *)(uintptr_t)t->text;
        engine_host_send(i->host, portion, MESSAGE_STREAM_HOLD, &hold.base);
    }
}

/* After a node has come, gone or ended. */
static void send_notices(stream_intake *i) {
    for (uint32_t k = 0; k < i->config.streams.portions; k++) {
        const streams_notice notice = streams_take_notice(i->streams, k);
        send_notice(i, k, &notice);
    }
    assembler_pass(i->samples, streams_passed(i->streams));
}

static void set_held(stream_intake *i, uint32_t portion, bool held) {
    if (i->nodes[portion].is_held != held) {
        Fewbit__StreamHold hold = FEWBIT__STREAM_HOLD__INIT;
        hold.held = i->nodes[portion].is_held = held;
        engine_host_send(i->host, portion, MESSAGE_STREAM_HOLD, &hold.base);
    }
}

static void set_paused(stream_intake *i, uint32_t portion, bool paused) {
    if (i->nodes[portion].is_paused != paused) {
        i->nodes[portion].is_paused = paused;
        i->host->pause(i->host->context, portion, paused);
    }
}

/* Said at once, then every few seconds at most. When there is more to say, ns; UINT64_MAX: nothing. */
static uint64_t tell_late(stream_intake *i, uint32_t portion, uint64_t count, uint64_t now_ns) {
    intake_node *n = &i->nodes[portion];
    n->late += count;
    if (n->late == 0) {
        return UINT64_MAX;
    }
    if (n->late_ns > 0 && now_ns < n->late_ns + late_pause_ns) {
        return n->late_ns + late_pause_ns;
    }
    log_limited(LOG_WARN, "stream_late", portion + 1,
                "portion %s is late: %" PRIu64 " streamed samples were answered before it came",
                i->config.streams.names[portion], n->late);
    n->late = 0;
    n->late_ns = now_ns;
    return UINT64_MAX;
}

/* Nodes that come, go and end. */

err stream_intake_ready(stream_intake *i, uint32_t portion, const Fewbit__Ready *r, uint64_t now_ns) {
    err e = streams_ready(i->streams, portion, r, now_ns);
    if (!e) {
        i->nodes[portion].to_ack = 0;
        send_notices(i);
    }
    return e;
}

void stream_intake_left(stream_intake *i, uint32_t portion, uint64_t now_ns) {
    intake_node *n = &i->nodes[portion];
    n->is_held = n->is_paused = false;
    if (i->config.acks) {
        n->to_ack = 0;
        n->connection++;
        assembler_drop_acks(i->samples, portion);
    }
    streams_left(i->streams, portion, now_ns);
    send_notices(i);
}

err stream_intake_ended(stream_intake *i, uint32_t portion, uint64_t now_ns) {
    err e = streams_ended(i->streams, portion, now_ns);
    if (!e) {
        send_notices(i);
    }
    return e;
}

/* Codes. */

static bool add_one(stream_intake *i, uint32_t portion, uint64_t id, uint64_t code, bool wants_ack, uint64_t now_ns,
                    bool *has_room) {
    assembler_sample sample;
    switch (assembler_add(i->samples, id, portion, code, now_ns, &sample)) {
    case ASSEMBLER_COMPLETE:
        *has_room = i->events.take(i->events.context, &sample, now_ns);
        return true;
    case ASSEMBLER_FULL:
        return false;
    case ASSEMBLER_IGNORED:
        i->nodes[portion].to_ack += wants_ack;
        return true;
    default:
        return true;
    }
}

/* Whether the slowest is near enough for a sample of that id; else it has to wait. */
static bool is_near(stream_intake *i, uint32_t portion, uint64_t id, uint64_t *limit, uint64_t now_ns) {
    if (id < *limit) {
        return true;
    }
    streams_reached(i->streams, portion, id, now_ns);
    *limit = streams_limit(i->streams);
    if (id >= *limit) {
        streams_block(i->streams, now_ns);
    }
    return id < *limit;
}

/* The id from which on a node streams alone, and is slowed down. */
static uint64_t single_from(const stream_intake *i, uint32_t portion) {
    bool is_limited = i->config.streams.portions > 1 && !i->is_ending;
    return is_limited ? streams_alone_from(i->streams, portion) : UINT64_MAX;
}

static bool may_add_single(stream_intake *i, uint32_t portion, uint64_t now_ns) {
    intake_node *n = &i->nodes[portion];
    uint64_t used_ns = n->single_ns > now_ns ? n->single_ns : now_ns;
    if (used_ns - now_ns > (SINGLE_BURST - 1) * single_pause_ns) {
        return false;
    }
    n->single_ns = used_ns + single_pause_ns;
    return true;
}

/* Adds codes until one finds no room; whether all are in. */
static bool add_codes(stream_intake *i, uint32_t portion, backlog_codes *c, uint64_t now_ns) {
    uint64_t alone_from = single_from(i, portion);
    bool wants_ack = c->connection == i->nodes[portion].connection, has_room = i->events.has_room(i->events.context);
    uint32_t width = codeword_unasked_bits(i->config.layout, portion);
    uint64_t limit = streams_limit(i->streams), late = assembler_count(i->samples)->late;
    assembler_set_model(i->samples, c->model);
    assembler_set_wants_ack(i->samples, wants_ack);
    while (has_room && c->done < c->count && is_near(i, portion, c->first + c->done, &limit, now_ns) &&
           (c->first + c->done < alone_from || may_add_single(i, portion, now_ns)) &&
           add_one(i, portion, c->first + c->done, pack_get(c->bits, c->done * width, width), wants_ack, now_ns,
                   &has_room)) {
        c->done++;
    }
    streams_reached(i->streams, portion, c->first + c->done, now_ns);
    assembler_pass(i->samples, streams_passed(i->streams));
    tell_late(i, portion, assembler_count(i->samples)->late - late, now_ns);
    return c->done == c->count;
}

err stream_intake_check(stream_intake *i, uint32_t portion, const Fewbit__Codes *c, uint64_t now_ns) {
    return streams_take(i->streams, portion, c->first, (uint64_t)c->more + 1, now_ns);
}

void stream_intake_take(stream_intake *i, uint32_t portion, const Fewbit__Codes *c, uint8_t model, uint64_t now_ns) {
    backlog_codes codes = {.first = c->first,
                           .count = (uint64_t)c->more + 1,
                           .bits = c->bits.data,
                           .length = c->bits.len,
                           .connection = i->nodes[portion].connection,
                           .model = model};
    if (backlog_bytes(i->backlog, portion) == 0 && add_codes(i, portion, &codes, now_ns)) {
        return;
    }
    if (backlog_add(i->backlog, portion, &codes)) {
        log_limited(LOG_ERROR, "codes_lost", portion + 1, "%s: %llu samples are lost", err_text(),
                    (unsigned long long)(codes.count - codes.done));
        i->nodes[portion].to_ack += codes.count - codes.done;
        return;
    }
    size_t waiting = backlog_bytes(i->backlog, portion);
    if (waiting >= HOLD_BYTES) {
        set_held(i, portion, true);
    }
    if (waiting >= (i->is_preparing ? PREPARING_BYTES : PAUSE_BYTES)) {
        set_paused(i, portion, true);
    }
}

void stream_intake_take_late(stream_intake *i, uint32_t portion, const Fewbit__Codes *c, uint64_t now_ns) {
    uint64_t count = (uint64_t)c->more + 1;
    i->nodes[portion].to_ack += count;
    assembler_count_late(i->samples, count);
    streams_reached(i->streams, portion, c->first + count, now_ns);
    tell_late(i, portion, count, now_ns);
}

void stream_intake_answered(stream_intake *i, const assembler_sample *sample) {
    for (uint64_t left = i->config.acks ? sample->to_ack : 0; left > 0; left &= left - 1) {
        i->nodes[__builtin_ctzll(left)].to_ack++;
    }
    assembler_retire(i->samples, sample->id);
}

void stream_intake_set_swap(stream_intake *i, bool is_preparing, bool is_ending) {
    for (uint32_t k = 0; k < i->config.streams.portions && is_preparing; k++) {
        set_paused(i, k, false); /* its Prepared has to be heard */
    }
    i->is_preparing = is_preparing;
    i->is_ending = is_ending;
}

void stream_intake_hurry(stream_intake *i) {
    i->hurries = true;
}

/* The backlog of a node goes on as far as there is room; whether any did. */
static bool work_off(stream_intake *i, uint32_t portion, uint64_t now_ns) {
    backlog_codes first;
    bool any = false, is_in = true;
    while (is_in && backlog_first(i->backlog, portion, &first)) {
        uint64_t done = first.done;
        is_in = add_codes(i, portion, &first, now_ns);
        backlog_set_done(i->backlog, portion, first.done);
        any |= first.done > done;
    }
    return any;
}

/* When there will be something to tell, ns; UINT64_MAX: not before more is answered. */
static uint64_t send_ack(stream_intake *i, uint32_t portion, uint64_t now_ns) {
    intake_node *n = &i->nodes[portion];
    if (n->to_ack == 0) {
        return UINT64_MAX;
    }
    if (n->to_ack < ACK_STEP && now_ns < n->acked_ns + ack_pause_ns && !i->hurries) {
        return n->acked_ns + ack_pause_ns;
    }
    Fewbit__Ack ack = FEWBIT__ACK__INIT;
    ack.samples = n->to_ack;
    n->to_ack = 0;
    n->acked_ns = now_ns;
    engine_host_send(i->host, portion, MESSAGE_ACK, &ack.base);
    return UINT64_MAX;
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

bool stream_intake_poll(stream_intake *i, uint64_t ready, uint64_t now_ns, uint64_t *next_ns) {
    bool any = false;
    *next_ns = streams_poll(i->streams, now_ns);
    assembler_pass(i->samples, streams_passed(i->streams));
    for (uint32_t k = 0; k < i->config.streams.portions; k++) {
        any |= work_off(i, k, now_ns);
    }
    /* Nodes that were slowed go on once there is room for a while; the one that all others wait for, at once. */
    for (uint32_t k = 0; k < i->config.streams.portions; k++) {
        bool is_waiting = backlog_bytes(i->backlog, k) > 0;
        if (!is_waiting && streams_has_room(i->streams, k)) {
            set_held(i, k, false);
            set_paused(i, k, false);
        }
        if (is_waiting && i->nodes[k].single_ns > now_ns) {
            *next_ns = earlier(*next_ns, now_ns + SINGLE_TURN_NS);
        }
        *next_ns = earlier(*next_ns, tell_late(i, k, 0, now_ns));
        if (i->config.acks && ready >> k & 1) {
            *next_ns = earlier(*next_ns, send_ack(i, k, now_ns));
        }
    }
    return any;
}

uint64_t stream_intake_end(const stream_intake *i) {
    return streams_end(i->streams);
}

bool stream_intake_has_backlog(const stream_intake *i, uint8_t model) {
    return backlog_has_model(i->backlog, model);
}

size_t stream_intake_backlog_bytes(const stream_intake *i) {
    size_t bytes = 0;
    for (uint32_t k = 0; k < i->config.streams.portions; k++) {
        bytes += backlog_bytes(i->backlog, k);
    }
    return bytes;
}
