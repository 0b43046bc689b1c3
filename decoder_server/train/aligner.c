#include "decoder_server/train/aligner.h"

#include "base/byte_reader.h"
#include "base/log_limit.h"
#include "data/psi.h"
#include "decoder_server/core/pending_replies.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

typedef enum portion_state { AWAY, ASKED, FOUND, TOLD } portion_state;

typedef struct aligner_portion {
    portion_state state;
    aligner_node node;
    bool is_new;      /* it is aligned, and aligner_next has not said so */
    bool is_due;      /* there is work for it: ids to take, or to ask for */
    bool is_same;     /* its ids are the labels' */
    uint32_t count;   /* its ids, of both splits */
    uint32_t taken;   /* of them */
    uint32_t blinded; /* PSI: of the labels' ids, which it has multiplied */
    uint32_t awaited; /* ids or points in the answer that it owes, or that lies in `answer` */
    bool has_answer;
    uint8_t *answer; /* room for one */
    id_hash *keys;   /* [labels' ids] PSI: of the labels' ids as both have multiplied them */
    id_table *table; /* of the keys */
    uint32_t *rows;  /* [labels' ids]: the place of each in what the node has sent, or ID_TABLE_NONE; NULL: the same */
} aligner_portion;

struct aligner {
    aligner_config config;
    aligner_host host;
    uint32_t count; /* the labels' ids, of both splits */
    char digest[SHA256_HEX];
    uint8_t salt[ID_HASH_SALT];
    id_hash *hashes; /* [count] HASH: once one was asked */
    id_table *table; /* of them */
    psi *secret;
    uint8_t *points;  /* [count, PSI_POINT_BYTES] PSI: the labels' ids, blinded, */
    uint32_t blinded; /* the first so many of them */
    uint8_t *seeds;   /* [MESSAGE_ALIGN_POINTS, PSI_SEED_BYTES] */
    bool is_known;
    alignment result;
    uint32_t samples[PARTITION_PORTIONS_MAX][2]; /* of each portion, in it */
    err outcome;
    char outcome_text[256];
    uint64_t answer_timeout_ns;
    pending_replies pending;
    aligner_portion portions[PARTITION_PORTIONS_MAX];
};

enum { ANSWER_BYTES = MESSAGE_ALIGN_HASHES * ID_HASH_BYTES };
_Static_assert(MESSAGE_ALIGN_POINTS *PSI_POINT_BYTES <= ANSWER_BYTES, "points fit where hashes do");

err aligner_new(aligner **out, const aligner_config *config, const aligner_host *host) {
    aligner *a = calloc(1, sizeof *a);
    if (!a) {
        return err_fail(ERR_MEMORY, "no memory for an alignment");
    }
    a->config = *config;
    a->host = *host;
    a->count = config->rule.samples[DATASET_TRAIN] + config->rule.samples[DATASET_TEST];
    err e = config->ids ? sample_ids_digest(config->ids, a->digest) : ERR_OK;
    if (!e && getrandom(a->salt, sizeof a->salt, 0) != sizeof a->salt) {
        e = err_system(ERR_IO, "no salt for an alignment");
    }
    if (e) {
        aligner_free(a);
        return e;
    }
    *out = a;
    return ERR_OK;
}

/* What an exchange with a node needs; `rows` only until it is told. */
static void end_exchange(aligner_portion *p) {
    free(p->answer);
    free(p->keys);
    id_table_free(p->table);
    p->answer = NULL;
    p->keys = NULL;
    p->table = NULL;
}

static void forget(aligner *a, uint32_t k) {
    aligner_portion *p = &a->portions[k];
    end_exchange(p);
    free(p->rows);
    *p = (aligner_portion){.state = AWAY};
    pending_replies_forget(&a->pending, k);
}

void aligner_free(aligner *a) {
    if (a) {
        for (uint32_t k = 0; k < a->config.rule.portions; k++) {
            forget(a, k);
        }
        free(a->hashes);
        id_table_free(a->table);
        psi_free(a->secret);
        free(a->points);
        free(a->seeds);
        alignment_free(&a->result);
        free(a);
    }
}

