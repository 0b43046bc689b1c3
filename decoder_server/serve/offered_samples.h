/* Offered samples: ids of samples that nodes say may be asked for, and which of them all have in common.
 *
 * What nodes say is not trusted. Loop's thread only. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_OFFERED_SAMPLES_H
#define FEWBIT_DECODER_SERVER_SERVE_OFFERED_SAMPLES_H

#include "base/dynbuf.h"
#include "bits/codeword.h"
#include "wire/message.h"

typedef struct offered_samples {
    struct offered_list {
        uint32_t count;
        char **ids; /* sorted, each once; one piece of memory */
    } of[CODEWORD_PORTIONS_MAX];
} offered_samples;

/* What the node of a portion offers from here on. ERR_INPUT: more ids than MESSAGE_OFFERED_MAX, or one that is none;
 * ERR_MEMORY. It then offers nothing. */
err offered_samples_set(offered_samples *o, uint32_t portion, const Fewbit__Ready *r);
void offered_samples_forget(offered_samples *o, uint32_t portion);
void offered_samples_free(offered_samples *o);

/* {"samples": [...]}, those that all of the nodes that offer any have in common. */
void offered_samples_write(const offered_samples *o, dynbuf *to);

#endif
