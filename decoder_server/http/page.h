/* The live page: page/index.html, compiled into the program.
 *
 * The page holds no secrets, so it needs no token; what it asks for does. It may run its own script and style only, as
 * the hashes in its Content-Security-Policy say, and asks nobody but the server it came from. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_PAGE_H
#define FEWBIT_DECODER_SERVER_HTTP_PAGE_H

#include "base/err.h"
#include "decoder_server/http/answer_head.h"
#include "decoder_server/http/span.h"

enum { PAGE_TAG_MAX = 72, PAGE_POLICY_MAX = 512, PAGE_FIELDS = 6 };

typedef struct page {
    char tag[PAGE_TAG_MAX];           /* the ETag with its quotes */
    char policy[PAGE_POLICY_MAX];     /* Content-Security-Policy */
    answer_field fields[PAGE_FIELDS]; /* of its answer; they point to the two above */
} page;

/* Works out tag and policy of the page that was compiled in. */
err page_init(page *p);

/* Its bytes. */
span page_text(void);

/* Whether a client has this page already that sent this If-None-Match. */
bool page_is_known(const page *p, span offered);

#endif
