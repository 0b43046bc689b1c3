/* A memory plan, made before a step: pieces that are not in use at the same time may share their place. */
#ifndef FEWBIT_NN_MEMORY_PLAN_H
#define FEWBIT_NN_MEMORY_PLAN_H

#include <stddef.h>

/* In use from moment `from` to moment `to`, both included. */
typedef struct memory_plan_piece {
    size_t bytes;
    size_t from, to;
    size_t offset; /* set by memory_plan; a multiple of the arena's alignment */
} memory_plan_piece;

enum { MEMORY_PLAN_PIECES_MAX = 512 };

/* Lays out `count` pieces, at most MEMORY_PLAN_PIECES_MAX; those of 0 bytes take no room. Returns how many bytes all
 * take. */
size_t memory_plan(memory_plan_piece *pieces, size_t count);

#endif
