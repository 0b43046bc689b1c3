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

/* False: it has none of the forms, or one that the method does not allow. */
bool request_target_read(span target, span method, request_target *t);

/* Whether this is HOST[:PORT] with a name or an address as in RFC 3986; the empty span is one, too. */
bool request_host_is_good(span host);

/* The normalised path: unreserved characters are decoded, dot segments removed. "" if it has more than REQUEST_PATH_MAX
 * characters. False: a percent sign is not followed by two digits. */
bool request_path_read(span path, char to[REQUEST_PATH_MAX + 1]);

#endif
