/* Files against their published SHA-256. */
#ifndef FEWBIT_CLIENT_VERIFY_H
#define FEWBIT_CLIENT_VERIFY_H

#include "base/err.h"

/* Of the content: decompressed where the file is gzipped. ERR_INPUT names the file and both digests. */
err verify_content(const char *path, const char *sha256);

/* Of the file's own bytes. */
err verify_bytes(const char *path, const char *sha256);

#endif
