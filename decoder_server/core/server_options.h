/* The command lines of decoder_server. */
#ifndef FEWBIT_DECODER_SERVER_CORE_SERVER_OPTIONS_H
#define FEWBIT_DECODER_SERVER_CORE_SERVER_OPTIONS_H

#include "wire/message.h"
#include "wire/tls.h"

typedef enum server_command { SERVER_TRAIN, SERVER_SERVE } server_command;

typedef struct server_options {
    server_command command;
    const char *experiment;        /* train: the YAML file */
    const char *run;               /* train: --out; serve: its argument */
    const char *labels;            /* train */
    const char *data;              /* train --local */
    const char *results;           /* serve: file, "-" or "none"; NULL: RUN/results.jsonl */
    const char *token_file;        /* of the HTTP side; NULL: none */
    const char *allowed_hosts;     /* of the HTTP side; NULL: all */
    const char *address_file;      /* file for the addresses; NULL: none */
    address listen;                /* where nodes connect; host "": nowhere */
    address http;                  /* host "": no HTTP */
    int64_t epochs, seed, threads; /* -1: as the experiment says, as the machine has */
    int precision;                 /* nn_precision; -1: as the experiment says */
    int64_t heartbeat_ms, answer_timeout_s, deadline_ms, drain_timeout_ms;
    int64_t max_batch_delay_us;   /* serve: what is due may wait for company that long */
    int64_t table_mib, cache_mib; /* serve: memory for the table of answers and the cache of them */
    double confidence;            /* serve: an answer less probable asks for more bits; 0: all bits come at once */
    int64_t ready_nodes;          /* serve: ready with so many; 0: with all */
    bool local, resume;
    Fewbit__Coding coding; /* train --local */
    bool serve_after;      /* train: serve the run once it is finished */
    bool insecure;
    tls_files tls_files;
    tls_context *tls; /* main makes it from the files; NULL: plain text */
} server_options;

/* `train EXPERIMENT …` or `serve RUN …`. --help and --version print and exit. */
err server_options_parse(int argc, char **argv, server_options *options);

#endif
