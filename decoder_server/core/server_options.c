#include "decoder_server/core/server_options.h"

#include "nn/net.h"

#include <stdlib.h>

enum { MEMORY_MIB_MAX = 1 << 20 };

static err take_precision(const char *text, void *to, const options_entry *entry) {
    (void)entry;
    bool is_bf16 = strcmp(text, "bf16") == 0;
    *(int *)to = is_bf16 ? NN_BF16 : NN_F32;
    return is_bf16 || strcmp(text, "f32") == 0 ? ERR_OK : err_fail(ERR_USAGE, "'%s' is neither f32 nor bf16", text);
}

static err take_confidence(const char *text, void *to, const options_entry *entry) {
    (void)entry;
    char *end;
    double *confidence = to;
    *confidence = strtod(text, &end);
    return end != text && *end == '\0' && *confidence > 0 && *confidence <= 1
               ? ERR_OK
               : err_fail(ERR_USAGE, "'%s' is no number above 0, at most 1", text);
}

/* Of both commands. */
#define COMMON(http_help)                                                                                              \
    {OPTIONS_ADDRESS(server_options, http, "http", http_help)},                                                        \
        {OPTIONS_TEXT(server_options, token_file, "api-token-file", "FILE",                                            \
                      "requests but for /, /healthz and /readyz must bring this token")},                              \
        {OPTIONS_TEXT(server_options, allowed_hosts, "allowed-hosts", "HOST[:PORT],…",                                 \
                      "answer only requests whose Host is one of these (default: whatever it is)")},                   \
        {OPTIONS_NUMBER(server_options, heartbeat_ms, "heartbeat", "MS", 100, 60000,                                   \
                        "a link silent for three times this is dead"),                                                 \
         .preset = "2000"},                                                                                            \
        {OPTIONS_NUMBER(server_options, answer_timeout_s, "answer-timeout", "S", 1, 86400,                             \
                        "a node that owes an answer for so many seconds is dropped"),                                  \
         .preset = "60"},                                                                                              \
        {OPTIONS_TEXT(server_options, address_file, "address-file", "FILE",                                            \
                      "write the addresses listened on there, as JSON, once they are open")},                          \
        TLS_OPTIONS(server_options),                                                                                   \
        {OPTIONS_FLAG(server_options, insecure, "insecure", "allow plain text on addresses other than loopback")},     \
        OPTIONS_LOG, {                                                                                                 \
        0                                                                                                              \
    }

static const options_entry train_entries[] = {
    {OPTIONS_ADDRESS(server_options, listen, "listen", "where nodes connect")},
    {OPTIONS_TEXT(server_options, labels, "labels", "DIR",
                  "folder of the labels (fewbit data split or data pack makes it)"),
     .is_required = true},
    {OPTIONS_TEXT(server_options, run, "out", "RUN", "folder of the run"), .is_required = true},
    {OPTIONS_NUMBER(server_options, epochs, "epochs", "N", 1, 100000, "in place of the experiment's")},
    {OPTIONS_NUMBER(server_options, seed, "seed", "N", 0, INT64_MAX, "in place of the experiment's")},
    {OPTIONS_PARSED(server_options, precision, "precision", "f32|bf16", take_precision,
                    "in place of the experiment's")},
    {OPTIONS_FLAG(server_options, local, "local", "train in this one process, without nodes")},
    {OPTIONS_TEXT(server_options, data, "data", "DIR",
                  "with --local: the folder that holds node-0, node-1, …, or of listed portions node-NAME")},
    {OPTIONS_PARSED(server_options, coding, "coding", "packed|range", message_take_coding,
                    "with --local: how codes travel in the rounded test (over the network it is the nodes' option)")},
    {OPTIONS_FLAG(server_options, resume, "resume", "go on from the run's last checkpoint; start where there is none")},
    {OPTIONS_FLAG(server_options, serve_after, "serve-after",
                  "once the run is finished, serve it; serve's own options in the environment")},
    {OPTIONS_NUMBER(server_options, threads, "threads", "N", 1, 256,
                    "threads that compute (default: 2, or as many as there are cores)")},
    COMMON("where progress, nodes and metrics are shown over HTTP; not with --local"),
};

