#include "decoder_server/serve/responders.h"

#include "base/log_limit.h"
#include "decoder_server/core/pending_replies.h"

#include <stdlib.h>

/* A probe without an answer is followed by the next one after the deadline, but not before that. A deadline that was
 * noticed later than LATE_NS says more about the server than about a node. */
enum { SURPLUS_MAX = 64, RELAPSES_MAX = 6 };
static const uint64_t probe_pause_ns = 1000000000, late_ns = 250000000;

/* One node. */
typedef struct responder {
    uint32_t unanswered, surplus; /* Requests; Answers beyond those that were owed */
    /* A Request that waits for nobody's sample. */
    bool is_probed;
    uint64_t probe, probed_ns;
    /* How often it has gone silent, each time soon after the time before: for longer and longer it is not probed, nor
     * does another connection make good for it. */
    uint32_t relapses;
    uint64_t until_ns; /* left out until then at least */
} responder;

struct responders {
    responders_config config;
    const engine_host *host;
    uint64_t here, ready, silent; /* masks */
    pending_replies pending;
    uint64_t probes;
    uint8_t *probe; /* the largest portion, of zeroes */
    responder of[PARTITION_PORTIONS_MAX];
};

err responders_new(responders **out, const responders_config *config, const engine_host *host) {
    responders *r = calloc(1, sizeof *r);
    if (r) {
        r->config = *config;
        r->config.answer_timeout_ns = config->answer_timeout_ns ? config->answer_timeout_ns : UINT64_MAX;
        r->host = host;
        size_t most = 1;
        for (uint32_t k = 0; k < config->portions; k++) {
            most = config->portion_bytes[k] > most ? config->portion_bytes[k] : most;
        }
        r->probe = calloc(most, 1);
    }
    if (!r || !r->probe) {
        responders_free(r);
        return err_fail(ERR_MEMORY, "no memory for the nodes that respond");
    }
    *out = r;
    return ERR_OK;
}

void responders_free(responders *r) {
    if (r) {
        free(r->probe);
        free(r);
    }
}

uint64_t responders_here(const responders *r) {
    return r->here;
}

uint64_t responders_ready(const responders *r) {
    return r->ready;
}

uint64_t responders_taking_part(const responders *r) {
    return r->ready & ~r->silent;
}

static uint64_t bit_of(uint32_t portion) {
    return (uint64_t)1 << portion;
}

static uint32_t count(const responders *r) {
    return (uint32_t)__builtin_popcountll(responders_taking_part(r));
}

static void tell_count(const responders *r) {
    r->host->ready(r->host->context, count(r));
}

/* Coming and going. */

void responders_joined(responders *r, uint32_t portion) {
    r->here |= bit_of(portion);
    responders_expect(r, portion, MESSAGE_READY);
}

void responders_set_ready(responders *r, uint32_t portion, uint64_t now_ns) {
    responder *one = &r->of[portion];
    responders_received(r, portion, MESSAGE_READY, false);
    r->ready |= bit_of(portion);
    r->silent |= one->relapses > 1 && now_ns < one->until_ns ? bit_of(portion) : 0;
    one->is_probed = false;
    tell_count(r);
    log_limited(LOG_INFO, "node_ready", portion + 1, "portion %s is ready; %u of %u nodes are",
                r->config.names[portion], count(r), r->config.portions);
}

bool responders_left(responders *r, uint32_t portion) {
    bool was_ready = r->ready & bit_of(portion);
    r->here &= ~bit_of(portion);
    r->ready &= ~bit_of(portion);
    r->silent &= ~bit_of(portion);
    r->of[portion].unanswered = r->of[portion].surplus = 0;
    pending_replies_forget(&r->pending, portion);
    if (was_ready) {
        tell_count(r);
        log_limited(LOG_WARN, "node_left", portion + 1, "portion %s is gone; %u of %u nodes are ready",
                    r->config.names[portion], count(r), r->config.portions);
    }
    return was_ready;
}

/* What is owed. */

void responders_read_clock(responders *r, uint64_t now_ns) {
    pending_replies_read_clock(&r->pending, now_ns);
}

void responders_expect(responders *r, uint32_t portion, message_type answer) {
    pending_replies_begin(&r->pending, portion, answer);
}

void responders_received(responders *r, uint32_t portion, message_type answer, bool others) {
    pending_replies_answered(&r->pending, portion, answer, others);
}

void responders_asked(responders *r, uint32_t portion) {
    r->of[portion].unanswered++;
    responders_expect(r, portion, MESSAGE_ANSWER);
}

/* Whether a stage of bits is overdue. */
static bool owes_refinement(const responders *r, uint32_t portion) {
    const pending_replies_node *n = &r->pending.nodes[portion];
    return n->types >> MESSAGE_REFINEMENT & 1 &&
           r->pending.now_ns - n->since_ns[MESSAGE_REFINEMENT] > r->config.deadline_ns;
}

/* Silence. */

static uint64_t probe_pause(const responders *r) {
    return r->config.deadline_ns > probe_pause_ns ? r->config.deadline_ns : probe_pause_ns;
}

