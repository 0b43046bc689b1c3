/* The body of a multipart/form-data request as its parts (RFC 2046, 7578). The input is the whole body; it is not
 * trusted.
 *
 * Line ends are CRLF. A delimiter is a line of two dashes and the boundary, with optional blanks after it; anything
 * else that contains the boundary is content. What comes before the first and after the last delimiter is ignored. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_MULTIPART_H
#define FEWBIT_DECODER_SERVER_HTTP_MULTIPART_H

#include "base/err.h"
#include "decoder_server/http/span.h"

enum { MULTIPART_BOUNDARY_MAX = 70 };

typedef struct multipart_part {
    span type;           /* its Content-Type; none where it has none */
    span name;           /* that its Content-Disposition gives it; none where it has none */
    size_t from, length; /* its content, in the body */
} multipart_part;

/* The boundary that a Content-Type names, with or without quotes. ERR_INPUT: none, several, or one that is not 1 to 70
 * of RFC 2046's characters. */
err multipart_boundary(span type, char boundary[MULTIPART_BOUNDARY_MAX + 1]);

/* The parts in their order, `most` at most. ERR_FULL: there are more. ERR_INPUT: there are none, or the body is
 * damaged. Their types and names lie in the body. */
err multipart_read(const uint8_t *body, size_t length, const char *boundary, multipart_part *parts, uint32_t most,
                   uint32_t *count);

#endif