static const options_entry serve_entries[] = {
    {OPTIONS_ADDRESS(server_options, listen, "listen", "where nodes connect")},
    {OPTIONS_NUMBER(server_options, ready_nodes, "ready-nodes", "N", 1, 64,
                    "/readyz is 200 with so many nodes (default: all)")},
    {OPTIONS_TEXT(server_options, results, "results", "FILE",
                  "where results go, JSON lines: a file, - or none (default RUN/results.jsonl)")},
    {OPTIONS_NUMBER(server_options, deadline_ms, "deadline", "MS", 1, 3600000,
                    "a sample is answered by then, with what is there"),
     .preset = "2000"},
    {OPTIONS_NUMBER(server_options, drain_timeout_ms, "drain-timeout", "MS", 0, 3600000,
                    "after a signal to stop, wait so long for what is under way to be answered"),
     .preset = "5000"},
    {OPTIONS_PARSED(server_options, confidence, "confidence", "P", take_confidence,
                    "with refinement: ask for the next bits of samples whose most probable class is less probable than "
                    "P (above 0, at most 1)")},
    {OPTIONS_NUMBER(server_options, max_batch_delay_us, "max-batch-delay", "US", 0, 1000000,
                    "a sample that is ready may wait so many microseconds for others, to pass the nets in one batch"),
     .preset = "0"},
    {OPTIONS_NUMBER(server_options, table_mib, "table-memory", "MIB", 0, MEMORY_MIB_MAX,
                    "the most that the table of the predictions of all codewords may take, where codewords are short; "
                    "0: none"),
     .preset = "64"},
    {OPTIONS_NUMBER(server_options, cache_mib, "cache-memory", "MIB", 0, MEMORY_MIB_MAX,
                    "the most that the cache of predictions of codewords already seen may take; 0: none"),
     .preset = "32"},
    COMMON("where requests come in over HTTP"),
};

static const options_command commands[] = {
    [SERVER_TRAIN] = {.arguments = "EXPERIMENT",
                      .least = 1,
                      .most = 1,
                      .summary = "Trains an experiment's encoders, decoder and classifier jointly.",
                      .entries = train_entries},
    [SERVER_SERVE] = {.arguments = "RUN",
                      .least = 1,
                      .most = 1,
                      .summary = "Serves a finished run: puts the nodes' codes together, decodes and classifies them.",
                      .entries = serve_entries},
};

static const options_subcommand subcommands[] = {
    [SERVER_TRAIN] = {{"train"}, "an experiment, with the nodes, or with --local in one process", NULL},
    [SERVER_SERVE] = {{"serve"}, "a finished run", NULL},
    {{0}, 0, 0},
};

static err check(const server_options *o) {
    const char *missing = o->local && !o->data ? "--data" : !o->local && !o->listen.host[0] ? "--listen" : NULL;
    if (missing || (o->serve_after && !o->listen.host[0])) {
        return err_fail(ERR_USAGE, "%s is missing (see --help)", missing ? missing : "--listen");
    }
    return o->local && o->http.host[0]
               ? err_fail(ERR_USAGE, "--http shows a training over the network: not with --local")
               : ERR_OK;
}

/* HTTP has no TLS of its own: that is for a proxy on this machine. */
static err check_plain(const server_options *o) {
    err e = o->listen.host[0] && !tls_is_wanted(&o->tls_files)
                ? tls_check_plain("--listen", o->listen.host, o->insecure)
                : ERR_OK;
    return e || !o->http.host[0] ? e : tls_check_plain("--http", o->http.host, o->insecure);
}

err server_options_parse(int argc, char **argv, server_options *options) {
    *options = (server_options){.epochs = -1, .seed = -1, .threads = -1, .precision = -1};
    const options_subcommand *chosen = NULL;
    options_arguments arguments;
    err e = options_choose("decoder_server", subcommands, &argc, &argv, &chosen);
    if (e) {
        return e;
    }
    options->command = (server_command)(chosen - subcommands);
    e = options_parse(&commands[options->command], argc, argv, options, &arguments);
    if (e) {
        return e;
    }
    *(options->command == SERVER_TRAIN ? &options->experiment : &options->run) = arguments.list[0];
    e = check(options);
    return e ? e : check_plain(options);
}
