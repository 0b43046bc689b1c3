#include "decoder_server/serve/backlog.h"

#include "base/log_limit.h"
#include "bits/pack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void tell_one_stream(engine *d, uint32_t portion, const stream_told *t) {
    Fewbit__Begin begin = FEWBIT__BEGIN__INIT;
    Fewbit__StreamHold hold = FEWBIT__STREAM_HOLD__INIT;
    if (t->word == STREAM_WORD_BEGIN) {
        begin.session = t->session;
        begin.first = t->first;
        d->host.tell(d->host.context, portion, MESSAGE_BEGIN, &begin.base);
    } else if (t->word == STREAM_WORD_OUTSIDE) {
        hold.held = hold.outside = true;
        hold.text = (char *)(uintptr_t)t->text;
        d->host.tell(d->host.context, portion, MESSAGE_STREAM_HOLD, &hold.base);
    }
}

void backlog_tell_streams(engine *d) {
    for (uint32_t k = 0; k < d->portions; k++) {
        const stream_told told = streams_word(d->streams, k);
        tell_one_stream(d, k, &told);
    }
    assembler_pass(d->streamed, streams_passed(d->streams));
}

void backlog_end(engine *d, uint32_t portion, uint64_t now_ns) {
    if (streams_ended(d->streams, portion, now_ns)) {
        d->host.drop(d->host.context, portion, FEWBIT__REASON__REASON_PROTOCOL, err_text());
        return;
    }
    backlog_tell_streams(d);
}

static void tell_hold(engine *d, uint32_t portion, bool held) {
    Fewbit__StreamHold hold = FEWBIT__STREAM_HOLD__INIT;
    hold.held = held;
    d->is_held[portion] = held;
    d->host.tell(d->host.context, portion, MESSAGE_STREAM_HOLD, &hold.base);
}

/* A node whose codes are parked. One that gets ready for another model has to be heard all the same. */
static void slow_down(engine *d, uint32_t portion) {
    size_t most = d->swap.stage == MODEL_SWAP_PREPARING ? BACKLOG_MAX : BACKLOG_HIGH;
    if (!d->is_held[portion] && d->backlogs[portion].length >= BACKLOG_LOW) {
        tell_hold(d, portion, true);
    }
    if (!d->is_paused[portion] && d->backlogs[portion].length >= most) {
        d->is_paused[portion] = true;
        d->host.pause(d->host.context, portion, true);
    }
}

static void let_one_go_on(engine *d, uint32_t portion) {
    if (d->is_held[portion]) {
        tell_hold(d, portion, false);
    }
    if (d->is_paused[portion]) {
        d->is_paused[portion] = false;
        d->host.pause(d->host.context, portion, false);
    }
}

/* Said at once, then every few seconds at most. When there is more to say, ns; UINT64_MAX: nothing. */
static uint64_t tell_late(engine *d, uint32_t portion, uint64_t count, uint64_t now_ns) {
    const uint64_t pause_ns = 5000000000;
    lateness *l = &d->late[portion];
    l->untold += count;
    if (l->untold == 0) {
        return UINT64_MAX;
    }
    if (l->told_ns > 0 && now_ns < l->told_ns + pause_ns) {
        return l->told_ns + pause_ns;
    }
    log_event(LOG_WARN, "stream_late", "portion %u is late: %" PRIu64 " streamed samples were answered before it came",
              portion, l->untold);
    *l = (lateness){.told_ns = now_ns};
    return UINT64_MAX;
}

static bool add_one(engine *d, uint32_t portion, uint64_t id, uint64_t code, bool wants_ack, uint64_t now_ns) {
    assembler_sample sample;
    switch (assembler_add(d->streamed, id, portion, code, now_ns, &sample)) {
    case ASSEMBLER_COMPLETE:
        engine_add_due(d, &sample, false, now_ns);
        return true;
    case ASSEMBLER_FULL:
        return false;
    case ASSEMBLER_IGNORED:
        d->to_ack[portion] += wants_ack;
        return true;
    default:
        return true;
    }
}

/* Whether the slowest is near enough for a sample of that id; else it has to wait. */
static bool may_add(engine *d, uint32_t portion, uint64_t id, uint64_t *limit, uint64_t now_ns) {
    if (id < *limit) {
        return true;
    }
    streams_reached(d->streams, portion, id, now_ns);
    *limit = streams_limit(d->streams);
    if (id >= *limit) {
        streams_block(d->streams, now_ns);
    }
    return id < *limit;
}

/* What one node streams and nobody else does becomes degraded results, so many a second of each node: codes are few
 * bits, results are lines. Not while a model ends, which waits for all of its samples. */
enum { SINGLE_A_SECOND = 1000, SINGLE_BURST = STREAMED_CAPACITY, SINGLE_TURN_NS = 50000000 };
static const uint64_t single_pause_ns = 1000000000 / SINGLE_A_SECOND;

static uint64_t single_from(const engine *d, uint32_t portion) {
    bool is_limited = d->portions > 1 && d->swap.stage != MODEL_SWAP_ENDING;
    return is_limited ? streams_alone_from(d->streams, portion) : UINT64_MAX;
}

static bool may_add_single(engine *d, uint32_t portion, uint64_t now_ns) {
    uint64_t used_ns = d->single_ns[portion] > now_ns ? d->single_ns[portion] : now_ns;
    if (used_ns - now_ns > (SINGLE_BURST - 1) * single_pause_ns) {
        return false;
    }
    d->single_ns[portion] = used_ns + single_pause_ns;
    return true;
}

