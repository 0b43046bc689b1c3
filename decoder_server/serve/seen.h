/* Seen: a bounded cache of what the nets said of codewords they have seen.
 *
 * For codewords too long for a table of answers. A key is a codeword, packed into words, and which portions of it are
 * there; keys are compared word by word, so two codewords are never taken for one another. Memory is fixed: an open
 * addressed table in groups of eight places, in which a new key pushes out one that nobody asked for since the hand
 * last came by (second chance). Pages that were never written to cost nothing. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_SEEN_H
#define FEWBIT_DECODER_SERVER_SERVE_SEEN_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct seen seen;

typedef struct seen_counters {
    uint64_t hits, misses, evictions;
    size_t used, capacity; /* keys */
    size_t bytes;
} seen_counters;

/* For keys of `words` 64-bit words and answers of `classes` floats, in at most `bytes`. ERR_INPUT where not even one
 * group fits. */
err seen_new(seen **s, uint32_t words, uint32_t classes, size_t bytes);
void seen_free(seen *s);

/* What was stored under a key: probabilities [classes], the cache's until the next seen_put. NULL: nothing. */
const float *seen_find(seen *s, const uint64_t *key, uint32_t *class);

/* Stores an answer, over what the key had before. */
void seen_put(seen *s, const uint64_t *key, uint32_t class, const float *probabilities);

const seen_counters *seen_count(const seen *s);

#endif
