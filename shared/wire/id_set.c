#include "wire/id_set.h"

#include <string.h>

size_t id_set_fit(const uint64_t *ids, size_t count) {
    size_t fit = 1;
    while (fit < count && fit < ID_SET_MAX && ids[fit] > ids[fit - 1] && ids[fit] - ids[fit - 1] <= UINT32_MAX) {
        fit++;
    }
    return fit;
}

/* Of a protobuf varint. */
static size_t varint_bytes(uint32_t value) {
    size_t bytes = 1;
    while (value >= 128) {
        value /= 128;
        bytes++;
    }
    return bytes;
}

void id_set_put(id_set *p, const uint64_t *ids, size_t count, Fewbit__RefineRequest *ask) {
    ask->first = ids[0];
    size_t skip_bytes = 0;
    for (size_t i = 1; i < count; i++) {
        p->skips[i - 1] = (uint32_t)(ids[i] - ids[i - 1] - 1);
        skip_bytes += varint_bytes(p->skips[i - 1]);
    }
    uint64_t map_bytes = (ids[count - 1] - ids[0] + 7) / 8;
    if (map_bytes > ID_SET_MAP_BYTES_MAX || map_bytes >= skip_bytes) {
        ask->n_skips = count - 1;
        ask->skips = p->skips;
        return;
    }
    memset(p->map, 0, map_bytes);
    for (size_t i = 1; i < count; i++) {
        uint64_t bit = ids[i] - ids[0] - 1;
        p->map[bit / 8] |= (uint8_t)(1u << bit % 8);
    }
    ask->map = (ProtobufCBinaryData){map_bytes, p->map};
}

static err take_skips(const Fewbit__RefineRequest *ask, uint64_t ids[ID_SET_MAX], size_t *count) {
    for (size_t i = 0; i < ask->n_skips; i++) {
        uint64_t step = (uint64_t)ask->skips[i] + 1, before = ids[*count - 1];
        if (*count == ID_SET_MAX || before > UINT64_MAX - step) {
            return err_fail(ERR_INPUT, "a RefineRequest names more samples than %d, or beyond the last id", ID_SET_MAX);
        }
        ids[(*count)++] = before + step;
    }
    return ERR_OK;
}

static err take_map(const Fewbit__RefineRequest *ask, uint64_t ids[ID_SET_MAX], size_t *count) {
    size_t bits = ask->map.len * 8;
    if (ask->map.len > ID_SET_MAP_BYTES_MAX || ask->first > UINT64_MAX - 1 - bits ||
        (bits > 0 && ask->map.data[ask->map.len - 1] == 0)) {
        return err_fail(ERR_INPUT, "a RefineRequest's map is too long, or ends in nothing");
    }
    for (size_t bit = 0; bit < bits; bit++) {
        if (!(ask->map.data[bit / 8] >> bit % 8 & 1)) {
            continue;
        }
        if (*count == ID_SET_MAX) {
            return err_fail(ERR_INPUT, "a RefineRequest names more samples than %d", ID_SET_MAX);
        }
        ids[(*count)++] = ask->first + 1 + bit;
    }
    return ERR_OK;
}

err id_set_take(const Fewbit__RefineRequest *ask, uint64_t ids[ID_SET_MAX], size_t *count) {
    *count = 1;
    ids[0] = ask->first;
    if (ask->n_skips > 0 && ask->map.len > 0) {
        return err_fail(ERR_INPUT, "a RefineRequest names its samples twice");
    }
    return ask->n_skips > 0 ? take_skips(ask, ids, count) : take_map(ask, ids, count);
}
