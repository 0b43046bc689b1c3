#include "encoder_node/options.h"

enum { MIB_MAX = 1 << 24 };

static err take_stream(const char *text, void *to, const options_entry *entry) {
    (void)entry;
    return source_parse(text, to);
}

static const options_entry entries[] = {
    {OPTIONS_ADDRESS(node_options, server, "server", "the decoder server to connect to"), .is_required = true},
    {OPTIONS_TEXT(node_options, name, "name", "NAME", "this node's name, for people (default: its portion's)")},
    {OPTIONS_TEXT(node_options, portion, "portion", "NAME",
                  "the portion this node speaks for; checked against the data")},
    {OPTIONS_TEXT(node_options, data, "data", "DIR",
                  "folder of the portion's data (fewbit data split or data pack makes it)"),
     .is_required = true},
    {OPTIONS_TEXT(node_options, state, "state", "DIR", "folder for checkpoints; nodes of other portions may share it"),
     .is_required = true},
    {OPTIONS_NUMBER(node_options, max_memory_mib, "max-memory", "MIB", 1, MIB_MAX,
                    "memory that nets and their batches may take at a time, whatever a server asks for"),
     .preset = "4096"},
    {OPTIONS_NUMBER(node_options, max_state_mib, "max-state", "MIB", 1, MIB_MAX,
                    "what may lie under --state, and be written there within a minute, whatever a server asks for"),
     .preset = "16384"},
    {OPTIONS_PARSED(
        node_options, stream, "stream", "SOURCE", take_stream,
        "while serving, send a stream of codes of this node's own samples: test (its test part), stdin (raw "
        "portions on standard input), none")},
    {OPTIONS_FLAG(
        node_options, offers_samples, "offer-samples",
        "while serving, tell the server ids of up to 100 samples of the test part, for people to try; counted "
        "ids it is told anyway")},
    {OPTIONS_PARSED(node_options, coding, "coding", "packed|range", message_take_coding,
                    "how codes travel in bulk: packed (default), or range-coded in fewer bits where the server takes "
                    "that")},
    {OPTIONS_FLAG(node_options, exit_when_done, "exit-when-done",
                  "end when the run is over or the whole stream is sent, in place of connecting again; with 3 or 5 "
                  "where standard input ends inside a portion or fails, with 7 where the server left portions out")},
    {OPTIONS_TEXT(node_options, ready_file, "ready-file", "FILE", "a file that is there while a server has this node")},
    TLS_OPTIONS(node_options),
    {OPTIONS_FLAG(node_options, insecure, "insecure", "allow plain text to a server that is not on loopback")},
    OPTIONS_LOG,
    {0},
};

static const options_command command = {
    .summary = "Encodes one portion of every sample into a few bits, and trains its encoder with the server.",
    .entries = entries,
};

err node_options_parse(int argc, char **argv, node_options *options) {
    *options = (node_options){0};
    err e = options_parse(&command, argc, argv, options, NULL);
    if (e) {
        return e;
    }
    if (options->name && message_check_name(options->name)) {
        return err_prefix(ERR_USAGE, "--name");
    }
    e = source_check(options->stream);
    if (e || tls_is_wanted(&options->tls_files)) {
        return e;
    }
    return tls_check_plain("--server", options->server.host, options->insecure);
}
