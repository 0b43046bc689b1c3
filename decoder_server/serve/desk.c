#include "decoder_server/serve/desk.h"

#include "base/log.h"
#include "bits/pack.h"
#include "decoder_server/serve/assembler.h"
#include "decoder_server/serve/classifier.h"

#include <stdlib.h>
#include <string.h>

enum { PUSHED_CAPACITY = 1 << 17, LIVE_CAPACITY = 8192, REQUESTS = 1 << 21 };

/* A sample's id among the live ones stays below REQUESTS, so that a lone code's frame stays small. */
typedef struct live {
    bool waits;
    uint64_t id, request;
    uint32_t frame_bytes;
} live;

/* Codes of one node that found no room: parcels one after another, each a head and its bits. What a node may have under
 * way when it is slowed bounds them (the worker's mailbox). */
typedef struct parcel {
    uint64_t first, count, done; /* samples; `done` are in already */
    size_t bytes;                /* of the bits behind it, rounded up to 8 */
} parcel;

typedef struct parked {
    uint8_t *bytes;
    size_t length, capacity;
} parked;

/* Who waits for a sample that is due. */
typedef struct waiting {
    bool is_live;
    uint64_t request;
    uint32_t frame_bytes;
    uint64_t due_ns;
} waiting;

struct desk {
    const run *run;
    const run_commit *commit;
    results *results;
    desk_host host;
    split split;
    uint32_t portions, bits;
    classifier *classifier;
    assembler *pushed, *live;
    live requests[LIVE_CAPACITY]; /* by id % LIVE_CAPACITY */
    uint32_t next_live;
    bool is_ready[SPLIT_PORTIONS_MAX], is_paused[SPLIT_PORTIONS_MAX];
    parked parked[SPLIT_PORTIONS_MAX];
    uint64_t reached[SPLIT_PORTIONS_MAX]; /* the id behind the last pushed one that is in; 0: none since it joined */
    uint32_t ready_nodes;
    uint64_t payload_bits[SPLIT_PORTIONS_MAX]; /* of codes, by portion */
    bool has_begun;
    uint8_t *portion; /* one portion's elements */
    /* What is assembled and not classified yet. */
    assembled due[CLASSIFIER_ROWS];
    waiting about[CLASSIFIER_ROWS];
    uint64_t *due_codes; /* [CLASSIFIER_ROWS, portions] */
    size_t due_count;
    uint64_t latest_start_ns; /* of the batch that is due */
    uint64_t batch_wait_ns, deadline_ns;
};

static err plan_buffers(desk *d) {
    size_t portion = split_portion_elements(&d->split);
    d->portion = malloc(portion);
    d->due_codes = calloc((size_t)CLASSIFIER_ROWS * d->portions, sizeof *d->due_codes);
    return d->portion && d->due_codes ? ERR_OK : err_fail(ERR_MEMORY, "no memory for what is due");
}

err desk_new(desk **out, const run *r, results *results, const desk_options *options, const desk_host *host) {
    desk *d = calloc(1, sizeof *d);
    if (!d) {
        return err_fail(ERR_MEMORY, "no memory to serve");
    }
    d->run = r;
    d->results = results;
    d->host = *host;
    d->batch_wait_ns = options->batch_wait_ns;
    d->deadline_ns = options->deadline_ns;
    d->portions = r->experiment.data.portions;
    d->bits = r->experiment.encoder.bits;
    uint32_t classes;
    err e = run_served_commit(r, &d->commit);
    e = e ? e : experiment_split(&r->experiment, &d->split, &classes);
    e = e ? e : classifier_new(&d->classifier, r, d->commit, &options->classifier);
    assembler_config config = {PUSHED_CAPACITY, d->portions, options->deadline_ns, true};
    e = e ? e : assembler_new(&d->pushed, &config);
    config = (assembler_config){LIVE_CAPACITY, d->portions, options->deadline_ns, false};
    e = e ? e : assembler_new(&d->live, &config);
    e = e ? e : plan_buffers(d);
    if (e) {
        desk_free(d);
        return e;
    }
    *out = d;
    return ERR_OK;
}

