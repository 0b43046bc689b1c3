/* The body of a request to POST /v1/classify becomes its items: it says how the request asks, and about what. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_CLASSIFY_BODY_H
#define FEWBIT_DECODER_SERVER_HTTP_CLASSIFY_BODY_H

#include "decoder_server/http/metrics.h"

/* Whether the head fits a form; else it is answered. The body is read later. */
bool classify_body_accept(api_request *r);

/* The items of the whole body; `takes_images`: a whole sample is an image too. False: the request was answered; `m`
 * counts a sample whose portions cannot be read. */
bool classify_body_read(api_request *r, const portion_list *portions, bool takes_images, metrics *m);

#endif
