/* Id sets: which samples a RefineRequest names, in as few bytes as they take.
 *
 * Rising ids after the first one, as a map (a bit for every id passed) or as skips (a number for every id picked),
 * whichever is shorter. What a peer sends is checked: id_set_take gives rising ids, at most ID_SET_MAX, or fails. */
#ifndef FEWBIT_WIRE_ID_SET_H
#define FEWBIT_WIRE_ID_SET_H

#include "base/err.h"
#include "fewbit.pb-c.h"

enum { ID_SET_MAX = 1000, ID_SET_MAP_BYTES_MAX = 4096 };

/* What a RefineRequest borrows. */
typedef struct id_set {
    uint8_t map[ID_SET_MAP_BYTES_MAX];
    uint32_t skips[ID_SET_MAX];
} id_set;

/* How many of ids [count > 0], from the first on, one RefineRequest can name: up to ID_SET_MAX, up to the first that
 * does not rise. */
size_t id_set_fit(const uint64_t *ids, size_t count);

/* Names ids [count], which fit, in `ask`, which borrows from `p`. */
void id_set_put(id_set *p, const uint64_t *ids, size_t count, Fewbit__RefineRequest *ask);

/* The ids that a RefineRequest, untrusted, names: *count of them, at least one. */
err id_set_take(const Fewbit__RefineRequest *ask, uint64_t ids[ID_SET_MAX], size_t *count);

#endif