/* The first time a node may be back at once; each further time it is left out for twice as long. A node that answers
 * probes and no requests would make every other request wait for its deadline. */
static void count_relapse(responders *r, uint32_t portion, uint64_t now_ns) {
    responder *one = &r->of[portion];
    uint64_t memory_ns = probe_pause(r) << RELAPSES_MAX;
    bool is_new = one->relapses == 0 || now_ns > one->until_ns + memory_ns;
    one->relapses = is_new ? 1 : one->relapses < RELAPSES_MAX ? one->relapses + 1 : RELAPSES_MAX;
    one->until_ns = now_ns + (is_new ? 0 : probe_pause(r) << (one->relapses - 1));
}

static void go_silent(responders *r, uint32_t portion, uint64_t now_ns) {
    r->silent |= bit_of(portion);
    count_relapse(r, portion, now_ns);
    r->of[portion].is_probed = false;
    r->pending.nodes[portion].timeouts++;
    tell_count(r);
    log_limited(LOG_WARN, "node_silent", portion + 1,
                "portion %s has not answered within %.3g s and is left out until it does; %u of %u nodes are ready",
                r->config.names[portion], (double)r->config.deadline_ns * 1e-9, count(r), r->config.portions);
    r->config.silent(r->config.context, portion, now_ns);
}

static void take_part_again(responders *r, uint32_t portion) {
    r->silent &= ~bit_of(portion);
    tell_count(r);
    log_limited(LOG_INFO, "node_answers_again", portion + 1, "portion %s answers again; %u of %u nodes are ready",
                r->config.names[portion], count(r), r->config.portions);
}

bool responders_answered(responders *r, uint32_t portion, uint64_t id, uint64_t now_ns) {
    responder *one = &r->of[portion];
    if (one->unanswered == 0) {
        return ++one->surplus <= SURPLUS_MAX;
    }
    responders_received(r, portion, MESSAGE_ANSWER, --one->unanswered > 0);
    if (r->silent & bit_of(portion) && one->is_probed && one->probe == id) {
        one->is_probed = false;
        if (now_ns - one->probed_ns <= r->config.deadline_ns && !owes_refinement(r, portion)) {
            take_part_again(r, portion);
        }
    }
    return true;
}

void responders_expired(responders *r, uint64_t missing, uint64_t opened_ns, uint64_t now_ns) {
    if (now_ns >= opened_ns + r->config.deadline_ns + late_ns) {
        return;
    }
    for (uint64_t left = missing & responders_taking_part(r); left > 0; left &= left - 1) {
        go_silent(r, (uint32_t)__builtin_ctzll(left), now_ns);
    }
}

static void send_probe(responders *r, uint32_t portion, uint64_t now_ns) {
    Fewbit__Request request = FEWBIT__REQUEST__INIT;
    responder *one = &r->of[portion];
    one->is_probed = true;
    one->probe = request.id = r->config.first_probe + r->probes++;
    one->probed_ns = now_ns;
    request.portion = (ProtobufCBinaryData){r->config.portion_bytes[portion], r->probe};
    engine_host_send(r->host, portion, MESSAGE_REQUEST, &request.base);
    responders_asked(r, portion);
}

/* Whether a node was dropped. */
static bool drop_if_overdue(responders *r, uint32_t portion, uint64_t now_ns) {
    char text[PENDING_REPLIES_TEXT_MAX];
    if (!pending_replies_take_overdue(&r->pending, portion, r->config.answer_timeout_ns, text)) {
        return false;
    }
    r->of[portion].is_probed = true; /* not while its link closes */
    r->of[portion].probe = UINT64_MAX;
    r->of[portion].probed_ns = now_ns;
    engine_host_refuse(r->host, portion, text);
    return true;
}

uint64_t responders_poll(responders *r, uint64_t now_ns) {
    uint64_t next_ns = UINT64_MAX;
    responders_read_clock(r, now_ns);
    for (uint32_t k = 0; k < r->config.portions; k++) {
        if (drop_if_overdue(r, k, now_ns)) {
            continue;
        }
        if (responders_taking_part(r) & bit_of(k) && owes_refinement(r, k)) {
            go_silent(r, k, now_ns);
        }
        const responder *one = &r->of[k];
        if (!(r->silent & bit_of(k))) {
            continue;
        }
        if (now_ns < one->until_ns) {
            next_ns = one->until_ns < next_ns ? one->until_ns : next_ns;
        } else if (!one->is_probed || now_ns - one->probed_ns >= probe_pause(r)) {
            send_probe(r, k, now_ns);
        }
    }
    uint64_t turn_ns =
        pending_replies_rests(&r->pending, r->config.portions) ? UINT64_MAX : now_ns + PENDING_REPLIES_TURN_NS;
    return turn_ns < next_ns ? turn_ns : next_ns;
}

void responders_stats(const responders *r, uint32_t portion, stats_node *n) {
    n->is_ready = responders_taking_part(r) & bit_of(portion);
    n->is_silent = r->silent & bit_of(portion);
    pending_replies_stats(&r->pending, portion, n);
}
