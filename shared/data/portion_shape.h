/* The type and shape of one portion: what one owner has of a sample.
 *
 * [features] is a row of a table, [channels, length] a signal, [channels, height, width] a picture. PORTION_F32 is
 * little-endian IEEE 754 with finite values. */
#ifndef FEWBIT_DATA_PORTION_SHAPE_H
#define FEWBIT_DATA_PORTION_SHAPE_H

#include "base/err.h"

enum {
    PORTION_RANK_MAX = 3,
    PORTION_ELEMENTS_MAX = 1 << 20,
    PORTION_NAME_MAX = 31,
    PORTION_SHAPE_TEXT = 48,
};

typedef enum portion_type { PORTION_U8, PORTION_F32 } portion_type;

typedef struct portion_shape {
    portion_type type;
    uint32_t rank, dims[PORTION_RANK_MAX]; /* those from `rank` on are 0 */
} portion_shape;

/* ERR_INPUT: a rank that is not 1 to 3, a size of 0, more than PORTION_ELEMENTS_MAX elements. */
err portion_shape_check(const portion_shape *s);

/* The others take a shape that was checked. */
size_t portion_shape_elements(const portion_shape *s);
size_t portion_shape_bytes(const portion_shape *s);

/* How many means and deviations it is scaled by: each feature of rank 1 is a channel, else dims[0]. */
uint32_t portion_shape_channels(const portion_shape *s);

/* As nets see it, {channels, height, width}: {1, 1, features}, {channels, 1, length}. */
void portion_shape_image(const portion_shape *s, uint32_t image[3]);

bool portion_shape_equals(const portion_shape *a, const portion_shape *b);

/* "f32 [10]", "u8 [3, 16, 16]"; returns `text`. */
const char *portion_shape_text(const portion_shape *s, char text[PORTION_SHAPE_TEXT]);

/* "u8", "f32". */
const char *portion_type_name(portion_type type);
err portion_type_parse(const char *name, portion_type *type);

/* Whether `name` may be a portion's: 1 to PORTION_NAME_MAX of A-Z, a-z, 0-9, '.', '_' and '-', first a letter or digit.
 */
bool portion_name_is_valid(const char *name);

#endif
