/* Request input: the values that a server's Request, which is not trusted, asks a node to encode: as they came, of a
 * row of the node's own table, or of a sample that the node has. */
#ifndef FEWBIT_ENCODER_NODE_REQUEST_INPUT_H
#define FEWBIT_ENCODER_NODE_REQUEST_INPUT_H

#include "data/portion.h"
#include "wire/message.h"

typedef struct request_input request_input;

/* `data` is borrowed. */
err request_input_new(request_input **in, const portion *data);
void request_input_free(request_input *in);

/* The values, [shape] as the data has them; they are the request's, the data's, or there until the next call. NULL:
 * there are none, for *problem, with err_text() for people. */
const void *request_input_take(request_input *in, const Fewbit__Request *r, Fewbit__RequestProblem *problem);

#endif
