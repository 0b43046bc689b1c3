/* The origin of a request: which hosts are served, and whether a page of another site has sent it. Pure. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_REQUEST_ORIGIN_H
#define FEWBIT_DECODER_SERVER_HTTP_REQUEST_ORIGIN_H

#include "base/err.h"
#include "decoder_server/http/request_head.h"

/* Checks a list of hosts, "HOST[:PORT],…", as --allowed-hosts has it. ERR_USAGE names the bad one. */
err request_origin_check_hosts(const char *list);

/* Whether a request's host is in such a list; an entry without a port covers all ports. */
bool request_origin_is_allowed_host(const char *list, span host);

/* Whether a page of another origin has sent this request: Sec-Fetch-Site says so or, without that field, Origin is not
 * the host asked. A request with neither field comes from no page. */
bool request_origin_is_foreign(const request_head *h);

#endif
