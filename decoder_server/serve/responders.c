#include "decoder_server/serve/responders.h"

#include "base/log_limit.h"

#include <stdio.h>
#include <string.h>

/* A probe without an answer is followed by the next one after the deadline, but not before that. A deadline that was
 * noticed later than LATE_NS says more about the server than about a node. */
enum { SURPLUS_MAX = 64, RELAPSES_MAX = 6 };
static const uint64_t probe_pause_ns = 1000000000, late_ns = 250000000;

static uint64_t probe_pause(const engine *d) {
    return d->deadline_ns > probe_pause_ns ? d->deadline_ns : probe_pause_ns;
}

/* The first time a node may be back at once; each further time it is left out for twice as long. A node that answers
 * probes and no requests would make every other request wait for its deadline. */
static void count_relapse(engine *d, uint32_t portion, uint64_t now_ns) {
    relapse *r = &d->relapses[portion];
    uint64_t memory_ns = probe_pause(d) << RELAPSES_MAX;
    bool is_new = r->count == 0 || now_ns > r->until_ns + memory_ns;
    r->count = is_new ? 1 : r->count < RELAPSES_MAX ? r->count + 1 : RELAPSES_MAX;
    r->until_ns = now_ns + (is_new ? 0 : probe_pause(d) << (r->count - 1));
}

void responders_count(engine *d) {
    d->ready_nodes = 0;
    for (uint32_t k = 0; k < d->portions; k++) {
        d->ready_nodes += responders_takes_part(d, k);
    }
    d->host.ready(d->host.context, d->ready_nodes);
}

void responders_asked(engine *d, uint32_t portion) {
    d->unanswered[portion]++;
    pending_replies_begin(&d->pending, portion, MESSAGE_ANSWER);
}

static void go_silent(engine *d, uint32_t portion, uint64_t now_ns) {
    d->is_silent[portion] = true;
    count_relapse(d, portion, now_ns);
    d->probes[portion].is_out = false;
    d->pending.nodes[portion].timeouts++;
    responders_count(d);
    log_limited(LOG_WARN, "node_silent", portion + 1,
                "portion %u has not answered within %.3g s and is left out until it does; %u of %u nodes are ready",
                portion, (double)d->deadline_ns * 1e-9, d->ready_nodes, d->portions);
    engine_give_up(d, portion, now_ns);
}

static void take_part_again(engine *d, uint32_t portion) {
    d->is_silent[portion] = false;
    responders_count(d);
    log_limited(LOG_INFO, "node_answers_again", portion + 1, "portion %u answers again; %u of %u nodes are ready",
                portion, d->ready_nodes, d->portions);
}

/* Whether a stage of bits is overdue. */
static bool owes_added(const engine *d, uint32_t portion) {
    const pending_replies_node *n = &d->pending.nodes[portion];
    return n->types >> MESSAGE_REFINEMENT & 1 && d->pending.now_ns - n->since_ns[MESSAGE_REFINEMENT] > d->deadline_ns;
}

bool responders_take(engine *d, uint32_t portion, uint64_t id, bool *is_probe, uint64_t now_ns) {
    *is_probe = id >= REQUESTS;
    if (d->unanswered[portion] == 0) {
        return ++d->surplus[portion] <= SURPLUS_MAX;
    }
    pending_replies_answered(&d->pending, portion, MESSAGE_ANSWER, --d->unanswered[portion] > 0);
    probe *p = &d->probes[portion];
    if (d->is_silent[portion] && p->is_out && p->id == id) {
        p->is_out = false;
        if (now_ns - p->sent_ns <= d->deadline_ns && !owes_added(d, portion)) {
            take_part_again(d, portion);
        }
    }
    return true;
}

void responders_expired(engine *d, uint64_t missing, uint64_t opened_ns, uint64_t now_ns) {
    for (uint32_t k = 0; k < d->portions && now_ns < opened_ns + d->deadline_ns + late_ns; k++) {
        if (missing >> k & 1 && responders_takes_part(d, k)) {
            go_silent(d, k, now_ns);
        }
    }
}

void responders_ready(engine *d, uint32_t portion, uint64_t now_ns) {
    d->is_silent[portion] = d->relapses[portion].count > 1 && now_ns < d->relapses[portion].until_ns;
    d->probes[portion].is_out = false;
    responders_count(d);
}

void responders_left(engine *d, uint32_t portion) {
    d->is_silent[portion] = false;
    d->unanswered[portion] = d->surplus[portion] = 0;
    pending_replies_forget(&d->pending, portion);
}

static void send_probe(engine *d, uint32_t portion, uint64_t now_ns) {
    Fewbit__Request request = FEWBIT__REQUEST__INIT;
    d->probes[portion] = (probe){.is_out = true, .id = REQUESTS + d->probe_count++, .sent_ns = now_ns};
    memset(d->portion, 0, partition_portion_elements(&d->partition));
    request.id = d->probes[portion].id;
    request.portion = (ProtobufCBinaryData){partition_portion_elements(&d->partition), d->portion};
    d->host.tell(d->host.context, portion, MESSAGE_REQUEST, &request.base);
    responders_asked(d, portion);
}

/* Whether a node was dropped. */
static bool drop_if_overdue(engine *d, uint32_t portion, uint64_t now_ns) {
    message_type answer;
    uint64_t owed_ns;
    if (!pending_replies_for_ns(&d->pending, portion, &owed_ns, &answer) || owed_ns < d->answer_timeout_ns) {
        return false;
    }
    char text[128];
    snprintf(text, sizeof text, "its %s has not come within %.3g s (--answer-timeout)", message_name((uint8_t)answer),
             (double)d->answer_timeout_ns * 1e-9);
    d->pending.nodes[portion].timeouts++;
    pending_replies_forget(&d->pending, portion);
    d->probes[portion] = (probe){.is_out = true, .sent_ns = now_ns}; /* none while its link closes */
    d->host.drop(d->host.context, portion, FEWBIT__REASON__REASON_PROTOCOL, text);
    return true;
}

uint64_t responders_poll(engine *d, uint64_t now_ns) {
    uint64_t next_ns = UINT64_MAX;
    pending_replies_read_clock(&d->pending, now_ns);
    for (uint32_t k = 0; k < d->portions; k++) {
        if (drop_if_overdue(d, k, now_ns)) {
            continue;
        }
        if (responders_takes_part(d, k) && owes_added(d, k)) {
            go_silent(d, k, now_ns);
        }
        const probe *p = &d->probes[k];
        uint64_t until_ns = d->relapses[k].until_ns;
        if (d->is_silent[k] && now_ns < until_ns) {
            next_ns = until_ns < next_ns ? until_ns : next_ns;
        } else if (d->is_silent[k] && (!p->is_out || now_ns - p->sent_ns >= probe_pause(d))) {
            send_probe(d, k, now_ns);
        }
    }
    uint64_t turn_ns = pending_replies_rests(&d->pending, d->portions) ? UINT64_MAX : now_ns + PENDING_REPLIES_TURN_NS;
    return turn_ns < next_ns ? turn_ns : next_ns;
}
