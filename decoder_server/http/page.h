/* The live page: page/index.html, compiled into the program.
 *
 * The page holds no secrets, so it needs no token; what it asks for does. It may run its own script and style only, as
 * the hashes in its Content-Security-Policy say, and asks nobody but the server it came from. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_PAGE_H
#define FEWBIT_DECODER_SERVER_HTTP_PAGE_H

#include "base/err.h"

#include <microhttpd.h>

enum { PAGE_TAG_MAX = 72, PAGE_POLICY_MAX = 512 };

typedef struct page {
    char tag[PAGE_TAG_MAX];       /* the ETag with its quotes */
    char policy[PAGE_POLICY_MAX]; /* Content-Security-Policy */
} page;

/* Works out tag and policy of the page that was compiled in. */
err page_init(page *p);

/* The answer to a request for it; NULL: no memory. `offered` is the request's If-None-Match, NULL where it has none;
 * *status is 200, or 304 without a body where the client has this page already. */
struct MHD_Response *page_answer(const page *p, const char *offered, unsigned *status);

#endif
