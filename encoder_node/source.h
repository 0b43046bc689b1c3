/* Where the portions come from that a serving node pushes on its own: its test portion, or its standard input.
 *
 * Standard input is a stream of raw portions, [c, h, w] bytes each, one after another; sample n of the stream has id
 * n. A thread reads it, since a read from a pipe may wait for ever. */
#ifndef FEWBIT_ENCODER_NODE_SOURCE_H
#define FEWBIT_ENCODER_NODE_SOURCE_H

#include "base/err.h"
#include "data/portion.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum source_kind { SOURCE_NONE, SOURCE_TEST, SOURCE_STDIN } source_kind;

/* "none", "test", "stdin". */
err source_parse(const char *name, source_kind *kind);

typedef struct source source;

/* `data` is borrowed. `arrived` is called from the reading thread when portions can be taken again, or the stream
 * has ended. */
err source_new(source **s, source_kind kind, const portion *data, void (*arrived)(void *context), void *context);

/* Ends the reading: `arrived` is called no more. What is there can still be taken, until source_free. NULL is fine. */
void source_stop(source *s);
void source_free(source *s);

/* Begins to read: not before `arrived` may be called. */
err source_start(source *s);

/* The portions that are there, at most `most`: [*count, c, h, w], samples *first and on. Borrowed until
 * source_consumed. *count 0: none now. */
void source_look(source *s, uint32_t most, uint64_t *first, const uint8_t **portions, uint32_t *count);
void source_consumed(source *s);

/* Nothing is left and nothing will come. */
bool source_is_over(source *s);

#endif
