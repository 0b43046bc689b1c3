/* Private set intersection: two sides find which ids both have, and neither learns another id of the other side.
 *
 * Elliptic-curve Diffie-Hellman (P-256, OpenSSL's). Each side has a secret number, a and b, and an id is a point H(id)
 * of the curve. What a side sends is a H(id), a random point to whoever does not know a; the other side multiplies by
 * b, and a (b H(id)) = b (a H(id)). So points that both have multiplied are equal where the ids are. Both sides are
 * taken to be curious, but honest (docs/security.md).
 *
 * A point travels compressed, 33 bytes; whatever else comes is refused. Lists are cut into tasks for a pool, and the
 * results are the same on any number of threads. */
#ifndef FEWBIT_DATA_PSI_H
#define FEWBIT_DATA_PSI_H

#include "base/thread_pool.h"
#include "data/id_hash.h"

enum { PSI_POINT_BYTES = 33, PSI_SEED_BYTES = 32 };

/* One side's secret, drawn when it is made. */
typedef struct psi psi;

err psi_new(psi **p);
void psi_free(psi *p);

/* What an id's point is made from, the same on both sides; ids of different splits have different points. */
err psi_seed(enum dataset_split split, const char *id, uint8_t seed[PSI_SEED_BYTES]);

/* Own ids: seeds [count, PSI_SEED_BYTES] -> the secret times their points, [count, PSI_POINT_BYTES]. `pool` may be
 * NULL, here and below. */
err psi_blind(const psi *p, const uint8_t *seeds, size_t count, uint8_t *points, thread_pool *pool);

/* Points of the other side, not trusted: the secret times each, to `to` (which may be `points`). ERR_INPUT where one is
 * not a point of the curve. */
err psi_multiply(const psi *p, const uint8_t *points, size_t count, uint8_t *to, thread_pool *pool);

/* What is compared of points that both sides have multiplied. */
err psi_key(const uint8_t point[PSI_POINT_BYTES], id_hash *key);

/* A secret order: each of 0 … count - 1 once, all orders equally likely. */
err psi_shuffle(uint32_t *places, uint32_t count);

#endif
