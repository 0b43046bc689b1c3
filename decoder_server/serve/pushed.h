/* Pushed codes on their way to the assembler: those that find no room are parked, and their node is held; for the desk.
 */
#ifndef FEWBIT_DECODER_SERVER_SERVE_PUSHED_H
#define FEWBIT_DECODER_SERVER_SERVE_PUSHED_H

#include "decoder_server/serve/desk_inside.h"

/* Tells the nodes what has changed for their streams: after one has come, gone or ended. */
void pushed_tell_streams(desk *d);

/* A node's stream has ended. */
void pushed_end(desk *d, uint32_t portion, uint64_t now_ns);

/* Codes that fit and are the stream's next. */
void pushed_take(desk *d, uint32_t portion, const Fewbit__Codes *c, uint8_t model, uint64_t now_ns);

/* The same of a model that is gone: all its samples are answered. */
void pushed_take_none(desk *d, uint32_t portion, const Fewbit__Codes *c, uint64_t now_ns);

/* Goes on with what is parked; whether any of it found room, which may have made room for more. *next_ns: when to call
 * it at the latest. */
bool pushed_settle(desk *d, uint64_t now_ns, uint64_t *next_ns);

#endif
