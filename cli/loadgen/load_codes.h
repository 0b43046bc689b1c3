/* Load of codes straight into a server, over links like those of nodes: one a portion, all of this process, with random
 * codes in place of an encoder's. The portions must have no nodes.
 *
 * Codes are due at fixed times, whatever the server does; what it does not take in time waits here. How late it is
 * is measured by HTTP requests, one at a time, due at fixed times as well: on every link each is answered after the
 * codes that are under way then, and messages of a link are processed in order. A server with --confidence gets the
 * first stage of each code, and more random bits where it asks for them. */
#ifndef FEWBIT_CLI_LOADGEN_LOAD_CODES_H
#define FEWBIT_CLI_LOADGEN_LOAD_CODES_H

#include "cli/loadgen/synthetic_node.h"

typedef struct load_codes {
    const address *server; /* where nodes connect */
    const load_model *model;
    double rate; /* codewords (samples) a second; 0: as fast as the server takes them */
    double seconds;
    double probe_rate; /* HTTP requests a second */
    http_client_body probe;
    http_client *http; /* for the probes: used by another thread meanwhile */
} load_codes;

/* {"offered", "sent", "asked", "seconds", "rate", "probes": {…as latency_json…}, "probes_failed"}; a new reference.
 * `asked` counts the codes, of all portions, of which more was asked for, once a stage. `seconds` goes to the answer of
 * the request after the last code and the last stage; `rate` is what the server has processed a second until then. */
err load_codes_run(const load_codes *load, json_t **report);

#endif
