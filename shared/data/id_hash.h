/* Hashes of ids, by which two sides find the samples that both have, whatever their order.
 *
 * A hash is SHA-256(salt || split, one byte || id), its first 16 bytes. The salt is drawn anew for every alignment, so
 * that hashes of two of them cannot be compared; it is no secret of either side (docs/security.md). */
#ifndef FEWBIT_DATA_ID_HASH_H
#define FEWBIT_DATA_ID_HASH_H

#include "data/dataset.h"

enum { ID_HASH_BYTES = 16, ID_HASH_SALT = 16 };

typedef struct id_hash {
    uint8_t bytes[ID_HASH_BYTES];
} id_hash;

err id_hash_of(const uint8_t salt[ID_HASH_SALT], enum dataset_split split, const char *id, id_hash *to);

/* One side's hashes, to be looked up. */
typedef struct id_table id_table;

enum { ID_TABLE_NONE = UINT32_MAX };

/* `hashes` [count] are borrowed; count < 2^30. ERR_INPUT where two are the same. */
err id_table_new(id_table **t, const id_hash *hashes, uint32_t count);
void id_table_free(id_table *t);

/* The place of a hash, any 16 bytes, or ID_TABLE_NONE. */
uint32_t id_table_find(const id_table *t, const id_hash *hash);

#endif
