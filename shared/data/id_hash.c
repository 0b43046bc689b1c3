#include "data/id_hash.h"

#include "base/byte_reader.h"
#include "base/sha256.h"

#include <stdlib.h>
#include <string.h>

/* Open addressing, at most half full: a slot holds a place, from 1; 0: it is free. */
struct id_table {
    const id_hash *hashes;
    uint32_t mask;
    uint32_t slots[];
};

enum { COUNT_MAX = 1 << 30 };

err id_hash_of(const uint8_t salt[ID_HASH_SALT], enum dataset_split split, const char *id, id_hash *to) {
    const uint8_t part = (uint8_t)split;
    uint8_t digest[SHA256_BYTES];
    err e = sha256_spans((file_span[]){{salt, ID_HASH_SALT}, {&part, 1}, {id, strlen(id)}}, 3, digest);
    if (!e) {
        memcpy(to->bytes, digest, ID_HASH_BYTES);
    }
    return e;
}

/* Where a hash is, or belongs. The table has free slots, so it ends. */
static uint32_t slot_of(const id_table *t, const id_hash *hash) {
    byte_reader bytes = byte_reader_over(hash->bytes, ID_HASH_BYTES);
    uint32_t at = byte_reader_u32_le(&bytes) & t->mask;
    while (t->slots[at] && memcmp(&t->hashes[t->slots[at] - 1], hash, sizeof *hash) != 0) {
        at = (at + 1) & t->mask;
    }
    return at;
}

err id_table_new(id_table **out, const id_hash *hashes, uint32_t count) {
    uint32_t slots = 2;
    while (slots < 2 * (uint64_t)count && slots < COUNT_MAX) {
        slots *= 2;
    }
    id_table *t = count < slots ? calloc(1, sizeof *t + slots * sizeof *t->slots) : NULL;
    if (!t) {
        return err_fail(ERR_MEMORY, "no memory to look up %u ids", count);
    }
    t->hashes = hashes;
    t->mask = slots - 1;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = slot_of(t, &hashes[i]);
        if (t->slots[at]) {
            err e = err_fail(ERR_INPUT, "ids number %u and %u are the same", t->slots[at] - 1, i);
            id_table_free(t);
            return e;
        }
        t->slots[at] = i + 1;
    }
    *out = t;
    return ERR_OK;
}

void id_table_free(id_table *t) {
    free(t);
}

uint32_t id_table_find(const id_table *t, const id_hash *hash) {
    uint32_t place = t->slots[slot_of(t, hash)];
    return place ? place - 1 : (uint32_t)ID_TABLE_NONE;
}
