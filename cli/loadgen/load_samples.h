/* Random samples, as the bodies of requests: raw where a request brings a whole sample, else a multipart form with a
 * part for each portion. Bytes are any, floats from -2 to 2. */
#ifndef FEWBIT_CLI_LOADGEN_LOAD_SAMPLES_H
#define FEWBIT_CLI_LOADGEN_LOAD_SAMPLES_H

#include "cli/loadgen/load_model.h"
#include "cli/portion_form.h"

typedef struct load_samples {
    size_t count, size;               /* of each body, in bytes */
    char *bytes;                      /* [count, size] */
    char type[PORTION_FORM_TYPE_MAX]; /* their content type */
} load_samples;

/* Up to `most` of them, fewer where they are large. ERR_REFUSED: one has more than a request may have. */
err load_samples_draw(load_samples *s, const load_model *m, size_t most);
void load_samples_free(load_samples *s);

/* The body of request number n. */
http_client_body load_samples_body(const load_samples *s, uint64_t n);

#endif
