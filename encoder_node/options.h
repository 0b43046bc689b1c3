/* The command line of encoder_node. */
#ifndef FEWBIT_ENCODER_NODE_OPTIONS_H
#define FEWBIT_ENCODER_NODE_OPTIONS_H

#include "encoder_node/source.h"
#include "wire/message.h"
#include "wire/tls.h"

typedef struct node_options {
    address server;
    const char *name; /* NULL: its portion's */
    const char *data, *state;
    int64_t max_memory_mib, max_state_mib;
    const char *portion; /* NULL: whatever the data says */
    source_kind stream;
    bool offers_samples;
    Fewbit__Coding coding;
    const char *ready_file; /* NULL: none */
    bool exit_when_done;
    bool insecure;
    tls_files tls_files;
} node_options;

err node_options_parse(int argc, char **argv, node_options *options);

#endif
