/* Picks: which samples a RefineRequest names, in as few bytes as they take.
 *
 * Rising ids behind the first one, as a map (a bit for every id passed) or as skips (a number for every id picked),
 * whichever is shorter. What a peer sends is checked: picks_take gives rising ids, at most PICKS_MAX, or fails. */
#ifndef FEWBIT_WIRE_PICKS_H
#define FEWBIT_WIRE_PICKS_H

#include "base/err.h"
#include "fewbit.pb-c.h"

#include <stddef.h>
#include <stdint.h>

enum { PICKS_MAX = 1000, PICKS_MAP_BYTES_MAX = 4096 };

/* What a RefineRequest borrows. */
typedef struct picks {
    uint8_t map[PICKS_MAP_BYTES_MAX];
    uint32_t skips[PICKS_MAX];
} picks;

/* How many of ids [count > 0], from the first on, one RefineRequest can name: up to PICKS_MAX, up to the first that
 * does not rise. */
size_t picks_fit(const uint64_t *ids, size_t count);

/* Names ids [count], which fit, in `ask`, which borrows from `p`. */
void picks_put(picks *p, const uint64_t *ids, size_t count, Fewbit__RefineRequest *ask);

/* The ids that a RefineRequest, untrusted, names: *count of them, at least one. */
err picks_take(const Fewbit__RefineRequest *ask, uint64_t ids[PICKS_MAX], size_t *count);

#endif
