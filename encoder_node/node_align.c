#include "encoder_node/node_align.h"

#include "base/byte_reader.h"
#include "data/psi.h"

#include <stdlib.h>
#include <string.h>

typedef enum align_state { NOT_ASKED, SENDING, TAKING, ALIGNED } align_state;

struct node_align {
    const sample_ids *ids;
    uint32_t samples[2], count; /* own ids, of both splits */
    thread_pool *pool;
    const node_host *host;
    align_state state;
    Fewbit__Align align;
    uint8_t salt[ID_HASH_SALT];
    psi *secret;
    uint32_t *order;       /* [count] PSI: the own sample that is sent in that place, through both splits */
    uint32_t sent, helped; /* own ids; points of the server */
    uint8_t *seeds;        /* [MESSAGE_ALIGN_POINTS, PSI_SEED_BYTES] */
    uint8_t *answer;       /* room for the ids of one message */
    sample_rows rows;
    uint32_t taken, total; /* rows, of both splits */
};

enum { ANSWER_BYTES = MESSAGE_ALIGN_HASHES * ID_HASH_BYTES };
_Static_assert(MESSAGE_ALIGN_POINTS *PSI_POINT_BYTES <= ANSWER_BYTES, "points fit where hashes do");

err node_align_new(node_align **out, const sample_ids *ids, const uint32_t samples[2], thread_pool *pool,
                   const node_host *host) {
    node_align *a = calloc(1, sizeof *a);
    if (!a) {
        return err_fail(ERR_MEMORY, "no memory for a node's alignment");
    }
    a->ids = ids;
    memcpy(a->samples, samples, sizeof a->samples);
    uint64_t count = (uint64_t)samples[DATASET_TRAIN] + samples[DATASET_TEST];
    a->count = count < UINT32_MAX ? (uint32_t)count : UINT32_MAX;
    a->pool = pool;
    a->host = host;
    *out = a;
    return ERR_OK;
}

/* What only the exchange needs. */
static void end_exchange(node_align *a) {
    psi_free(a->secret);
    free(a->order);
    free(a->seeds);
    free(a->answer);
    a->secret = NULL;
    a->order = NULL;
    a->seeds = a->answer = NULL;
}

void node_align_disconnected(node_align *a) {
    end_exchange(a);
    free(a->rows.rows[DATASET_TRAIN]);
    a->rows = (sample_rows){0};
    a->state = NOT_ASKED;
}

void node_align_free(node_align *a) {
    if (a) {
        node_align_disconnected(a);
        free(a);
    }
}

bool node_align_is_under_way(const node_align *a) {
    return a->state == SENDING || a->state == TAKING;
}

const sample_rows *node_align_rows(const node_align *a) {
    return a->state == ALIGNED ? &a->rows : NULL;
}

/* Sending. */

static err start_psi(node_align *a) {
    a->order = malloc(a->count * sizeof *a->order + 1);
    a->seeds = malloc((size_t)MESSAGE_ALIGN_POINTS * PSI_SEED_BYTES);
    if (!a->order || !a->seeds) {
        return err_fail(ERR_MEMORY, "no memory to align %u ids", a->count);
    }
    err e = psi_new(&a->secret);
    return e ? e : psi_shuffle(a->order, a->count);
}