void desk_free(desk *d) {
    if (d) {
        classifier_free(d->classifier);
        assembler_free(d->pushed);
        assembler_free(d->live);
        for (uint32_t k = 0; k < d->portions; k++) {
            free(d->parked[k].bytes);
        }
        free(d->portion);
        free(d->due_codes);
        free(d);
    }
}

/* Nodes. */

void desk_joined(desk *d, uint32_t portion) {
    Fewbit__Restore restore = FEWBIT__RESTORE__INIT;
    restore.step = d->commit->position.step;
    restore.digest = (ProtobufCBinaryData){DIGEST_BYTES, (uint8_t *)(uintptr_t)d->commit->encoders[portion]};
    d->is_paused[portion] = false;
    d->reached[portion] = 0;
    d->host.tell(d->host.context, portion, MESSAGE_RESTORE, &restore.base);
}

static void begin(desk *d, uint32_t portion) {
    Fewbit__Begin begin = FEWBIT__BEGIN__INIT;
    d->host.tell(d->host.context, portion, MESSAGE_BEGIN, &begin.base);
}

static void on_ready(desk *d, uint32_t portion, const Fewbit__Ready *r) {
    if (d->is_ready[portion] || r->step != d->commit->position.step) {
        d->host.drop(d->host.context, portion, FEWBIT__REASON__REASON_PROTOCOL, "Ready, but not for this model");
        return;
    }
    d->is_ready[portion] = true;
    d->ready_nodes++;
    log_info("portion %u is ready; %u of %u nodes are", portion, d->ready_nodes, d->portions);
    d->host.ready(d->host.context, d->ready_nodes);
    if (d->has_begun) {
        begin(d, portion);
    } else if (d->ready_nodes == d->portions) {
        d->has_begun = true;
        for (uint32_t k = 0; k < d->portions; k++) {
            begin(d, k);
        }
    }
}

/* Classifying. */

static void give_answer(desk *d, const waiting *w, const assembled *sample, const float *probabilities,
                        const result *r) {
    answer a = {
        .outcome = ANSWER_CLASSIFIED,
        .degraded = r->degraded,
        .class = r->class,
        .classes = classifier_classes(d->classifier),
        .portions = d->portions,
        .bits = d->bits,
        .have = sample->have,
        .asked_ns = sample->opened_ns,
        .due_ns = w->due_ns,
        .frame_bytes = w->frame_bytes,
    };
    memcpy(a.codes, sample->codes, d->portions * sizeof *a.codes);
    memcpy(a.probabilities, probabilities, a.classes * sizeof(float));
    d->host.answer(d->host.context, w->request, &a);
}

static void classify_due(desk *d, uint64_t now_ns) {
    const verdict *verdicts = classifier_run(d->classifier, d->due, d->due_count);
    for (size_t i = 0; i < d->due_count; i++) {
        const verdict *v = &verdicts[i];
        const waiting *w = &d->about[i];
        result r = {.sample = &d->due[i], .from = w->is_live ? "http" : "push", .class = v->class};
        r.probability = v->probabilities[v->class];
        r.degraded = __builtin_popcountll(d->due[i].have) != (int)d->portions;
        r.ms = (double)(now_ns - d->due[i].opened_ns) * 1e-6;
        results_write(d->results, &r);
        if (w->is_live) {
            give_answer(d, w, &d->due[i], v->probabilities, &r);
        }
    }
    d->due_count = 0;
    results_flush(d->results);
}

static void add_due(desk *d, const assembled *sample, bool is_live, uint64_t now_ns) {
    uint64_t *codes = d->due_codes + d->due_count * d->portions;
    memcpy(codes, sample->codes, d->portions * sizeof *codes);
    d->due[d->due_count] = *sample;
    d->due[d->due_count].codes = codes;
    d->about[d->due_count].is_live = is_live;
    uint64_t latest = now_ns + d->batch_wait_ns, deadline = sample->opened_ns + d->deadline_ns;
    latest = deadline < latest ? deadline : latest;
    d->latest_start_ns = d->due_count == 0 || latest < d->latest_start_ns ? latest : d->latest_start_ns;
    if (is_live) {
        live *request = &d->requests[sample->id % LIVE_CAPACITY];
        request->waits = false;
        d->about[d->due_count] = (waiting){true, request->request, request->frame_bytes, now_ns};
    }
    if (++d->due_count == CLASSIFIER_ROWS) {
        classify_due(d, now_ns);
    }
}

