/* Lossless compression of one encoder's codes, frame by frame: an adaptive model and a range coder.
 *
 * Every bit is coded with the probability that it had so far after the same bits before it in its code (range_coder.h):
 * the model is a tree of all codes where they have up to CODE_COMPRESSOR_TREE_BITS, so it comes down to the entropy of
 * whole codes; beyond, a bit depends on its place and the CODE_COMPRESSOR_ORDER bits before it. Every probability
 * starts at one half: what better starts would save is less than it costs to send them.
 *
 * What both ends have learned is carried from frame to frame, since a frame of few codes could not pay for learning it
 * anew. So frames are numbered: 1 starts afresh, and any other must be the next. An encoder starts afresh with a link
 * and with each model. A frame's check is the CRC-32 of all it says, coded and decoded: a byte that changed on its way,
 * a frame that is missing or came twice, or an end that has learned something else gives an error, after which the
 * stream is over until a frame that starts afresh. */
#ifndef FEWBIT_BITS_CODE_COMPRESSOR_H
#define FEWBIT_BITS_CODE_COMPRESSOR_H

#include "base/err.h"

enum {
    CODE_COMPRESSOR_ROWS_MAX = 8192, /* codes in a frame, at most */
    CODE_COMPRESSOR_TREE_BITS = 12,
    CODE_COMPRESSOR_ORDER = 8,
};

typedef struct code_compressor code_compressor; /* one end */

typedef struct code_compressor_frame {
    uint32_t model; /* whose codes they are */
    uint64_t first; /* id of the first sample */
    uint32_t rows;
    uint32_t sequence;
    uint32_t check;
    const uint8_t *compressed;
    size_t length;
} code_compressor_frame;

/* For codes of `bits` (1 to PACK_CODE_BITS_MAX), `max_rows` (up to CODE_COMPRESSOR_ROWS_MAX) in a frame. Allocates all
 * it will ever need. */
err code_compressor_new(code_compressor **s, uint32_t bits, uint32_t max_rows);
void code_compressor_free(code_compressor *s);

/* The link is a new one. */
void code_compressor_reset(code_compressor *s);

/* Codes packed [rows, bits] of f->model, f->first and f->rows (1 to max_rows), and fills in the rest of *f.
 * f->compressed lies in the stream until its next call. */
void code_compressor_encode(code_compressor *s, const uint8_t *packed, code_compressor_frame *f);

/* *packed is [rows, bits], with clear bits at its end; it lies in the stream until the next call. */
err code_compressor_decode(code_compressor *s, const code_compressor_frame *f, const uint8_t **packed);

#endif
