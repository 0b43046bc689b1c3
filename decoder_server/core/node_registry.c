#include "decoder_server/core/node_registry.h"

#include "base/clock.h"
#include "base/log_limit.h"
#include "base/utf8.h"
#include "decoder_server/core/code_decoder.h"
#include "decoder_server/core/data_check.h"
#include "experiment/derive.h"
#include "experiment/serialize.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct portion_node {
    uint64_t connection; /* 0: none */
    char name[64];
    traffic_counters past; /* of its connections that are gone */
    uint64_t admitted;
    code_decoder *decoder;       /* NULL: no node of it has asked to code yet */
    bool may_code;               /* the present one has, and was told that it may */
    int64_t joined_at, ready_at; /* of the present connection; milliseconds since 1970, 0: it is not */
} portion_node;

struct node_registry {
    node_registry_config config;
    node_registry_host host;
    node_registry_events events;
    char text[EXPERIMENT_TEXT_MAX + 1]; /* the resolved experiment */
    arena unpacked;
    portion_node portions[PARTITION_PORTIONS_MAX];
    uint64_t refusals;
};

err node_registry_new(node_registry **out, const node_registry_config *config, const node_registry_host *host,
                      const node_registry_events *events) {
    node_registry *p = calloc(1, sizeof *p);
    if (!p) {
        return err_fail(ERR_MEMORY, "no memory for the registry of nodes");
    }
    p->config = *config;
    p->host = *host;
    p->events = *events;
    size_t length;
    err e = experiment_serialize(config->experiment, p->text, &length);
    e = e ? e : arena_init(&p->unpacked, message_arena_size(FRAME_PAYLOAD_MAX));
    if (e) {
        node_registry_free(p);
        return e;
    }
    p->text[length] = '\0';
    *out = p;
    return ERR_OK;
}

void node_registry_set_run(node_registry *p, uint64_t run, const char *text) {
    p->config.run = run;
    snprintf(p->text, sizeof p->text, "%s", text);
}

void node_registry_free(node_registry *p) {
    if (p) {
        for (uint32_t k = 0; k < PARTITION_PORTIONS_MAX; k++) {
            code_decoder_free(p->portions[k].decoder);
        }
        arena_free(&p->unpacked);
        free(p);
    }
}

static void refuse(node_registry *p, uint64_t connection, Fewbit__Reason reason, const char *text) {
    Fewbit__Refusal refusal = FEWBIT__REFUSAL__INIT;
    refusal.reason = reason;
    refusal.text = (char *)(uintptr_t)text;
    p->refusals++;
    p->host.send(p->host.context, connection, MESSAGE_REFUSAL, &refusal.base);
    p->host.close(p->host.context, connection, text);
}

static uint32_t count_portions(const node_registry *p) {
    return p->config.experiment->portion_count;
}

static uint32_t portion_of(const node_registry *p, uint64_t connection) {
    uint32_t k = 0;
    while (k < count_portions(p) && p->portions[k].connection != connection) {
        k++;
    }
    return k;
}

static bool may_speak(const node_registry *p, uint64_t connection, const char *portion) {
    if (p->host.may_speak(p->host.context, connection, portion)) {
        return true;
    }
    err_fail(ERR_INPUT, "its certificate does not name portion %s (subjectAltName URI fewbit:portion:%s)", portion,
             portion);
    return false;
}

/* "0, 1, 2, 3", as far as there is room. */
static const char *list_portions(const experiment *e, char *text, size_t size) {
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t k = 0; k < e->portion_count && used < size; k++) {
        used += (size_t)snprintf(text + used, size - used, k ? ", %s" : "%s", e->portions[k].name);
    }
    return text;
}