static void refuse_request(desk *d, uint64_t request, answer_outcome outcome) {
    answer a = {.outcome = outcome};
    d->host.answer(d->host.context, request, &a);
}

/* A live sample waits no longer for what is missing. */
static void end_waiting(desk *d, const assembled *sample, uint64_t now_ns) {
    if (sample->have == 0) {
        d->requests[sample->id % LIVE_CAPACITY].waits = false;
        refuse_request(d, d->requests[sample->id % LIVE_CAPACITY].request, ANSWER_NO_CODES);
    } else {
        add_due(d, sample, true, now_ns);
    }
}

static void expire(desk *d, uint64_t now_ns) {
    assembled sample;
    while (assembler_expire(d->pushed, now_ns, &sample)) {
        add_due(d, &sample, false, now_ns);
    }
    while (assembler_expire(d->live, now_ns, &sample)) {
        end_waiting(d, &sample, now_ns);
    }
}

void desk_left(desk *d, uint32_t portion, uint64_t now_ns) {
    if (!d->is_ready[portion]) {
        return;
    }
    d->is_ready[portion] = false;
    d->ready_nodes--;
    log_warn("portion %u is gone; %u of %u nodes are ready", portion, d->ready_nodes, d->portions);
    d->host.ready(d->host.context, d->ready_nodes);
    assembled sample;
    while (assembler_forgo(d->live, portion, &sample)) {
        end_waiting(d, &sample, now_ns);
    }
}

/* Codes. */

static bool fits(const desk *d, const Fewbit__Codes *c, uint64_t samples) {
    return samples <= FRAME_PAYLOAD_MAX && c->first <= UINT64_MAX - samples &&
           c->bits.len == pack_bytes(samples * d->bits) && pack_tail_is_clear(c->bits.data, samples * d->bits);
}

static void slow_down(desk *d, uint32_t portion) {
    if (!d->is_paused[portion]) {
        d->is_paused[portion] = true;
        d->host.pause(d->host.context, portion, true);
    }
}

/* Adds codes until one finds no room; whether all are in. */
static bool add_codes(desk *d, uint32_t portion, parcel *p, const uint8_t *bits, uint64_t now_ns) {
    for (; p->done < p->count; p->done++) {
        assembled sample;
        uint64_t i = p->done;
        switch (
            assembler_add(d->pushed, p->first + i, portion, pack_get(bits, i * d->bits, d->bits), now_ns, &sample)) {
        case ASSEMBLER_COMPLETE:
            add_due(d, &sample, false, now_ns);
            break;
        case ASSEMBLER_FULL:
            return false;
        default:
            break;
        }
        d->reached[portion] = p->first + i + 1;
    }
    return true;
}

static void park(desk *d, uint32_t portion, const parcel *head, const uint8_t *bits, size_t length) {
    parked *p = &d->parked[portion];
    size_t need = p->length + sizeof *head + head->bytes;
    uint8_t *grown = need > p->capacity ? realloc(p->bytes, 2 * need) : p->bytes;
    if (!grown) {
        log_error("no memory for codes of portion %u: %llu samples are lost", portion, (unsigned long long)head->count);
        return;
    }
    p->capacity = need > p->capacity ? 2 * need : p->capacity;
    p->bytes = grown;
    memcpy(p->bytes + p->length, head, sizeof *head);
    memcpy(p->bytes + p->length + sizeof *head, bits, length);
    p->length = need;
}

/* Parked codes go on as far as there is room; whether any did. */
static bool unpark(desk *d, uint32_t portion, uint64_t now_ns) {
    parked *p = &d->parked[portion];
    size_t at = 0;
    uint64_t reached = d->reached[portion];
    while (at < p->length) {
        parcel head;
        memcpy(&head, p->bytes + at, sizeof head);
        if (!add_codes(d, portion, &head, p->bytes + at + sizeof head, now_ns)) {
            memcpy(p->bytes + at, &head, sizeof head);
            break;
        }
        at += sizeof head + head.bytes;
    }
    if (at > 0) {
        memmove(p->bytes, p->bytes + at, p->length - at);
        p->length -= at;
    }
    return at > 0 || d->reached[portion] != reached;
}

