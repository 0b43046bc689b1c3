/* Shuffling: the order in which an epoch visits its samples. */
#ifndef FEWBIT_DATA_SHUFFLE_H
#define FEWBIT_DATA_SHUFFLE_H

#include <stddef.h>
#include <stdint.h>

/* Fills ids [n] with a permutation of 0..n-1 that depends on (seed, epoch) alone. */
void shuffle_epoch(uint64_t seed, uint32_t epoch, uint32_t *ids, size_t n);

#endif
