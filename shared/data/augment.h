/* Augmentation: small random distortions of training samples, by each node on its own portion alone.
 *
 * Every portion of a sample is distorted alike, for all nodes draw the same numbers: from (seed, step, row of the
 * batch), as every random number here. A node has no pixels but its own, so what would come in over the edge of its
 * portion is what lies at that edge, repeated; a mirrored image would need the portion on the other side, so it is for
 * portions as wide as the sample. Sensors at places of their own can do as much, but only if they know where in the
 * common picture they look. */
#ifndef FEWBIT_DATA_AUGMENT_H
#define FEWBIT_DATA_AUGMENT_H

#include "data/partition.h"

/* Each is drawn evenly from plus and minus its value; all zero: nothing is distorted. */
typedef struct augmentation {
    float shift;    /* pixels, each way */
    float rotation; /* degrees */
    float scale;    /* share: 0.1 is from 0.9 to 1.1 */
    float shear;    /* columns a row */
    bool flip;      /* left and right, in half of the cases */
} augmentation;

bool augment_is_any(const augmentation *a);

/* ERR_INPUT where portions partitioned so cannot be distorted so. */
err augment_check(const augmentation *a, const partition *s);

/* Where a pixel comes from: x = xx column + xy row + x0, y = yx column + yy row + y0, in pixels of the sample. */
typedef struct augment_map {
    float xx, xy, x0, yx, yy, y0;
} augment_map;

augment_map augment_draw(const augmentation *a, const partition *s, uint64_t seed, uint32_t step, uint32_t row);

/* Portion `index`, from and to [partition_portion_elements]; bilinear. */
void augment_portion(const partition *s, uint32_t index, const augment_map *m, const uint8_t *from, uint8_t *to);

#endif