/* Adds codes until one finds no room; whether all are in. */
static bool add_codes(engine *d, uint32_t portion, backlog_entry *p, const uint8_t *bits, uint64_t now_ns) {
    uint64_t alone_from = single_from(d, portion);
    bool wants_ack = p->connection == d->connections[portion];
    uint32_t width = d->refinement.upto[0];
    uint64_t limit = streams_limit(d->streams), late = assembler_count(d->streamed)->late;
    assembler_set_model(d->streamed, (uint8_t)p->model);
    assembler_set_wants_ack(d->streamed, wants_ack);
    while (p->done < p->count && may_add(d, portion, p->first + p->done, &limit, now_ns) &&
           (p->first + p->done < alone_from || may_add_single(d, portion, now_ns)) &&
           add_one(d, portion, p->first + p->done, pack_get(bits, p->done * width, width), wants_ack, now_ns)) {
        p->done++;
    }
    streams_reached(d->streams, portion, p->first + p->done, now_ns);
    assembler_pass(d->streamed, streams_passed(d->streams));
    tell_late(d, portion, assembler_count(d->streamed)->late - late, now_ns);
    return p->done == p->count;
}

/* Room for `need` bytes from `begin` on; false: no memory. What is there moves to the front only once a third of the
 * room before it is free again, so that a byte moves twice at most. */
static bool make_space(backlog *p, size_t need) {
    if (p->begin + need <= p->capacity) {
        return true;
    }
    if (p->begin > 0) {
        memmove(p->bytes, p->bytes + p->begin, p->length);
        p->begin = 0;
    }
    if (need + need / 2 <= p->capacity) {
        return true;
    }
    uint8_t *grown = realloc(p->bytes, 2 * need);
    p->capacity = grown ? 2 * need : p->capacity;
    p->bytes = grown ? grown : p->bytes;
    return grown || need <= p->capacity;
}

static void keep(engine *d, uint32_t portion, const backlog_entry *head, const uint8_t *bits, size_t length) {
    backlog *p = &d->backlogs[portion];
    size_t need = p->length + sizeof *head + head->bytes;
    bool has_room = p->length < BACKLOG_MOST; /* of a node that joins again and again, always with more */
    if (!has_room || !make_space(p, need)) {
        log_limited(LOG_ERROR, "codes_lost", portion + 1, "no memory for codes of portion %u: %llu samples are lost",
                    portion, (unsigned long long)head->count);
        d->to_ack[portion] += head->count - head->done;
        return;
    }
    uint8_t *end = p->bytes + p->begin + p->length;
    memcpy(end, head, sizeof *head);
    memcpy(end + sizeof *head, bits, length);
    p->length = need;
}

/* Parked codes go on as far as there is room; whether any did. */
static bool work_off(engine *d, uint32_t portion, uint64_t now_ns) {
    backlog *p = &d->backlogs[portion];
    bool any = false;
    while (p->length > 0) {
        uint8_t *first = p->bytes + p->begin;
        backlog_entry head;
        memcpy(&head, first, sizeof head);
        uint64_t done = head.done;
        bool is_in = add_codes(d, portion, &head, first + sizeof head, now_ns);
        any |= head.done > done;
        if (!is_in) {
            memcpy(first, &head, sizeof head);
            break;
        }
        p->begin += sizeof head + head.bytes;
        p->length -= sizeof head + head.bytes;
    }
    p->begin = p->length > 0 ? p->begin : 0;
    return any;
}

/* Nodes that were slowed go on once there is room for a while; the one that all others wait for, at once. Whether
 * parked codes have found room, which may have made room for others. */
static bool let_go_on(engine *d, uint64_t now_ns) {
    bool any = false;
    for (uint32_t k = 0; k < d->portions; k++) {
        any |= work_off(d, k, now_ns);
    }
    for (uint32_t k = 0; k < d->portions; k++) {
        if (d->backlogs[k].length == 0 && streams_has_room(d->streams, k)) {
            let_one_go_on(d, k);
        }
    }
    return any;
}

void backlog_take(engine *d, uint32_t portion, const Fewbit__Codes *c, uint8_t model, uint64_t now_ns) {
    backlog_entry head = {
        .first = c->first,
        .count = (uint64_t)c->more + 1,
        .bytes = (c->bits.len + 7) / 8 * 8,
        .model = model,
        .connection = d->connections[portion],
    };
    if (d->backlogs[portion].length > 0 || !add_codes(d, portion, &head, c->bits.data, now_ns)) {
        keep(d, portion, &head, c->bits.data, c->bits.len);
        slow_down(d, portion);
    }
}

void backlog_take_none(engine *d, uint32_t portion, const Fewbit__Codes *c, uint64_t now_ns) {
    uint64_t count = (uint64_t)c->more + 1;
    d->to_ack[portion] += count;
    assembler_count_late(d->streamed, count);
    streams_reached(d->streams, portion, c->first + count, now_ns);
    tell_late(d, portion, count, now_ns);
}

bool backlog_poll(engine *d, uint64_t now_ns, uint64_t *next_ns) {
    *next_ns = streams_poll(d->streams, now_ns);
    assembler_pass(d->streamed, streams_passed(d->streams));
    bool any = let_go_on(d, now_ns);
    for (uint32_t k = 0; k < d->portions; k++) {
        if (d->backlogs[k].length > 0 && d->single_ns[k] > now_ns && now_ns + SINGLE_TURN_NS < *next_ns) {
            *next_ns = now_ns + SINGLE_TURN_NS;
        }
        uint64_t late_next = tell_late(d, k, 0, now_ns);
        *next_ns = late_next < *next_ns ? late_next : *next_ns;
    }
    return any;
}