static void end(aligner *a, err outcome) {
    a->outcome = outcome;
    snprintf(a->outcome_text, sizeof a->outcome_text, "%s", err_text());
}

err aligner_outcome(const aligner *a) {
    return a->outcome ? err_fail(a->outcome, "%s", a->outcome_text) : ERR_OK;
}

const alignment *aligner_result(const aligner *a) {
    return a->is_known ? &a->result : NULL;
}

static void drop(aligner *a, uint32_t k, Fewbit__Reason reason, const char *why) {
    char text[256];
    snprintf(text, sizeof text, "%s", why);
    log_limited(LOG_WARN, "node_dropped", k + 1, "portion %s: %s", a->portions[k].node.portion, text);
    a->portions[k].is_due = a->portions[k].has_answer = false;
    pending_replies_forget(&a->pending, k);
    a->host.drop(a->host.context, k, reason, text);
}

/* The labels' ids. */

static enum dataset_split split_of(const aligner *a, uint32_t number, uint32_t *index) {
    uint32_t train = a->config.rule.samples[DATASET_TRAIN];
    *index = number < train ? number : number - train;
    return number < train ? DATASET_TRAIN : DATASET_TEST;
}

static err hash_labels(aligner *a) {
    if (a->table) {
        return ERR_OK;
    }
    a->hashes = malloc(a->count * sizeof *a->hashes + 1);
    err e = a->hashes ? ERR_OK : err_fail(ERR_MEMORY, "no memory to align %u samples", a->count);
    for (uint32_t i = 0; i < a->count && !e; i++) {
        uint32_t index;
        enum dataset_split split = split_of(a, i, &index);
        e = id_hash_of(a->salt, split, sample_ids_get(a->config.ids, split, index), &a->hashes[i]);
    }
    e = e ? e : id_table_new(&a->table, a->hashes, a->count);
    return err_prefix(e, "the labels' ids");
}

static err start_psi(aligner *a) {
    if (a->secret) {
        return ERR_OK;
    }
    a->points = malloc((size_t)a->count * PSI_POINT_BYTES + 1);
    a->seeds = malloc((size_t)MESSAGE_ALIGN_POINTS * PSI_SEED_BYTES);
    return a->points && a->seeds ? psi_new(&a->secret)
                                 : err_fail(ERR_MEMORY, "no memory to align %u samples", a->count);
}

/* Blinds on until the first `upto`, at most a message more than before, are. */
static err blind_labels(aligner *a, uint32_t upto) {
    err e = start_psi(a);
    if (e || upto <= a->blinded) {
        return e;
    }
    uint32_t count = upto - a->blinded;
    for (uint32_t i = 0; i < count && !e; i++) {
        uint32_t index;
        enum dataset_split split = split_of(a, a->blinded + i, &index);
        e = psi_seed(split, sample_ids_get(a->config.ids, split, index), a->seeds + (size_t)i * PSI_SEED_BYTES);
    }
    e = e ? e : psi_blind(a->secret, a->seeds, count, a->points + (size_t)a->blinded * PSI_POINT_BYTES, a->config.pool);
    a->blinded = e ? a->blinded : upto;
    return e;
}

/* Asking. */

static uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

static err start_exchange(aligner *a, aligner_portion *p) {
    p->answer = malloc(ANSWER_BYTES);
    p->rows = malloc(a->count * sizeof *p->rows + 1);
    p->keys = a->config.is_private ? malloc(a->count * sizeof *p->keys + 1) : NULL;
    if (!p->answer || !p->rows || (a->config.is_private && !p->keys)) {
        return err_fail(ERR_MEMORY, "no memory to align %u samples", a->count);
    }
    memset(p->rows, 0xff, a->count * sizeof *p->rows); /* ID_TABLE_NONE */
    return a->config.is_private ? ERR_OK : hash_labels(a);
}

