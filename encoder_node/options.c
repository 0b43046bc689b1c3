#include "encoder_node/options.h"

#include "base/options.h"

#include <errno.h>
#include <stdbool.h>

enum { KEY_SERVER = 's', KEY_NAME = 'n', KEY_PORTION = 'p', KEY_DATA = 'd', KEY_STATE = 't' };
enum { KEY_STREAM = 256, KEY_EXIT_WHEN_DONE, KEY_READY_FILE, KEY_INSECURE, KEY_CODING, KEY_MAX_MEMORY, KEY_MAX_STATE };
enum { MAX_MEMORY_MIB = 4096, MAX_STATE_MIB = 16384, MIB_MAX = 1 << 24 };

static const struct argp_option known[] = {
    {"server", KEY_SERVER, "HOST:PORT", 0, "the decoder server to connect to", 0},
    {"name", KEY_NAME, "NAME", 0, "this node's name, for people", 0},
    {"portion", KEY_PORTION, "K", 0, "the portion this node speaks for, from 0; checked against the data", 0},
    {"data", KEY_DATA, "DIR", 0, "folder of the portion's data (fewbit data split makes it)", 0},
    {"state", KEY_STATE, "DIR", 0, "folder for checkpoints; nodes of other portions may share it", 0},
    {"max-memory", KEY_MAX_MEMORY, "MIB", 0,
     "memory that nets and their batches may take at a time, whatever a server asks for (4096)", 0},
    {"max-state", KEY_MAX_STATE, "MIB", 0,
     "what may lie under --state, and be written there within a minute, whatever a server asks for (16384)", 0},
    {"stream", KEY_STREAM, "SOURCE", 0,
     "while serving, send a stream of codes of this node's own samples: test (its test part), stdin (raw portions on "
     "standard "
     "input), none",
     0},
    {"coding", KEY_CODING, "packed|range", 0,
     "how codes travel in bulk: packed (default), or range-coded in fewer bits where the server takes that", 0},
    {"exit-when-done", KEY_EXIT_WHEN_DONE, NULL, 0,
     "end when the run is over or the whole stream is sent, in place of connecting again; with 3 or 5 where standard "
     "input "
     "ends "
     "inside a portion or fails, with 7 where the server left portions out",
     0},
    {"ready-file", KEY_READY_FILE, "FILE", 0, "a file that is there while a server has this node", 0},
    {"tls-cert", TLS_OPTION_CERTIFICATE, "FILE", 0, "TLS: this node's certificate, which names its portion, PEM", 0},
    {"tls-key", TLS_OPTION_KEY, "FILE", 0, "its key, PEM", 0},
    {"tls-ca", TLS_OPTION_CA, "FILE", 0, "the CA that the server's certificate must be of, PEM", 0},
    {"insecure", KEY_INSECURE, NULL, 0, "allow plain text to a server that is not on loopback", 0},
    OPTIONS_LOG,
    {0},
};

static int failed(err e) {
    return e ? EINVAL : 0;
}

static int take(int key, char *value, struct argp_state *state) {
    node_options *o = state->input;
    err e;
    if (options_take_log(key, value, &e)) {
        return failed(e);
    }
    if (tls_take_option(key, value, &o->tls_files)) {
        return 0;
    }
    switch (key) {
    case KEY_SERVER:
        return failed(options_address(value, o->host, sizeof o->host, &o->port));
    case KEY_NAME:
        o->name = value;
        return 0;
    case KEY_PORTION:
        return failed(options_number(value, "--portion", 0, 63, &o->portion));
    case KEY_DATA:
        o->data = value;
        return 0;
    case KEY_STATE:
        o->state = value;
        return 0;
    case KEY_MAX_MEMORY:
        return failed(options_number(value, "--max-memory", 1, MIB_MAX, &o->max_memory_mib));
    case KEY_MAX_STATE:
        return failed(options_number(value, "--max-state", 1, MIB_MAX, &o->max_state_mib));
    case KEY_STREAM:
        return failed(source_parse(value, &o->stream));
    case KEY_CODING:
        return failed(message_parse_coding(value, &o->coding));
    case KEY_EXIT_WHEN_DONE:
        o->exit_when_done = true;
        return 0;
    case KEY_READY_FILE:
        o->ready_file = value;
        return 0;
    case KEY_INSECURE:
        o->insecure = true;
        return 0;
    case ARGP_KEY_ARG:
        return failed(err_fail(ERR_USAGE, "'%s' is too much: there are options only", value));
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

err node_options_parse(int argc, char **argv, node_options *options) {
    *options = (node_options){.portion = -1, .max_memory_mib = MAX_MEMORY_MIB, .max_state_mib = MAX_STATE_MIB};
    const struct argp argp = {
        .options = known,
        .parser = take,
        .doc =
            "Encodes one portion of every sample into a few bits, and trains its encoder with the server.\v"
            "Every option can stand in the environment: --server as FEWBIT_SERVER, --log-level as "
            "FEWBIT_LOG_LEVEL.\n\n"
            "Exit codes: 0 done, 1 failed, 2 usage, 3 bad input (file, config, data), 4 not found, 5 disk or system, "
            "6 network, 7 refused by the other side, 130 stopped twice.",
    };
    err e = options_parse(&argp, argc, argv, 0, NULL, options);
    if (e) {
        return e;
    }
    if (!options->host[0] || !options->name || !options->data || !options->state) {
        return err_fail(ERR_USAGE, "--%s is missing (see --help)",
                        !options->host[0] ? "server"
                        : !options->name  ? "name"
                        : !options->data  ? "data"
                                          : "state");
    }
    if (message_check_name(options->name)) {
        return err_prefix(ERR_USAGE, "--name");
    }
    e = source_check(options->stream);
    if (e) {
        return e;
    }
    if (!tls_is_wanted(&options->tls_files)) {
        return tls_check_plain("--server", options->host, options->insecure);
    }
    return ERR_OK;
}
