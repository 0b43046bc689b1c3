/* More bits only when unsure: which samples each node was asked more of, in the order of the asking; for the engine. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_REFINE_H
#define FEWBIT_DECODER_SERVER_SERVE_REFINE_H

#include "decoder_server/serve/engine_inside.h"

/* Whether a sample that is due is to wait for its next stage; if so it waits, and refine_send will ask. Else *is_cut
 * says whether more would have been asked had there been nodes, room and time for it. */
bool refine_holds(engine *d, size_t due, float probability, uint64_t now_ns, bool *is_cut);

/* Asks the nodes for the next stage of the `count` samples that are held, by their places in `due`. */
void refine_send(engine *d, const uint32_t *held, size_t count);

/* A node's answer. */
void refine_take(engine *d, uint32_t portion, const Fewbit__Refinement *reply, uint64_t now_ns);

/* A node is gone: nothing that was asked of it will come. */
void refine_left(engine *d, uint32_t portion, uint64_t now_ns);

/* Tells the nodes how many of their streamed samples are answered for good, once it is worth a frame or a second has
 * passed since the last. When there will be something to tell, ns; UINT64_MAX: not before more is answered. */
uint64_t refine_poll(engine *d, uint64_t now_ns);

#endif
