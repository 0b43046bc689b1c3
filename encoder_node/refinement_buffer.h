/* Refinement buffer: codes of which only the first stages were sent, for as long as the server may ask for more of
 * them.
 *
 * A bounded table; a newer sample pushes out the one that was there, REFINEMENT_BUFFER_STREAMED ids
 * (REFINEMENT_BUFFER_ON_DEMAND, of requests) before it. A server that asks for a code that is gone gets that as the
 * answer: the sample is then answered without. */
#ifndef FEWBIT_ENCODER_NODE_REFINEMENT_BUFFER_H
#define FEWBIT_ENCODER_NODE_REFINEMENT_BUFFER_H

#include "bits/refinement.h"
#include "wire/message.h"

enum { REFINEMENT_BUFFER_STREAMED = MESSAGE_UNACKED_MAX, REFINEMENT_BUFFER_ON_DEMAND = 1 << 13 };

typedef struct refinement_buffer refinement_buffer;

err refinement_buffer_new(refinement_buffer **b);
void refinement_buffer_free(refinement_buffer *b);

/* Forgets everything. */
void refinement_buffer_clear(refinement_buffer *b);

/* Keeps a sample's code, of which the stages below `next` were sent. */
void refinement_buffer_put(refinement_buffer *b, bool on_demand, uint64_t id, uint32_t model, uint32_t next,
                           uint64_t code);

/* Answers a RefineRequest, untrusted, into *reply, which borrows from the table until its next call. ERR_INPUT where it
 * is malformed, or asks for a stage that does not come next. */
err refinement_buffer_answer(refinement_buffer *b, const Fewbit__RefineRequest *ask, const refinement *r,
                             Fewbit__Refinement *reply);

#endif