/* *k: the portion it speaks for, portion_count where there is none. */
static Fewbit__Reason check_hello(const node_registry *p, uint64_t connection, const Fewbit__Hello *h, uint32_t *k) {
    const experiment *e = p->config.experiment;
    portion_info claimed;
    char names[128];
    *k = e->portion_count;
    if (h->protocol != MESSAGE_PROTOCOL) {
        err_fail(ERR_INPUT, "protocol %u is not spoken here, only %d", h->protocol, MESSAGE_PROTOCOL);
        return FEWBIT__REASON__REASON_VERSION;
    }
    if (message_check_name(h->name) || data_check_read(h, &claimed)) {
        return FEWBIT__REASON__REASON_PROTOCOL;
    }
    if (!experiment_find_portion(e, claimed.name, k)) {
        err_fail(ERR_INPUT, "there is no portion %s, only %s", claimed.name, list_portions(e, names, sizeof names));
        return FEWBIT__REASON__REASON_PORTION_UNKNOWN;
    }
    if (!may_speak(p, connection, claimed.name)) {
        return FEWBIT__REASON__REASON_CERTIFICATE;
    }
    if (data_check(&claimed, e, p->config.data)) {
        return FEWBIT__REASON__REASON_DATA;
    }
    if (p->portions[*k].connection) {
        err_fail(ERR_INPUT, "portion %s is taken by %s", claimed.name, p->portions[*k].name);
        return FEWBIT__REASON__REASON_PORTION_TAKEN;
    }
    return p->config.pin && p->config.pin(p->config.context, *k, &claimed) ? FEWBIT__REASON__REASON_DATA
                                                                           : FEWBIT__REASON__REASON_UNSET;
}

/* Whether the node's codes may come compressed on its new connection. */
static bool agree_on_coding(const node_registry *p, uint32_t k, portion_node *admitted, const Fewbit__Hello *h) {
    if (h->coding != FEWBIT__CODING__CODING_RANGE) {
        return false;
    }
    codeword layout = experiment_codeword(p->config.experiment);
    if (!admitted->decoder && code_decoder_new(&admitted->decoder, codeword_portion_bits(&layout, k))) {
        log_limited(LOG_WARN, "codes_not_compressed", k + 1, "%s must send its codes packed: %s", h->name, err_text());
        return false;
    }
    code_decoder_reset(admitted->decoder);
    return true;
}

static void admit(node_registry *p, uint64_t connection, const Fewbit__Hello *h) {
    uint32_t k;
    Fewbit__Reason reason = check_hello(p, connection, h, &k);
    if (reason != FEWBIT__REASON__REASON_UNSET) {
        char text[256];
        snprintf(text, sizeof text, "%s", err_text());
        uint64_t about = k < count_portions(p) ? k + 1 : 0;
        log_limited(LOG_WARN, "node_refused", about, "%s is refused: %s",
                    utf8_is_plain(h->name) && h->name[0] ? h->name : "a node", text);
        refuse(p, connection, reason, text);
        return;
    }
    portion_node *admitted = &p->portions[k];
    admitted->connection = connection;
    admitted->admitted++;
    admitted->joined_at = clock_unix_ms();
    admitted->ready_at = 0;
    snprintf(admitted->name, sizeof admitted->name, "%s", h->name);
    admitted->may_code = agree_on_coding(p, k, admitted, h);
    p->host.admit(p->host.context, connection, p->config.heartbeat_ms);
    Fewbit__Welcome welcome = FEWBIT__WELCOME__INIT;
    welcome.protocol = MESSAGE_PROTOCOL;
    welcome.run = p->config.run;
    welcome.training = p->config.training;
    welcome.mode = p->config.mode;
    welcome.experiment = p->text;
    welcome.heartbeat_ms = p->config.heartbeat_ms;
    welcome.coding = admitted->may_code ? FEWBIT__CODING__CODING_RANGE : FEWBIT__CODING__CODING_PACKED;
    p->host.send(p->host.context, connection, MESSAGE_WELCOME, &welcome.base);
    p->events.joined(p->events.context, k, admitted->name);
}

