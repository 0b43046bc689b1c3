#include "decoder_server/serve/prediction_cache.h"

#include <stdlib.h>
#include <string.h>

enum { GROUP = 8 };

/* A place holds its key, then its probabilities, then its class. */
struct prediction_cache {
    uint32_t words, classes;
    size_t stride;       /* of a place, bytes */
    uint64_t group_mask; /* groups - 1 */
    uint32_t *tags;      /* [places]: from the key's hash, 0 where there is none */
    uint8_t *wanted;     /* [places]: asked for since the hand last came by */
    uint8_t *hands;      /* [groups] */
    uint8_t *places;
    prediction_cache_counters counters;
};

static size_t place_bytes(uint32_t words, uint32_t classes) {
    size_t bytes = words * sizeof(uint64_t) + classes * sizeof(float) + sizeof(uint32_t);
    return (bytes + 7) / 8 * 8;
}

static size_t group_bytes(uint32_t words, uint32_t classes) {
    return GROUP * (place_bytes(words, classes) + sizeof(uint32_t) + 1) + 1;
}

err prediction_cache_new(prediction_cache **out, uint32_t words, uint32_t classes, size_t bytes) {
    size_t one = group_bytes(words, classes), groups = 1;
    if (bytes < one) {
        return err_fail(ERR_INPUT, "a cache of %zu bytes is too small: eight codewords take %zu", bytes, one);
    }
    while (groups * 2 * one <= bytes) {
        groups *= 2;
    }
    prediction_cache *s = calloc(1, sizeof *s);
    if (!s) {
        return err_fail(ERR_MEMORY, "no memory for a cache");
    }
    s->words = words;
    s->classes = classes;
    s->stride = place_bytes(words, classes);
    s->group_mask = groups - 1;
    s->counters.capacity = groups * GROUP;
    s->counters.bytes = groups * one;
    s->tags = calloc(groups * GROUP, sizeof *s->tags);
    s->wanted = calloc(groups * GROUP, 1);
    s->hands = calloc(groups, 1);
    s->places = calloc(groups * GROUP, s->stride);
    if (!s->tags || !s->wanted || !s->hands || !s->places) {
        prediction_cache_free(s);
        return err_fail(ERR_MEMORY, "no memory for a cache of %zu codewords", groups * GROUP);
    }
    *out = s;
    return ERR_OK;
}

void prediction_cache_free(prediction_cache *s) {
    if (s) {
        free(s->tags);
        free(s->wanted);
        free(s->hands);
        free(s->places);
        free(s);
    }
}

/* Every bit of the key in every bit of the hash (the finaliser of MurmurHash3, a word at a time). */
static uint64_t hash_of(const prediction_cache *s, const uint64_t *key) {
    uint64_t h = 0;
    for (uint32_t i = 0; i < s->words; i++) {
        h = (h ^ key[i]) + 0x9E3779B97F4A7C15u;
        h = (h ^ h >> 33) * 0xFF51AFD7ED558CCDu;
        h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53u;
        h ^= h >> 33;
    }
    return h;
}

static uint32_t tag_of(uint64_t hash) {
    return (uint32_t)(hash >> 32) | 1;
}

static size_t group_of(const prediction_cache *s, uint64_t hash) {
    return (size_t)(hash & s->group_mask) * GROUP;
}

static uint64_t *key_at(const prediction_cache *s, size_t place) {
    return (uint64_t *)(void *)(s->places + place * s->stride);
}

static float *probabilities_at(const prediction_cache *s, size_t place) {
    return (float *)(void *)(s->places + place * s->stride + s->words * sizeof(uint64_t));
}

static uint32_t *class_at(const prediction_cache *s, size_t place) {
    return (uint32_t *)(void *)(probabilities_at(s, place) + s->classes);
}

/* The place that holds the key; SIZE_MAX: none. */
static size_t find(const prediction_cache *s, const uint64_t *key, uint64_t hash) {
    uint32_t tag = tag_of(hash);
    size_t first = group_of(s, hash);
    for (size_t at = first; at < first + GROUP; at++) {
        if (s->tags[at] == tag && memcmp(key_at(s, at), key, s->words * sizeof *key) == 0) {
            return at;
        }
    }
    return SIZE_MAX;
}

const float *prediction_cache_find(prediction_cache *s, const uint64_t *key, uint32_t *class) {
    size_t at = find(s, key, hash_of(s, key));
    if (at == SIZE_MAX) {
        s->counters.misses++;
        return NULL;
    }
    s->counters.hits++;
    s->wanted[at] = true;
    *class = *class_at(s, at);
    return probabilities_at(s, at);
}

bool prediction_cache_has(const prediction_cache *s, const uint64_t *key) {
    return find(s, key, hash_of(s, key)) != SIZE_MAX;
}

/* A free place of the group, or the next that nobody wanted lately. */
static size_t make_room(prediction_cache *s, size_t first) {
    for (size_t at = first; at < first + GROUP; at++) {
        if (s->tags[at] == 0) {
            s->counters.used++;
            return at;
        }
    }
    uint8_t *hand = &s->hands[first / GROUP];
    while (s->wanted[first + *hand]) {
        s->wanted[first + *hand] = false;
        *hand = (uint8_t)((*hand + 1) % GROUP);
    }
    size_t at = first + *hand;
    *hand = (uint8_t)((*hand + 1) % GROUP);
    s->counters.evictions++;
    return at;
}

void prediction_cache_put(prediction_cache *s, const uint64_t *key, uint32_t class, const float *probabilities) {
    uint64_t hash = hash_of(s, key);
    size_t at = find(s, key, hash);
    at = at == SIZE_MAX ? make_room(s, group_of(s, hash)) : at;
    s->tags[at] = tag_of(hash);
    s->wanted[at] = false;
    memcpy(key_at(s, at), key, s->words * sizeof *key);
    memcpy(probabilities_at(s, at), probabilities, s->classes * sizeof(float));
    *class_at(s, at) = class;
}

const prediction_cache_counters *prediction_cache_count(const prediction_cache *s) {
    return &s->counters;
}