/* Whether no ready portion is behind this one: what waits, waits for it. */
static bool is_last(const desk *d, uint32_t portion) {
    for (uint32_t k = 0; k < d->portions; k++) {
        if (d->is_ready[k] && d->reached[k] < d->reached[portion]) {
            return false;
        }
    }
    return true;
}

/* Nodes that were slowed go on once much less waits; the one that all others wait for, at once. (Each may have been
 * ahead when it was slowed: then nobody would come.) Whether parked codes have found room, which may have made room for
 * others. */
static bool let_go_on(desk *d, uint64_t now_ns) {
    bool any = false;
    for (uint32_t k = 0; k < d->portions; k++) {
        any |= unpark(d, k, now_ns);
    }
    bool has_room = assembler_count(d->pushed)->waiting <= PUSHED_CAPACITY / 2;
    for (uint32_t k = 0; k < d->portions; k++) {
        if (d->is_paused[k] && d->parked[k].length == 0 && (has_room || is_last(d, k))) {
            d->is_paused[k] = false;
            d->host.pause(d->host.context, k, false);
        }
    }
    return any;
}

static void on_codes(desk *d, uint32_t portion, const Fewbit__Codes *c, uint64_t now_ns) {
    uint32_t waiting = assembler_count(d->pushed)->waiting;
    parcel head = {c->first, (uint64_t)c->more + 1, 0, (c->bits.len + 7) / 8 * 8};
    if (d->parked[portion].length > 0 || !add_codes(d, portion, &head, c->bits.data, now_ns)) {
        park(d, portion, &head, c->bits.data, c->bits.len);
    }
    bool is_ahead = assembler_count(d->pushed)->waiting > waiting || d->parked[portion].length > 0;
    if (is_ahead && assembler_count(d->pushed)->waiting > PUSHED_CAPACITY / 4 * 3) {
        slow_down(d, portion);
    }
}

static void on_answer(desk *d, uint32_t portion, const Fewbit__Codes *c, uint64_t now_ns) {
    assembled sample;
    uint64_t code = pack_get(c->bits.data, 0, d->bits);
    live *request = &d->requests[c->first % LIVE_CAPACITY];
    if (request->id == c->first) {
        request->frame_bytes += (uint32_t)message_frame_size(&c->base);
    }
    if (assembler_add(d->live, c->first, portion, code, now_ns, &sample) == ASSEMBLER_COMPLETE) {
        add_due(d, &sample, true, now_ns);
    }
}

void desk_receive(desk *d, uint32_t portion, const message *m, uint64_t now_ns) {
    if (m->type == MESSAGE_READY) {
        on_ready(d, portion, m->body.ready);
        return;
    }
    if (m->type == MESSAGE_REFUSAL) {
        log_error("portion %u refuses: %s", portion, m->body.refusal->text);
        return;
    }
    bool is_lone = m->type == MESSAGE_ANSWER;
    if (!d->is_ready[portion] || (!is_lone && m->type != MESSAGE_CODES)) {
        d->host.drop(d->host.context, portion, FEWBIT__REASON__REASON_PROTOCOL, "a message out of turn");
        return;
    }
    const Fewbit__Codes *c = m->body.codes;
    if (c->model != (uint32_t)d->commit->position.step) {
        d->host.drop(d->host.context, portion, FEWBIT__REASON__REASON_MODEL, "codes of another model");
    } else if (!fits(d, c, (uint64_t)c->more + 1) || (is_lone && c->more > 0)) {
        d->host.drop(d->host.context, portion, FEWBIT__REASON__REASON_PROTOCOL, "codes that do not fit");
    } else if (is_lone) {
        d->payload_bits[portion] += d->bits;
        on_answer(d, portion, c, now_ns);
    } else {
        d->payload_bits[portion] += ((uint64_t)c->more + 1) * d->bits;
        on_codes(d, portion, c, now_ns);
    }
}

