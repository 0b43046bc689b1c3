#include "decoder_server/core/server_options.h"

#include "base/options.h"
#include "nn/net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_LISTEN = 256,
    KEY_LABELS,
    KEY_OUT,
    KEY_EPOCHS,
    KEY_SEED,
    KEY_PRECISION,
    KEY_LOCAL,
    KEY_DATA,
    KEY_RESUME,
    KEY_SERVE_AFTER,
    KEY_THREADS,
    KEY_HEARTBEAT,
    KEY_ANSWER_TIMEOUT,
    KEY_HTTP,
    KEY_RESULTS,
    KEY_DEADLINE,
    KEY_DRAIN_TIMEOUT,
    KEY_MAX_BATCH_DELAY,
    KEY_TABLE_MEMORY,
    KEY_CACHE_MEMORY,
    KEY_ADDRESS_FILE,
    KEY_INSECURE,
    KEY_TOKEN_FILE,
    KEY_ALLOWED_HOSTS,
    KEY_CONFIDENCE,
    KEY_CODING,
    KEY_READY_NODES
};

enum { MEMORY_MIB_MAX = 1 << 20 };

#define LISTEN_OPTION                                                                                                  \
    { "listen", KEY_LISTEN, "HOST:PORT", 0, "where nodes connect", 0 }
#define HEARTBEAT_OPTION                                                                                               \
    { "heartbeat", KEY_HEARTBEAT, "MS", 0, "a link silent for three times this is dead (default 2000)", 0 }
#define ANSWER_TIMEOUT_OPTION                                                                                          \
    {                                                                                                                  \
        "answer-timeout", KEY_ANSWER_TIMEOUT, "S", 0,                                                                  \
            "a node that owes an answer for so many seconds is dropped (default 60)", 0                                \
    }
#define ADDRESS_FILE_OPTION                                                                                            \
    {                                                                                                                  \
        "address-file", KEY_ADDRESS_FILE, "FILE", 0,                                                                   \
            "write the addresses listened on there, as JSON, once they are open", 0                                    \
    }
#define TLS_OPTIONS                                                                                                    \
    {"tls-cert", TLS_OPTION_CERTIFICATE, "FILE", 0, "TLS with the nodes: this server's certificate, PEM", 0},          \
        {"tls-key", TLS_OPTION_KEY, "FILE", 0, "its key, PEM", 0},                                                     \
        {"tls-ca", TLS_OPTION_CA, "FILE", 0, "the CA that nodes' certificates must be of, PEM", 0}, {                  \
        "insecure", KEY_INSECURE, NULL, 0, "allow plain text on addresses other than loopback", 0                      \
    }
#define HTTP_OPTIONS(what)                                                                                             \
    {"http", KEY_HTTP, "HOST:PORT", 0, what, 0}, {"api-token-file",                                                    \
                                                  KEY_TOKEN_FILE,                                                      \
                                                  "FILE",                                                              \
                                                  0,                                                                   \
                                                  "requests but for /, /healthz and /readyz must bring this token",    \
                                                  0},                                                                  \
    {                                                                                                                  \
        "allowed-hosts", KEY_ALLOWED_HOSTS, "HOST[:PORT],…", 0,                                                        \
            "answer only requests whose Host is one of these (default: whatever it is)", 0                             \
    }

static const struct argp_option train_known[] = {
    LISTEN_OPTION,
    {"labels", KEY_LABELS, "DIR", 0, "folder of the labels (fewbit data split makes it)", 0},
    {"out", KEY_OUT, "RUN", 0, "folder of the run", 0},
    {"epochs", KEY_EPOCHS, "N", 0, "in place of the experiment's", 0},
    {"seed", KEY_SEED, "N", 0, "in place of the experiment's", 0},
    {"precision", KEY_PRECISION, "f32|bf16", 0, "in place of the experiment's", 0},
    {"local", KEY_LOCAL, NULL, 0, "train in this one process, without nodes", 0},
    {"data", KEY_DATA, "DIR", 0, "with --local: the folder that holds node-0, node-1, …", 0},
    {"coding", KEY_CODING, "packed|range", 0,
     "with --local: how codes travel in the rounded test (over the network it is the nodes' option)", 0},
    {"resume", KEY_RESUME, NULL, 0, "go on from the run's last checkpoint; start where there is none", 0},
    {"serve-after", KEY_SERVE_AFTER, NULL, 0,
     "once the run is finished, serve it; serve's own options in the environment", 0},
    {"threads", KEY_THREADS, "N", 0, "threads that compute (default: 2, or as many as there are cores)", 0},
    HTTP_OPTIONS("where progress, nodes and metrics are shown over HTTP; not with --local"),
    HEARTBEAT_OPTION,
    ANSWER_TIMEOUT_OPTION,
    ADDRESS_FILE_OPTION,
    TLS_OPTIONS,
    OPTIONS_LOG,
    {0},
};

