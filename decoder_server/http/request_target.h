/* The target of a request in its four forms, the host that it is for, and its path (RFC 9112, section 3; RFC 3986). Not
 * trusted. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_REQUEST_TARGET_H
#define FEWBIT_DECODER_SERVER_HTTP_REQUEST_TARGET_H

#include "decoder_server/http/span.h"

enum { REQUEST_PATH_MAX = 127 }; /* a longer one is no path of this server */

typedef struct request_target {
    span host; /* HOST[:PORT]; none but in absolute and in authority form */
    span path; /* as it came, without a query, "/" where it is empty; none in authority form; "*" in asterisk form */
} request_target;

/* False: it has none of the forms, or not one that goes with the method. */
bool request_target_read(span target, span method, request_target *t);

/* Whether this is HOST[:PORT] with a host of letters as RFC 3986 has them, or an address; nothing is one, too. */
bool request_host_is_good(span host);

/* The path that is meant: what need not be percent-encoded is not, and without dot segments. What must be stays as it
 * is. "" where it has more than REQUEST_PATH_MAX characters; false: a percent sign is not followed by two digits. */
bool request_path_read(span path, char to[REQUEST_PATH_MAX + 1]);

#endif
