/* Results: what was classified, one JSON object a line.
 *
 *   {"id":17,"from":"stream","class":7,"label":"7","probability":0.99871,"bits":["0110","1010",null,"0001"],
 *    "degraded":true,"ms":1.234}
 *
 * Where bits come in stages, "rounds" says how many of them the answer took. "from" is "stream" (a node's own source)
 * or "http". "bits" has each node's code, first output first; null where it was missing. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_RESULTS_H
#define FEWBIT_DECODER_SERVER_SERVE_RESULTS_H

#include "data/class_names.h"
#include "decoder_server/serve/assembler.h"

typedef struct results results;
struct sse_producer; /* decoder_server/core/sse_producer.h */

typedef struct results_line {
    const assembler_sample *sample;
    const char *from;
    const uint8_t *bits; /* of each portion that are here */
    uint32_t stages;     /* that the answer took; 0: there is but one */
    uint32_t class;
    float probability;
    bool degraded;
    double ms; /* from the first portion, or the request, to the class */
} results_line;

/* `path`: a file to append to, whose half a last line is cut off, "-" for standard output, "none" for nothing. */
err results_open(results **r, const char *path, const class_names *classes, uint32_t portions);
void results_close(results *r);

/* Results go to a producer of server-sent events too, where somebody listens; borrowed. */
void results_set_sse(results *r, struct sse_producer *f);

void results_write(results *r, const results_line *one);

/* Hands what was written to the operating system; what that does not take is lost (base/line_file.h). */
void results_flush(results *r);

/* Whether results_flush may have to wait for whoever reads: of a pipe, a terminal. */
bool results_may_block(const results *r);

/* One that nothing can be written of is lost, too. */
void results_lose(results *r);

/* Results that are lost so far. */
uint64_t results_lost(const results *r);

#endif