static const struct argp_option serve_known[] = {
    LISTEN_OPTION,
    HTTP_OPTIONS("where requests come in over HTTP"),
    {"ready-nodes", KEY_READY_NODES, "N", 0, "/readyz is 200 with so many nodes (default: all)", 0},
    {"results", KEY_RESULTS, "FILE", 0, "where results go, JSON lines: a file, - or none (default RUN/results.jsonl)",
     0},
    {"deadline", KEY_DEADLINE, "MS", 0, "a sample is answered by then, with what is there (default 2000)", 0},
    {"drain-timeout", KEY_DRAIN_TIMEOUT, "MS", 0,
     "after a signal to stop, wait so long for what is under way to be answered (default 5000)", 0},
    {"confidence", KEY_CONFIDENCE, "P", 0,
     "where bits come in stages: ask for the next one of samples whose class is less probable than P (above 0, at most "
     "1)",
     0},
    {"max-batch-delay", KEY_MAX_BATCH_DELAY, "US", 0,
     "a sample that is ready may wait so many microseconds for others, to pass the nets in one batch (default 0)", 0},
    {"table-memory", KEY_TABLE_MEMORY, "MIB", 0,
     "the most that the table of the predictions of all codewords may take, where codewords are short (default 64, 0: "
     "none)",
     0},
    {"cache-memory", KEY_CACHE_MEMORY, "MIB", 0,
     "the most that the cache of predictions of codewords already seen may take (default 32, 0: none)", 0},
    HEARTBEAT_OPTION,
    ANSWER_TIMEOUT_OPTION,
    ADDRESS_FILE_OPTION,
    TLS_OPTIONS,
    OPTIONS_LOG,
    {0},
};

static const char train_doc[] =
    "Trains an experiment's encoders, decoder and classifier jointly.\v"
    "Every option can stand in the environment: --listen as FEWBIT_LISTEN, --log-level as FEWBIT_LOG_LEVEL.\n\n"
    "Exit codes: 0 done, 1 failed, 2 usage, 3 bad input (file, config, data), 4 not found, 5 disk or system, 6 "
    "network, "
    "7 refused by the other side, 130 stopped.";

static const char serve_doc[] =
    "Serves a finished run: puts the nodes' codes together, decodes and classifies them.\v"
    "Every option can stand in the environment: --http as FEWBIT_HTTP, --log-level as FEWBIT_LOG_LEVEL.\n\n"
    "Exit codes: 0 done, 1 failed, 2 usage, 3 bad input (file, config, data), 4 not found, 5 disk or system, 6 "
    "network, "
    "7 refused by the other side, 130 stopped.";

static err take_precision(const char *value, int *precision) {
    bool is_bf16 = strcmp(value, "bf16") == 0;
    if (!is_bf16 && strcmp(value, "f32") != 0) {
        return err_fail(ERR_USAGE, "--precision: '%s' is neither f32 nor bf16", value);
    }
    *precision = is_bf16 ? NN_BF16 : NN_F32;
    return ERR_OK;
}

static err take_confidence(const char *value, double *confidence) {
    char *end;
    *confidence = strtod(value, &end);
    return end != value && *end == '\0' && *confidence > 0 && *confidence <= 1
               ? ERR_OK
               : err_fail(ERR_USAGE, "--confidence: '%s' is no number above 0, at most 1", value);
}

static err take_value(server_options *o, int key, char *value) {
    switch (key) {
    case KEY_LISTEN:
        o->has_listen = true;
        return options_address(value, o->host, sizeof o->host, &o->port);
    case KEY_HTTP:
        o->has_http = true;
        return options_address(value, o->http_host, sizeof o->http_host, &o->http_port);
    case KEY_EPOCHS:
        return options_number(value, "--epochs", 1, 100000, &o->epochs);
    case KEY_SEED:
        return options_number(value, "--seed", 0, INT64_MAX, &o->seed);
    case KEY_PRECISION:
        return take_precision(value, &o->precision);
    case KEY_THREADS:
        return options_number(value, "--threads", 1, 256, &o->threads);
    case KEY_HEARTBEAT:
        return options_number(value, "--heartbeat", 100, 60000, &o->heartbeat_ms);
    case KEY_ANSWER_TIMEOUT:
        return options_number(value, "--answer-timeout", 1, 86400, &o->answer_timeout_s);
    case KEY_CONFIDENCE:
        return take_confidence(value, &o->confidence);
    case KEY_DRAIN_TIMEOUT:
        return options_number(value, "--drain-timeout", 0, 3600000, &o->drain_timeout_ms);
    case KEY_MAX_BATCH_DELAY:
        return options_number(value, "--max-batch-delay", 0, 1000000, &o->max_batch_delay_us);
    case KEY_TABLE_MEMORY:
        return options_number(value, "--table-memory", 0, MEMORY_MIB_MAX, &o->table_mib);
    case KEY_CACHE_MEMORY:
        return options_number(value, "--cache-memory", 0, MEMORY_MIB_MAX, &o->cache_mib);
    case KEY_CODING:
        return message_parse_coding(value, &o->coding);
    case KEY_READY_NODES:
        return options_number(value, "--ready-nodes", 1, 64, &o->ready_nodes);
    default:
        return options_number(value, "--deadline", 1, 3600000, &o->deadline_ms);
    }
}

