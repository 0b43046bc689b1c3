#include "encoder_node/offered_ids.h"

#include <stdio.h>
#include <string.h>

/* FNV-1a of 64 bits, by Fowler, Noll and Vo. */
static uint64_t hash_of(const char *id) {
    uint64_t hash = 0xcbf29ce484222325;
    for (; *id; id++) {
        hash = (hash ^ (uint8_t)*id) * 0x100000001b3;
    }
    return hash;
}

/* The places of the smallest hashes so far, rising. */
typedef struct smallest {
    size_t count;
    uint64_t hashes[MESSAGE_OFFERED_MAX];
    uint32_t places[MESSAGE_OFFERED_MAX];
} smallest;

static void keep(smallest *s, uint64_t hash, uint32_t place) {
    if (s->count == MESSAGE_OFFERED_MAX && hash >= s->hashes[s->count - 1]) {
        return;
    }
    size_t at = s->count < MESSAGE_OFFERED_MAX ? s->count++ : s->count - 1;
    for (; at > 0 && s->hashes[at - 1] > hash; at--) {
        s->hashes[at] = s->hashes[at - 1];
        s->places[at] = s->places[at - 1];
    }
    s->hashes[at] = hash;
    s->places[at] = place;
}

void offered_ids_choose(offered_ids *o, const portion *data, bool of_listed) {
    const portion_info *info = portion_get_info(data);
    smallest s = {0};
    o->count = 0;
    for (uint32_t i = 0; (of_listed || !info->has_ids) && i < info->samples[DATASET_TEST]; i++) {
        keep(&s, hash_of(portion_id(data, DATASET_TEST, i)), i);
    }
    for (size_t i = 0; i < s.count; i++) {
        snprintf(o->text[i], sizeof o->text[i], "%s", portion_id(data, DATASET_TEST, s.places[i]));
        o->ids[i] = o->text[i];
    }
    o->count = s.count;
}
