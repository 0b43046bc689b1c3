#include "data/psi.h"

#include "base/sha256.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    TASK_POINTS = 64,   /* of one task */
    TRIES_MAX = 256,    /* each makes a point with a chance of about one half */
    DRAWS_MAX = 1 << 14 /* random numbers at a time */
};

struct psi {
    EC_GROUP *curve;
    BIGNUM *secret;
};

/* What OpenSSL noted of a failure must not be taken for one of whoever uses it next. */
static err failed(err code, const char *line) {
    ERR_clear_error();
    return err_fail(code, "%s", line);
}

err psi_new(psi **out) {
    psi *p = calloc(1, sizeof *p);
    if (!p) {
        return err_fail(ERR_MEMORY, "no memory for a private intersection");
    }
    p->curve = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    p->secret = BN_secure_new();
    bool is_drawn = p->curve && p->secret;
    do {
        is_drawn = is_drawn && BN_priv_rand_range(p->secret, EC_GROUP_get0_order(p->curve)) == 1;
    } while (is_drawn && BN_is_zero(p->secret));
    if (!is_drawn) {
        psi_free(p);
        return failed(ERR_INTERNAL, "no secret could be drawn");
    }
    BN_set_flags(p->secret, BN_FLG_CONSTTIME);
    *out = p;
    return ERR_OK;
}

void psi_free(psi *p) {
    if (p) {
        EC_GROUP_free(p->curve);
        BN_clear_free(p->secret);
        free(p);
    }
}

err psi_seed(enum dataset_split split, const char *id, uint8_t seed[PSI_SEED_BYTES]) {
    static const char domain[] = "fewbit psi";
    const uint8_t part = (uint8_t)split;
    return sha256_spans((file_span[]){{domain, sizeof domain}, {&part, 1}, {id, strlen(id)}}, 3, seed);
}

/* A list's work. */
typedef struct job {
    const psi *p;
    const uint8_t *from;
    size_t count;
    uint8_t *to;
    bool are_seeds;
    atomic_int outcome; /* an err */
} job;

/* The first of SHA-256(seed || 0), SHA-256(seed || 1), … that is the x of a point; of its two the one with an even y.
 */
static bool point_of_seed(const psi *p, const uint8_t *seed, EC_POINT *point, BN_CTX *scratch) {
    uint8_t compressed[PSI_POINT_BYTES] = {POINT_CONVERSION_COMPRESSED};
    for (unsigned i = 0; i < TRIES_MAX; i++) {
        const uint8_t number = (uint8_t)i;
        if (sha256_spans((file_span[]){{seed, PSI_SEED_BYTES}, {&number, 1}}, 2, compressed + 1)) {
            return false;
        }
        if (EC_POINT_oct2point(p->curve, point, compressed, sizeof compressed, scratch) == 1) {
            return true;
        }
    }
    return false;
}

static err one_point(const job *j, size_t i, EC_POINT *point, BN_CTX *scratch) {
    const psi *p = j->p;
    if (j->are_seeds) {
        if (!point_of_seed(p, j->from + i * PSI_SEED_BYTES, point, scratch)) {
            return ERR_INTERNAL;
        }
    } else if (EC_POINT_oct2point(p->curve, point, j->from + i * PSI_POINT_BYTES, PSI_POINT_BYTES, scratch) != 1) {
        return ERR_INPUT; /* not on the curve, or in another form; infinity has one byte */
    }
    bool is_done = EC_POINT_mul(p->curve, point, NULL, point, p->secret, scratch) == 1 &&
                   EC_POINT_point2oct(p->curve, point, POINT_CONVERSION_COMPRESSED, j->to + i * PSI_POINT_BYTES,
                                      PSI_POINT_BYTES, scratch) == PSI_POINT_BYTES;
    return is_done ? ERR_OK : ERR_INTERNAL;
}

static void run_task(void *context, size_t task) {
    job *j = context;
    EC_POINT *point = EC_POINT_new(j->p->curve);
    BN_CTX *scratch = BN_CTX_new();
    err e = point && scratch ? ERR_OK : ERR_MEMORY;
    size_t first = task * TASK_POINTS, end = first + TASK_POINTS < j->count ? first + TASK_POINTS : j->count;
    for (size_t i = first; i < end && !e; i++) {
        e = one_point(j, i, point, scratch);
    }
    EC_POINT_clear_free(point);
    BN_CTX_free(scratch);
    ERR_clear_error();
    if (e) {
        atomic_store(&j->outcome, (int)e);
    }
}

static err run_job(job *j, thread_pool *pool) {
    thread_pool_run(pool, run_task, j, (j->count + TASK_POINTS - 1) / TASK_POINTS);
    err e = (err)atomic_load(&j->outcome);
    return !e               ? ERR_OK
           : e == ERR_INPUT ? err_fail(e, "what was sent is no point of P-256 in its compressed form")
                            : err_fail(e, "a point could not be multiplied");
}

err psi_blind(const psi *p, const uint8_t *seeds, size_t count, uint8_t *points, thread_pool *pool) {
    job j = {.p = p, .from = seeds, .count = count, .to = points, .are_seeds = true};
    return run_job(&j, pool);
}

err psi_multiply(const psi *p, const uint8_t *points, size_t count, uint8_t *to, thread_pool *pool) {
    job j = {.p = p, .from = points, .count = count, .to = to};
    return run_job(&j, pool);
}

err psi_key(const uint8_t point[PSI_POINT_BYTES], id_hash *key) {
    uint8_t digest[SHA256_BYTES];
    err e = sha256_bytes(point, PSI_POINT_BYTES, digest);
    if (!e) {
        memcpy(key->bytes, digest, ID_HASH_BYTES);
    }
    return e;
}

/* A number from 0 to limit - 1, from random ones of which those are left out that would favour some. */
static bool draw_below(uint32_t limit, uint32_t *draws, size_t *left, uint32_t *number) {
    const uint32_t whole = UINT32_MAX - UINT32_MAX % limit;
    do {
        if (*left == 0) {
            if (RAND_priv_bytes((uint8_t *)draws, DRAWS_MAX * sizeof *draws) != 1) {
                return false;
            }
            *left = DRAWS_MAX;
        }
        *number = draws[--*left];
    } while (*number >= whole);
    *number %= limit;
    return true;
}

err psi_shuffle(uint32_t *places, uint32_t count) {
    uint32_t *draws = malloc(DRAWS_MAX * sizeof *draws);
    size_t left = 0;
    bool is_drawn = draws != NULL;
    for (uint32_t i = 0; i < count && is_drawn; i++) {
        uint32_t other = 0;
        is_drawn = draw_below(i + 1, draws, &left, &other);
        places[i] = places[other];
        places[other] = i;
    }
    free(draws);
    return is_drawn ? ERR_OK : failed(ERR_INTERNAL, "no random numbers to shuffle with");
}
