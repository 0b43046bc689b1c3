/* Refinement: the stages in which an encoder's bits are sent.
 *
 * A code's bits come in ordered stages; what has been sent of it is always its first stages, so its first bits. The
 * decoder takes a bit that has not been sent as BINARIZE_UNKNOWN. With one stage a code is sent whole. */
#ifndef FEWBIT_BITS_REFINEMENT_H
#define FEWBIT_BITS_REFINEMENT_H

#include <stddef.h>
#include <stdint.h>

enum { REFINEMENT_STAGES_MAX = 8 };

typedef struct refinement {
    uint32_t count;                       /* from 1 */
    uint32_t upto[REFINEMENT_STAGES_MAX]; /* bits of stages 0 to r; the last one is the whole code */
} refinement;

/* Bits of one stage. */
static inline uint32_t refinement_width(const refinement *r, uint32_t stage) {
    return r->upto[stage] - (stage > 0 ? r->upto[stage - 1] : 0);
}

/* The bits of a code that one stage sends, from bit 0. */
static inline uint64_t refinement_bits_of(const refinement *r, uint32_t stage, uint64_t code) {
    uint32_t from = stage > 0 ? r->upto[stage - 1] : 0, width = r->upto[stage] - from;
    return code >> from & (UINT64_MAX >> (64 - width));
}

/* The bits of a code that the first stages, up to this one, send. */
static inline uint64_t refinement_prefix(const refinement *r, uint32_t stage, uint64_t code) {
    return code & (UINT64_MAX >> (64 - r->upto[stage]));
}

#endif
