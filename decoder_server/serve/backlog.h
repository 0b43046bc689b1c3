/* Streamed codes on their way to the assembler: those that find no room are parked, and their node is held; for the
 * engine.
 */
#ifndef FEWBIT_DECODER_SERVER_SERVE_BACKLOG_H
#define FEWBIT_DECODER_SERVER_SERVE_BACKLOG_H

#include "decoder_server/serve/engine_inside.h"

/* Tells the nodes what has changed for their streams: after one has come, gone or ended. */
void backlog_tell_streams(engine *d);

/* A node's stream has ended. */
void backlog_end(engine *d, uint32_t portion, uint64_t now_ns);

/* Codes that fit and are the stream's next. */
void backlog_take(engine *d, uint32_t portion, const Fewbit__Codes *c, uint8_t model, uint64_t now_ns);

/* The same of a model that is gone: all its samples are answered. */
void backlog_take_none(engine *d, uint32_t portion, const Fewbit__Codes *c, uint64_t now_ns);

/* Goes on with what is parked; whether any of it found room, which may have made room for more. *next_ns: when to call
 * it at the latest. */
bool backlog_poll(engine *d, uint64_t now_ns, uint64_t *next_ns);

#endif
