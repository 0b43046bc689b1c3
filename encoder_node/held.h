/* Held: codes of which only the first stages were sent, for as long as the server may ask for more of them.
 *
 * A bounded table; a newer sample pushes out the one that was there, HELD_PUSHED ids (HELD_LIVE, of requests) before
 * it. A server that asks for a code that is gone is told so: the sample is then answered without. */
#ifndef FEWBIT_ENCODER_NODE_HELD_H
#define FEWBIT_ENCODER_NODE_HELD_H

#include "base/err.h"
#include "bits/refinement.h"
#include "wire/message.h"

#include <stdbool.h>
#include <stdint.h>

enum { HELD_PUSHED = MESSAGE_UNACKED_MAX, HELD_LIVE = 1 << 13 };

typedef struct held held;

err held_new(held **h);
void held_free(held *h);

/* Forgets everything. */
void held_clear(held *h);

/* Keeps a sample's code, of which the stages below `next` were sent. */
void held_put(held *h, bool live, uint64_t id, uint32_t model, uint32_t next, uint64_t code);

/* Answers a RefineRequest, untrusted, into *reply, which borrows from the table until its next call. ERR_INPUT where it
 * is malformed, or asks for a stage that does not come next. */
err held_answer(held *h, const Fewbit__RefineRequest *ask, const refinement *r, Fewbit__Refinement *reply);

#endif