/* Whoever refuses has nothing more to say. */
static void take_refusal(node_registry *p, uint32_t k, const Fewbit__Refusal *r) {
    log_limited(LOG_ERROR, "node_refuses", k + 1, "portion %s (%s) refuses: %s", p->config.experiment->portions[k].name,
                p->portions[k].name, r->text);
    p->host.close(p->host.context, p->portions[k].connection, "it refuses");
}

void node_registry_take(node_registry *p, uint64_t connection, const frame *f) {
    message got;
    uint32_t k = portion_of(p, connection);
    err e = message_unpack(f->type, f->payload, f->length, &p->unpacked, &got);
    if (!e && k < count_portions(p)) {
        e = code_decoder_take(p->portions[k].may_code ? p->portions[k].decoder : NULL, &got);
    }
    if (e) {
        char text[256];
        snprintf(text, sizeof text, "%s", err_text());
        bool is_known = k < count_portions(p);
        log_limited(LOG_WARN, "node_dropped", is_known ? k + 1 : 0, "%s is dropped: %s",
                    is_known ? p->portions[k].name : "a connection", text);
        refuse(p, connection, FEWBIT__REASON__REASON_PROTOCOL, text);
    } else if (k < count_portions(p) && got.type == MESSAGE_REFUSAL) {
        take_refusal(p, k, got.body.refusal);
    } else if (k < count_portions(p)) {
        if (got.type == MESSAGE_READY) {
            p->portions[k].ready_at = clock_unix_ms();
        }
        p->events.message(p->events.context, k, &got);
    } else if (got.type == MESSAGE_HELLO) {
        admit(p, connection, got.body.hello);
    } else {
        refuse(p, connection, FEWBIT__REASON__REASON_PROTOCOL, "the first message must be Hello");
    }
}

void node_registry_lost(node_registry *p, uint64_t connection, const traffic_counters *last) {
    uint32_t k = portion_of(p, connection);
    if (k < count_portions(p)) {
        traffic_counters_add(&p->portions[k].past, last);
        p->portions[k].connection = 0;
        p->events.left(p->events.context, k);
    }
}

void node_registry_send(node_registry *p, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    if (p->portions[portion].connection) {
        p->host.send(p->host.context, p->portions[portion].connection, type, body);
    }
}

void node_registry_drop(node_registry *p, uint32_t portion, Fewbit__Reason reason, const char *text) {
    if (p->portions[portion].connection) {
        refuse(p, p->portions[portion].connection, reason, text);
    }
}

void node_registry_pause(node_registry *p, uint32_t portion, bool paused) {
    if (p->portions[portion].connection) {
        p->host.pause(p->host.context, p->portions[portion].connection, paused);
    }
}

uint64_t node_registry_connection(const node_registry *p, uint32_t portion) {
    return p->portions[portion].connection;
}

void node_registry_traffic(node_registry *p, uint32_t portion, traffic_counters *sum) {
    const portion_node *n = &p->portions[portion];
    *sum = n->past;
    if (n->connection) {
        p->host.add_traffic(p->host.context, n->connection, sum);
    }
}

void node_registry_stats(const node_registry *p, stats *r) {
    r->portions = count_portions(p);
    r->refused_nodes = p->refusals;
    r->ready = 0;
    for (uint32_t k = 0; k < count_portions(p); k++) {
        const portion_node *from = &p->portions[k];
        stats_node *to = &r->nodes[k];
        to->portion = p->config.experiment->portions[k].name;
        to->connection = from->connection;
        memcpy(to->name, from->name, sizeof to->name);
        to->admitted = from->admitted;
        to->joined_at = from->joined_at;
        to->ready_at = from->ready_at;
        to->is_ready = from->connection != 0 && from->ready_at != 0;
        to->traffic = from->past;
        code_decoder_stats(from->decoder, &to->coding);
        r->ready += to->is_ready;
    }
}