static err ask(aligner *a, uint32_t k) {
    aligner_portion *p = &a->portions[k];
    Fewbit__AlignRequest r = FEWBIT__ALIGN_REQUEST__INIT;
    err e = p->answer ? ERR_OK : start_exchange(a, p);
    if (e) {
        return e;
    }
    if (!a->config.is_private) {
        r.salt = (ProtobufCBinaryData){ID_HASH_SALT, a->salt};
        p->awaited = least(p->count - p->taken, MESSAGE_ALIGN_HASHES);
    } else if (p->blinded < a->count) {
        r.align = FEWBIT__ALIGN__ALIGN_PSI;
        p->awaited = least(a->count - p->blinded, MESSAGE_ALIGN_POINTS);
        e = blind_labels(a, p->blinded + p->awaited);
        r.points = (ProtobufCBinaryData){(size_t)p->awaited * PSI_POINT_BYTES,
                                         a->points + (size_t)p->blinded * PSI_POINT_BYTES};
    } else {
        r.align = FEWBIT__ALIGN__ALIGN_PSI;
        p->awaited = least(p->count - p->taken, MESSAGE_ALIGN_POINTS);
    }
    if (!e) {
        pending_replies_begin(&a->pending, k, MESSAGE_ALIGN_IDS);
        a->host.send(a->host.context, k, MESSAGE_ALIGN_REQUEST, &r.base);
    }
    return e;
}

/* Taking. */

/* One more of the node's ids: false: it has sent it before. */
static bool place(aligner_portion *p, const id_table *t, const id_hash *key) {
    uint32_t at = id_table_find(t, key), number = p->taken++;
    if (at == ID_TABLE_NONE) {
        return true;
    }
    bool is_first = p->rows[at] == ID_TABLE_NONE;
    p->rows[at] = number;
    return is_first;
}

static err place_all(aligner *a, aligner_portion *p) {
    err e = ERR_OK;
    if (a->config.is_private) {
        e = psi_multiply(a->secret, p->answer, p->awaited, p->answer, a->config.pool);
    }
    bool is_fine = true;
    for (uint32_t i = 0; i < p->awaited && is_fine && !e; i++) {
        id_hash key;
        if (a->config.is_private) {
            e = psi_key(p->answer + (size_t)i * PSI_POINT_BYTES, &key);
            is_fine = e || place(p, p->table, &key);
        } else {
            memcpy(key.bytes, p->answer + (size_t)i * ID_HASH_BYTES, ID_HASH_BYTES);
            is_fine = place(p, a->table, &key);
        }
    }
    return e || is_fine ? e : err_fail(ERR_INPUT, "sent one id twice");
}

/* The labels' ids come back. */
static err take_keys(aligner *a, aligner_portion *p) {
    err e = ERR_OK;
    for (uint32_t i = 0; i < p->awaited && !e; i++) {
        e = psi_key(p->answer + (size_t)i * PSI_POINT_BYTES, &p->keys[p->blinded + i]);
    }
    p->blinded += p->awaited;
    return e || p->blinded < a->count ? e : id_table_new(&p->table, p->keys, a->count);
}

static err take(aligner *a, aligner_portion *p) {
    p->has_answer = false;
    return a->config.is_private && p->blinded < a->count ? take_keys(a, p) : place_all(a, p);
}

/* Telling. */

/* Where kept sample i is in what a node has sent. */
static uint32_t row_of(const aligner *a, const aligner_portion *p, uint32_t i) {
    uint32_t number = a->result.numbers[i];
    return p->rows ? p->rows[number] : number;
}