static int take(int key, char *value, struct argp_state *state) {
    server_options *o = state->input;
    err e;
    if (options_take_log(key, value, &e)) {
        return e ? EINVAL : 0;
    }
    if (tls_take_option(key, value, &o->tls_files)) {
        return 0;
    }
    const char **first = o->command == SERVER_TRAIN ? &o->experiment : &o->run;
    switch (key) {
    case ARGP_KEY_ARG:
        if (*first) {
            err_fail(ERR_USAGE, "'%s' is one argument too many", value);
            return EINVAL;
        }
        *first = value;
        return 0;
    case KEY_LABELS:
        o->labels = value;
        return 0;
    case KEY_OUT:
        o->run = value;
        return 0;
    case KEY_DATA:
        o->data = value;
        return 0;
    case KEY_RESULTS:
        o->results = value;
        return 0;
    case KEY_ADDRESS_FILE:
        o->address_file = value;
        return 0;
    case KEY_INSECURE:
        o->insecure = true;
        return 0;
    case KEY_TOKEN_FILE:
        o->token_file = value;
        return 0;
    case KEY_ALLOWED_HOSTS:
        o->allowed_hosts = value;
        return 0;
    case KEY_LOCAL:
        o->local = true;
        return 0;
    case KEY_RESUME:
    case KEY_SERVE_AFTER:
        *(key == KEY_RESUME ? &o->resume : &o->serve_after) = true;
        return 0;
    default:
        if (key < KEY_LISTEN || key > KEY_READY_NODES) {
            return ARGP_ERR_UNKNOWN;
        }
        return take_value(o, key, value) ? EINVAL : 0;
    }
}

static err check_train(const server_options *o) {
    const char *missing = !o->experiment                     ? "the experiment's file"
                          : !o->labels                       ? "--labels"
                          : !o->run                          ? "--out"
                          : o->local && !o->data             ? "--data"
                          : !o->local && !o->has_listen      ? "--listen (or --local)"
                          : o->serve_after && !o->has_listen ? "--listen"
                                                             : NULL;
    if (!missing && o->local && o->has_http) {
        return err_fail(ERR_USAGE, "--http shows a training over the network: not with --local");
    }
    return missing ? err_fail(ERR_USAGE, "%s is missing (see decoder_server train --help)", missing) : ERR_OK;
}

static err check_serve(const server_options *o) {
    const char *missing = !o->run ? "the run's folder" : !o->has_listen ? "--listen" : NULL;
    return missing ? err_fail(ERR_USAGE, "%s is missing (see decoder_server serve --help)", missing) : ERR_OK;
}

/* HTTP has no TLS of its own: that is for a proxy on this machine. */
static err check_plain(const server_options *o) {
    err e = o->has_listen && !tls_is_wanted(&o->tls_files) ? tls_check_plain("--listen", o->host, o->insecure) : ERR_OK;
    return e || !o->has_http ? e : tls_check_plain("--http", o->http_host, o->insecure);
}

static void print_usage(FILE *to) {
    fputs("Usage: decoder_server train EXPERIMENT --listen HOST:PORT --labels DIR --out RUN [OPTION...]\n"
          "  or:  decoder_server train EXPERIMENT --local --data DIR --labels DIR --out RUN [OPTION...]\n"
          "  or:  decoder_server serve RUN --listen HOST:PORT --http HOST:PORT [OPTION...]\n"
          "See decoder_server train --help and decoder_server serve --help.\n",
          to);
}

err server_options_parse(int argc, char **argv, server_options *options) {
    *options = (server_options){
        .epochs = -1,
        .seed = -1,
        .threads = -1,
        .precision = -1,
        .heartbeat_ms = 2000,
        .answer_timeout_s = 60,
        .deadline_ms = 2000,
        .drain_timeout_ms = 5000,
        .table_mib = 64,
        .cache_mib = 32,
    };
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "--help") == 0 || strcmp(command, "-?") == 0) {
        print_usage(stdout);
        exit(0);
    }
    if (strcmp(command, "--version") == 0) {
        puts(argp_program_version);
        exit(0);
    }
    bool train = strcmp(command, "train") == 0;
    if (!train && strcmp(command, "serve") != 0) {
        print_usage(stderr);
        return err_fail(ERR_USAGE, "'%s' is neither train nor serve", command);
    }
    options->command = train ? SERVER_TRAIN : SERVER_SERVE;
    const struct argp argp = {
        .options = train ? train_known : serve_known,
        .parser = take,
        .args_doc = train ? "EXPERIMENT" : "RUN",
        .doc = train ? train_doc : serve_doc,
    };
    char name[64];
    snprintf(name, sizeof name, "decoder_server %s", command);
    argv[1] = name;
    err e = options_parse(&argp, argc - 1, argv + 1, 0, NULL, options);
    argv[1] = (char *)(uintptr_t)command;
    e = e ? e : train ? check_train(options) : check_serve(options);
    return e ? e : check_plain(options);
}
