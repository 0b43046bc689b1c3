#include "decoder_server/core/question.h"

uint64_t question_portions(const question *q, uint32_t portions) {
    uint64_t mask = 0;
    for (uint32_t k = 0; k < portions; k++) {
        mask |= (uint64_t)(q->sample || q->portions[k].length > 0) << k;
    }
    return mask;
}

/* Packed: the id's length with its zero, or 0, and the id; without one a head for each portion, and their bytes. */
typedef struct packed_head {
    uint32_t length, format;
} packed_head;

static void pack_portions(dynbuf *to, const question *q, uint32_t portions) {
    for (uint32_t k = 0; k < portions; k++) {
        packed_head head = {(uint32_t)q->portions[k].length, (uint32_t)q->portions[k].format};
        dynbuf_add(to, &head, sizeof head);
    }
    for (uint32_t k = 0; k < portions; k++) {
        if (q->portions[k].length > 0) {
            dynbuf_add(to, q->portions[k].bytes, q->portions[k].length);
        }
    }
}

void question_pack(dynbuf *to, const question *q, uint32_t portions) {
    uint32_t length = q->sample ? (uint32_t)strlen(q->sample) + 1 : 0;
    dynbuf_add(to, &length, sizeof length);
    if (q->sample) {
        dynbuf_add(to, q->sample, length);
    } else {
        pack_portions(to, q, portions);
    }
}

const uint8_t *question_unpack(const uint8_t *bytes, uint32_t portions, question *q,
                               question_portion taken[PARTITION_PORTIONS_MAX]) {
    uint32_t length;
    memcpy(&length, bytes, sizeof length);
    bytes += sizeof length;
    *q = (question){length > 0 ? (const char *)bytes : NULL, taken};
    if (length > 0) {
        return bytes + length;
    }
    const uint8_t *at = bytes + portions * sizeof(packed_head);
    for (uint32_t k = 0; k < portions; k++) {
        packed_head head;
        memcpy(&head, bytes + k * sizeof head, sizeof head);
        taken[k] = (question_portion){at, head.length, (Fewbit__PortionFormat)head.format};
        at += head.length;
    }
    return at;
}