static void tell(aligner *a, uint32_t k) {
    aligner_portion *p = &a->portions[k];
    const alignment *r = &a->result;
    uint32_t total = r->samples[DATASET_TRAIN] + r->samples[DATASET_TEST];
    bool has_all = p->is_same && alignment_is_identity(r, &a->config.rule);
    Fewbit__Aligned told = FEWBIT__ALIGNED__INIT;
    uint8_t *bytes = has_all ? NULL : malloc((size_t)least(total, MESSAGE_ALIGN_ROWS) * 4);
    if (!has_all && !bytes) {
        end(a, err_fail(ERR_MEMORY, "no memory for %u aligned samples", total));
        return;
    }
    told.train = r->samples[DATASET_TRAIN];
    told.validation = r->validation;
    told.test = r->samples[DATASET_TEST];
    for (uint32_t first = 0, count; first < total && !has_all; first += count) {
        count = least(total - first, MESSAGE_ALIGN_ROWS);
        for (uint32_t i = 0; i < count; i++) {
            byte_put_u32_le(bytes + 4 * (size_t)i, row_of(a, p, first + i));
        }
        told.rows = (ProtobufCBinaryData){(size_t)count * 4, bytes};
        a->host.send(a->host.context, k, MESSAGE_ALIGNED, &told.base);
    }
    free(bytes);
    free(p->rows);
    p->rows = NULL;
    p->state = TOLD;
    p->is_new = true;
}

static bool have_all_found(const aligner *a) {
    bool all = true;
    for (uint32_t k = 0; k < a->config.rule.portions; k++) {
        all = all && a->portions[k].state == FOUND;
    }
    return all;
}

static err join(aligner *a) {
    uint64_t *have = calloc(a->count, sizeof *have);
    if (!have) {
        return err_fail(ERR_MEMORY, "no memory to align %u samples", a->count);
    }
    for (uint32_t k = 0; k < a->config.rule.portions; k++) {
        const uint32_t *rows = a->portions[k].rows;
        memcpy(a->samples[k], a->portions[k].node.samples, sizeof a->samples[k]);
        for (uint32_t i = 0; i < a->count; i++) {
            have[i] |= (uint64_t)(!rows || rows[i] != ID_TABLE_NONE) << k;
        }
    }
    err e = alignment_new(&a->result, &a->config.rule, have);
    free(have);
    return e ? e : alignment_check(&a->result, &a->config.rule, a->config.batch_size);
}

/* Whether a node that has come again has what it had. */
static bool has_the_same(const aligner *a, uint32_t k) {
    const alignment *r = &a->result;
    for (uint32_t i = 0; i < r->samples[DATASET_TRAIN] + r->samples[DATASET_TEST]; i++) {
        if ((row_of(a, &a->portions[k], i) != ID_TABLE_NONE) != (r->have[i] >> k & 1)) {
            return false;
        }
    }
    return true;
}

static void on_found(aligner *a, uint32_t k) {
    end_exchange(&a->portions[k]);
    a->portions[k].state = FOUND;
    if (a->is_known && has_the_same(a, k)) {
        tell(a, k);
    } else if (a->is_known) {
        drop(a, k, FEWBIT__REASON__REASON_DATA, "has other ids than it had when the training began");
    } else if (have_all_found(a)) {
        err e = join(a);
        if (e) {
            end(a, e);
            return;
        }
        a->is_known = true;
        for (uint32_t n = 0; n < a->config.rule.portions; n++) {
            tell(a, n);
        }
    }
}

/* Nodes that come and go. */

/* ERR_INPUT where it, or the labels, have too many ids. */
static err check(const aligner *a, const aligner_node *n) {
    uint64_t count = (uint64_t)n->samples[DATASET_TRAIN] + n->samples[DATASET_TEST];
    if (a->config.ids && (count > MESSAGE_ALIGN_IDS_MAX || a->count > MESSAGE_ALIGN_IDS_MAX)) {
        return err_fail(ERR_INPUT, "it has %llu ids, the labels %u: no more than %d can be aligned",
                        (unsigned long long)count, a->count, MESSAGE_ALIGN_IDS_MAX);
    }
    return count > 0 ? ERR_OK : err_fail(ERR_INPUT, "it has no samples");
}

