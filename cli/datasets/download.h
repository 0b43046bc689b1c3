/* Files over HTTP: HTTP/1.1, HTTPS only unless said otherwise, redirects to HTTPS only. */
#ifndef FEWBIT_CLI_DATASETS_DOWNLOAD_H
#define FEWBIT_CLI_DATASETS_DOWNLOAD_H

#include "base/err.h"

typedef struct download {
    const char *url;
    const char *to;   /* the bytes that are there already are kept and continued */
    const char *name; /* for the progress shown */
    uint64_t cap;     /* bytes */
    bool allow_http;
} download;

/* Fetches all of the file. A connection that is cut is taken up again as long as bytes keep coming; where the
 * server cannot continue in the middle, it starts over. After ERR_NETWORK or ERR_STOPPED `to` holds what
 * came, for the next time. What was in `to` before may belong to another file: check a digest. */
err download_file(const download *d);

#endif
