/* Where the server listens, for whoever started it with port 0: a small JSON file, written once it listens.
 *
 *   {"nodes": "127.0.0.1:40123", "http": "127.0.0.1:40124", "pid": 4242}       without --http there is no "http" */
#ifndef FEWBIT_DECODER_SERVER_CORE_ADDRESS_FILE_H
#define FEWBIT_DECODER_SERVER_CORE_ADDRESS_FILE_H

#include "base/err.h"

#include <stdint.h>

/* Atomic. `path` NULL: nothing is announced; `http_host` NULL: no HTTP. */
err address_file_write(const char *path, const char *host, uint16_t port, const char *http_host, uint16_t http_port);

#endif