static err start(node_align *a, const Fewbit__AlignRequest *r) {
    bool is_hashed = r->align == FEWBIT__ALIGN__ALIGN_HASH;
    if (!a->ids) {
        return err_fail(ERR_INPUT, "the server's samples have ids, those of this portion are counted");
    }
    if (a->count > MESSAGE_ALIGN_IDS_MAX) {
        return err_fail(ERR_INPUT, "this portion has more than %d samples: too many to align", MESSAGE_ALIGN_IDS_MAX);
    }
    if ((!is_hashed && r->align != FEWBIT__ALIGN__ALIGN_PSI) || r->salt.len != (is_hashed ? ID_HASH_SALT : 0)) {
        return err_fail(ERR_INPUT, "the server asks for ids in a way that this node does not know");
    }
    a->align = r->align;
    a->sent = a->helped = 0;
    a->answer = malloc(ANSWER_BYTES);
    if (!a->answer) {
        return err_fail(ERR_MEMORY, "no memory to align %u ids", a->count);
    }
    if (is_hashed) {
        memcpy(a->salt, r->salt.data, ID_HASH_SALT);
    }
    err e = is_hashed ? ERR_OK : start_psi(a);
    a->state = SENDING;
    return e;
}

static enum dataset_split split_of(const node_align *a, uint32_t number, uint32_t *index) {
    uint32_t train = a->samples[DATASET_TRAIN];
    *index = number < train ? number : number - train;
    return number < train ? DATASET_TRAIN : DATASET_TEST;
}

static err send_hashes(node_align *a) {
    uint32_t left = a->count - a->sent, count = left < MESSAGE_ALIGN_HASHES ? left : MESSAGE_ALIGN_HASHES;
    err e = ERR_OK;
    for (uint32_t i = 0; i < count && !e; i++) {
        uint32_t index;
        id_hash hash;
        enum dataset_split split = split_of(a, a->sent + i, &index);
        e = id_hash_of(a->salt, split, sample_ids_get(a->ids, split, index), &hash);
        memcpy(a->answer + (size_t)i * ID_HASH_BYTES, hash.bytes, ID_HASH_BYTES);
    }
    Fewbit__AlignIds answer = FEWBIT__ALIGN_IDS__INIT;
    answer.hashes = (ProtobufCBinaryData){(size_t)count * ID_HASH_BYTES, a->answer};
    a->sent += count;
    if (!e) {
        node_host_send(a->host, MESSAGE_ALIGN_IDS, &answer.base);
    }
    return e;
}

static void send_points(const node_align *a, size_t count) {
    Fewbit__AlignIds answer = FEWBIT__ALIGN_IDS__INIT;
    answer.points = (ProtobufCBinaryData){count * PSI_POINT_BYTES, a->answer};
    node_host_send(a->host, MESSAGE_ALIGN_IDS, &answer.base);
}

static err send_own_points(node_align *a) {
    uint32_t left = a->count - a->sent, count = left < MESSAGE_ALIGN_POINTS ? left : MESSAGE_ALIGN_POINTS;
    err e = ERR_OK;
    for (uint32_t i = 0; i < count && !e; i++) {
        uint32_t index;
        enum dataset_split split = split_of(a, a->order[a->sent + i], &index);
        e = psi_seed(split, sample_ids_get(a->ids, split, index), a->seeds + (size_t)i * PSI_SEED_BYTES);
    }
    e = e ? e : psi_blind(a->secret, a->seeds, count, a->answer, a->pool);
    a->sent += count;
    if (!e) {
        send_points(a, count);
    }
    return e;
}

/* The server's points come before it asks for the own ones. */
static err blind_points(node_align *a, const ProtobufCBinaryData *points) {
    size_t count = points->len / PSI_POINT_BYTES;
    if (points->len % PSI_POINT_BYTES != 0 || count > MESSAGE_ALIGN_POINTS ||
        count > MESSAGE_ALIGN_IDS_MAX - a->helped || a->sent > 0) {
        return err_fail(ERR_INPUT, "the server's %zu bytes of blinded ids do not fit", points->len);
    }
    a->helped += (uint32_t)count;
    err e = psi_multiply(a->secret, points->data, count, a->answer, a->pool);
    if (!e) {
        send_points(a, count);
    }
    return e;
}

