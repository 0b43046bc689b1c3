/* Files against their published SHA-256. */
#ifndef FEWBIT_CLI_DATASETS_CHECKSUM_H
#define FEWBIT_CLI_DATASETS_CHECKSUM_H

#include "base/err.h"

/* Of the content: decompressed where the file is gzipped. ERR_INPUT names the file and both digests. */
err checksum_verify_content(const char *path, const char *sha256);

/* Of the file's own bytes. */
err checksum_verify_file(const char *path, const char *sha256);

#endif
