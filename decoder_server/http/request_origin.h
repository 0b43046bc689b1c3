/* Whose pages may ask: browsers send requests of any site's pages, and say so. Pure. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_REQUEST_ORIGIN_H
#define FEWBIT_DECODER_SERVER_HTTP_REQUEST_ORIGIN_H

#include "base/err.h"
#include "decoder_server/http/request_head.h"

/* A list of hosts, "HOST[:PORT],…", as an option brings it: ERR_USAGE says which is none. */
err request_origin_check_hosts(const char *list);

/* Whether a request's host is in such a list; one without a port stands for all ports. */
bool request_origin_is_allowed_host(const char *list, span host);

/* Whether a page of another origin has sent this request: Sec-Fetch-Site says so or, where a browser does not send
 * that, Origin is not the host that was asked. A request that says nothing is no page's. */
bool request_origin_is_foreign(const request_head *h);

#endif