void aligner_joined(aligner *a, uint32_t k, const aligner_node *node) {
    aligner_portion *p = &a->portions[k];
    forget(a, k);
    *p = (aligner_portion){.state = ASKED, .node = *node};
    if (a->outcome || check(a, node)) {
        drop(a, k, FEWBIT__REASON__REASON_DATA, err_text());
        return;
    }
    p->count = node->samples[DATASET_TRAIN] + node->samples[DATASET_TEST];
    p->is_same = strcmp(node->ids, a->digest) == 0;
    if (p->is_same) {
        on_found(a, k);
    } else {
        p->is_due = true;
    }
}

void aligner_left(aligner *a, uint32_t k) {
    forget(a, k);
}

void aligner_receive(aligner *a, uint32_t k, const message *m) {
    aligner_portion *p = &a->portions[k];
    if (p->state != ASKED || m->type != MESSAGE_ALIGN_IDS || p->has_answer || p->awaited == 0) {
        drop(a, k, FEWBIT__REASON__REASON_PROTOCOL, "sent a message that was not asked for while samples are aligned");
        return;
    }
    const Fewbit__AlignIds *ids = m->body.align_ids;
    const ProtobufCBinaryData *got = a->config.is_private ? &ids->points : &ids->hashes;
    size_t wanted = (size_t)p->awaited * (a->config.is_private ? PSI_POINT_BYTES : ID_HASH_BYTES);
    if (got->len != wanted || ids->points.len + ids->hashes.len != wanted) {
        drop(a, k, FEWBIT__REASON__REASON_PROTOCOL, "sent other ids than those that it was asked for");
        return;
    }
    pending_replies_answered(&a->pending, k, MESSAGE_ALIGN_IDS, false);
    memcpy(p->answer, got->data, wanted);
    p->has_answer = p->is_due = true;
}

/* Work. */

static uint32_t due(const aligner *a) {
    uint32_t k = 0;
    while (k < a->config.rule.portions && !a->portions[k].is_due) {
        k++;
    }
    return k;
}

bool aligner_has_work(const aligner *a) {
    return !a->outcome && due(a) < a->config.rule.portions;
}

void aligner_work(aligner *a) {
    uint32_t k = due(a);
    aligner_portion *p = &a->portions[k];
    p->is_due = false;
    err e = p->has_answer ? take(a, p) : ERR_OK;
    if (e == ERR_INPUT) {
        drop(a, k, FEWBIT__REASON__REASON_PROTOCOL, err_text());
        return;
    }
    if (!e && p->taken == p->count) {
        on_found(a, k);
        return;
    }
    e = e ? e : ask(a, k);
    if (e) {
        end(a, e);
    }
}

bool aligner_next(aligner *a, uint32_t *portion) {
    for (uint32_t k = 0; k < a->config.rule.portions; k++) {
        if (a->portions[k].is_new) {
            a->portions[k].is_new = false;
            *portion = k;
            return true;
        }
    }
    return false;
}

/* Time. */

void aligner_set_answer_timeout(aligner *a, uint64_t ns) {
    a->answer_timeout_ns = ns;
}

int64_t aligner_poll(aligner *a, uint64_t now_ns) {
    char text[PENDING_REPLIES_TEXT_MAX];
    pending_replies_read_clock(&a->pending, now_ns);
    for (uint32_t k = 0; a->answer_timeout_ns > 0 && k < a->config.rule.portions; k++) {
        if (pending_replies_take_overdue(&a->pending, k, a->answer_timeout_ns, text)) {
            drop(a, k, FEWBIT__REASON__REASON_PROTOCOL, text);
        }
    }
    return pending_replies_rests(&a->pending, a->config.rule.portions) ? -1 : PENDING_REPLIES_TURN_NS / 1000;
}

void aligner_samples(const aligner *a, uint32_t (*samples)[2]) {
    memcpy(samples, a->samples, a->config.rule.portions * sizeof *samples);
}

void aligner_stats(const aligner *a, uint32_t portion, stats_node *n) {
    pending_replies_stats(&a->pending, portion, n);
}