err node_align_request(node_align *a, const Fewbit__AlignRequest *r) {
    err e = a->state == NOT_ASKED ? start(a, r) : ERR_OK;
    if (e) {
        return e;
    }
    bool is_same = r->align == a->align;
    if (a->align == FEWBIT__ALIGN__ALIGN_HASH) {
        is_same = is_same && r->salt.len == ID_HASH_SALT && memcmp(r->salt.data, a->salt, ID_HASH_SALT) == 0 &&
                  r->points.len == 0;
    } else {
        is_same = is_same && r->salt.len == 0;
    }
    if (a->state != SENDING || !is_same || a->sent == a->count) {
        return node_host_out_of_turn("AlignRequest");
    }
    if (r->points.len > 0) {
        return blind_points(a, &r->points);
    }
    return a->align == FEWBIT__ALIGN__ALIGN_HASH ? send_hashes(a) : send_own_points(a);
}

/* Taking. */

/* A server that knows that both have the same ids asks for none. */
static err start_to_take(node_align *a, const Fewbit__Aligned *aligned) {
    uint64_t total = (uint64_t)aligned->train + aligned->test;
    if (a->state == ALIGNED || (a->state == SENDING && a->sent < a->count)) {
        return node_host_out_of_turn("Aligned");
    }
    if (total == 0 || total > MESSAGE_ALIGN_IDS_MAX || aligned->validation > aligned->train) {
        return err_fail(ERR_INPUT,
                        "the server aligns %u training samples, %u of them for validation, and %u test samples",
                        aligned->train, aligned->validation, aligned->test);
    }
    uint32_t *rows = malloc((size_t)total * sizeof *rows);
    if (!rows) {
        return err_fail(ERR_MEMORY, "no memory for %u aligned samples", (uint32_t)total);
    }
    a->rows = (sample_rows){.samples = {aligned->train, aligned->test},
                            .validation = aligned->validation,
                            .rows = {rows, rows + aligned->train}};
    a->total = (uint32_t)total;
    a->taken = 0;
    a->state = TAKING;
    return ERR_OK;
}

/* The own sample of a place in what was sent, as sample `number` of those that are aligned; false: there is none, or it
 * is of another split. */
static bool take_row(node_align *a, uint32_t number, uint32_t place) {
    bool is_train = number < a->rows.samples[DATASET_TRAIN];
    uint32_t *to = a->rows.rows[DATASET_TRAIN] + number, index;
    if (place == SAMPLE_ROWS_MISSING) {
        *to = SAMPLE_ROWS_MISSING;
        return true;
    }
    if (place >= a->count) {
        return false;
    }
    enum dataset_split split = split_of(a, a->order ? a->order[place] : place, &index);
    *to = index;
    return split == (is_train ? DATASET_TRAIN : DATASET_TEST);
}

err node_align_take(node_align *a, const Fewbit__Aligned *aligned) {
    err e = a->state == TAKING ? ERR_OK : start_to_take(a, aligned);
    if (e) {
        return e;
    }
    size_t count = aligned->rows.len / 4;
    bool is_same = aligned->train == a->rows.samples[DATASET_TRAIN] && aligned->test == a->rows.samples[DATASET_TEST] &&
                   aligned->validation == a->rows.validation;
    if (!is_same || aligned->rows.len % 4 != 0 || count == 0 || count > MESSAGE_ALIGN_ROWS ||
        count > a->total - a->taken) {
        return err_fail(ERR_INPUT, "the server's %zu bytes of aligned rows do not fit", aligned->rows.len);
    }
    byte_reader places = byte_reader_over(aligned->rows.data, aligned->rows.len);
    for (size_t i = 0; i < count; i++) {
        uint32_t place = byte_reader_u32_le(&places);
        if (!take_row(a, a->taken++, place)) {
            return err_fail(ERR_INPUT,
                            "the server aligns sample %u with number %u of this portion's ids: not one of that split",
                            a->taken - 1, place);
        }
    }
    if (a->taken == a->total) {
        a->state = ALIGNED;
        end_exchange(a);
    }
    return ERR_OK;
}
