/* Binarisation: the one rule by which a soft output becomes a bit.
 *
 * Training (the straight-through layer), the quantization loss and the codes that are sent all use this. A
 * soft output of exactly 0.5 is a 0, as in torch.round (half to even). */
#ifndef FEWBIT_BITS_BINARIZE_H
#define FEWBIT_BITS_BINARIZE_H

/* What stands for a bit that is not there: halfway between 0 and 1. */
#define BINARIZE_UNKNOWN 0.5f

static inline unsigned binarize_bit(float soft) {
    return soft > 0.5f;
}

static inline float binarize(float soft) {
    return soft > 0.5f ? 1.0f : 0.0f;
}

#endif