/* Requests. */

static void ask_nodes(desk *d, uint64_t id, const uint8_t *sample, uint32_t *frame_bytes) {
    for (uint32_t k = 0; k < d->portions; k++) {
        if (!d->is_ready[k]) {
            continue;
        }
        split_take(&d->split, k, sample, d->portion);
        Fewbit__Request request = FEWBIT__REQUEST__INIT;
        request.id = id;
        request.portion = (ProtobufCBinaryData){split_portion_elements(&d->split), d->portion};
        *frame_bytes += (uint32_t)message_frame_size(&request.base);
        d->host.tell(d->host.context, k, MESSAGE_REQUEST, &request.base);
    }
}

void desk_classify(desk *d, uint64_t request, const uint8_t *sample, uint64_t now_ns) {
    uint64_t expected = 0;
    for (uint32_t k = 0; k < d->portions; k++) {
        expected |= d->is_ready[k] ? (uint64_t)1 << k : 0;
    }
    if (expected == 0) {
        refuse_request(d, request, ANSWER_NO_NODES);
        return;
    }
    for (uint32_t i = 0; i < LIVE_CAPACITY && d->requests[d->next_live % LIVE_CAPACITY].waits; i++) {
        d->next_live = (d->next_live + 1) % REQUESTS; /* past those that wait for their deadline */
    }
    uint64_t id = d->next_live;
    if (!assembler_open(d->live, id, expected, now_ns)) {
        refuse_request(d, request, ANSWER_BUSY);
        return;
    }
    d->next_live = (d->next_live + 1) % REQUESTS;
    live *entry = &d->requests[id % LIVE_CAPACITY];
    *entry = (live){.waits = true, .id = id, .request = request};
    ask_nodes(d, id, sample, &entry->frame_bytes);
}

static void report_one_table(const assembler *a, uint32_t capacity, report_table *to) {
    const assembler_counters *c = assembler_count(a);
    *to = (report_table){c->complete, c->expired, c->late, c->duplicate, c->refused, c->waiting, capacity};
}

void desk_report(const desk *d, report *r) {
    report_one_table(d->pushed, PUSHED_CAPACITY, &r->pushed);
    report_one_table(d->live, LIVE_CAPACITY, &r->live);
    r->ready = d->ready_nodes;
    r->parked_bytes = 0;
    for (uint32_t k = 0; k < d->portions; k++) {
        r->parked_bytes += d->parked[k].length;
        r->nodes[k].is_ready = d->is_ready[k];
        r->nodes[k].payload_bits[METER_IN] = d->payload_bits[k];
    }
}

/* When the batch that is due starts; 0: now. */
static uint64_t batch_start(const desk *d) {
    bool has_company = assembler_count(d->live)->waiting > 0 || assembler_count(d->pushed)->waiting > 0;
    bool may_wait = d->batch_wait_ns > 0 && has_company && !classifier_knows_all(d->classifier);
    return may_wait ? d->latest_start_ns : 0;
}

int64_t desk_settle(desk *d, uint64_t now_ns) {
    expire(d, now_ns);
    if (d->due_count > 0 && batch_start(d) <= now_ns) {
        classify_due(d, now_ns);
    }
    if (let_go_on(d, now_ns)) {
        return 0;
    }
    uint64_t next = d->due_count > 0 ? batch_start(d) : UINT64_MAX;
    uint64_t pushed_next = assembler_next_deadline(d->pushed), live_next = assembler_next_deadline(d->live);
    next = pushed_next < next ? pushed_next : next;
    next = live_next < next ? live_next : next;
    if (next == UINT64_MAX) {
        return -1;
    }
    return next <= now_ns ? 0 : (int64_t)((next - now_ns) / 1000 + 1);
}

void desk_count(const desk *d, desk_counters *out) {
    *out = (desk_counters){.ready_nodes = d->ready_nodes};
    out->pushed = *assembler_count(d->pushed);
    out->live = *assembler_count(d->live);
    classifier_count(d->classifier, &out->classifier);
}
