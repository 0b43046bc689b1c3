/* Where the portions come from that a serving node streams on its own: its test portion, or its standard input.
 *
 * Standard input is a stream of raw portions, [c, h, w] bytes each, one after another. A thread reads it, since a read
 * from a pipe may wait for ever. */
#ifndef FEWBIT_ENCODER_NODE_SOURCE_H
#define FEWBIT_ENCODER_NODE_SOURCE_H

#include "data/portion.h"

typedef enum source_kind { SOURCE_NONE, SOURCE_TEST, SOURCE_STDIN } source_kind;

/* "none", "test", "stdin". */
err source_parse(const char *name, source_kind *kind);

/* Whether a source of that kind can be read at all: ERR_IO where standard input is closed, a folder, or for writing
 * only. */
err source_check(source_kind kind);

typedef struct source source;

/* `data` is borrowed. Reading begins: `arrived` is called from the reading thread when portions can be taken again, or
 * the stream has ended, maybe before this returns. */
err source_new(source **s, source_kind kind, const portion *data, void (*arrived)(void *context), void *context);

/* Ends the reading: `arrived` is called no more. What is there can still be taken, until source_free. NULL is fine. */
void source_stop(source *s);
void source_free(source *s);

/* The portions that are there, at most `most`: [*count, shape] as they are stored. Borrowed until source_consume.
 * *count 0: none now.
 */
void source_peek(source *s, uint32_t most, const uint8_t **portions, uint32_t *count);
void source_consume(source *s);

/* Nothing is left and nothing will come. */
bool source_is_over(source *s);

/* Once it is over: whether it ended as it should, else ERR_INPUT (inside a portion) or ERR_IO. */
err source_outcome(source *s);

/* Whether what is not taken now will be of another moment later: a pipe or a terminal, not a file. */
bool source_is_live(const source *s);

#endif
