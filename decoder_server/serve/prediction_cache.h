/* The prediction cache: a bounded cache of what the nets said of codewords they have seen.
 *
 * For codewords too long for a prediction table. A key is a codeword, packed into words, and which portions of it are
 * there; keys are compared word by word, so two codewords are never taken for one another. Memory is fixed: an open
 * addressed table in groups of eight places, in which a new key pushes out one that nobody asked for since the hand
 * last came by (second chance). Pages that were never written to cost nothing. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_PREDICTION_CACHE_H
#define FEWBIT_DECODER_SERVER_SERVE_PREDICTION_CACHE_H

#include "base/err.h"

typedef struct prediction_cache prediction_cache;

typedef struct prediction_cache_counters {
    uint64_t hits, misses, evictions;
    size_t used, capacity; /* keys */
    size_t bytes;
} prediction_cache_counters;

/* For keys of `words` 64-bit words and answers of `classes` floats, in at most `bytes`. ERR_INPUT where not even one
 * group fits. */
err prediction_cache_new(prediction_cache **s, uint32_t words, uint32_t classes, size_t bytes);
void prediction_cache_free(prediction_cache *s);

/* What was stored under a key: probabilities [classes], the cache's until the next prediction_cache_put. NULL: nothing.
 */
const float *prediction_cache_find(prediction_cache *s, const uint64_t *key, uint32_t *class);

/* Whether there is something under a key; nobody counts as having asked. */
bool prediction_cache_has(const prediction_cache *s, const uint64_t *key);

/* Stores an answer, over what the key had before. */
void prediction_cache_put(prediction_cache *s, const uint64_t *key, uint32_t class, const float *probabilities);

const prediction_cache_counters *prediction_cache_count(const prediction_cache *s);

#endif
