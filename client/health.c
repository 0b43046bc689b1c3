#include "client/health.h"

#include "base/file.h"
#include "base/options.h"
#include "client/http.h"

#include <errno.h>
#include <stdio.h>

enum { KEY_SERVER = 256, KEY_NODE };
enum { TIMEOUT_MS = 4000, STATUS_OK = 200 };

static const struct argp_option known[] = {
    {"server", KEY_SERVER, "URL", 0, "a decoder server's HTTP address: does its process answer?", 0},
    {"node", KEY_NODE, "FILE", 0, "a node's --ready-file: does it have a server?", 0},
    {0},
};

typedef struct health_options {
    const char *server, *node;
} health_options;

static int take(int key, char *value, struct argp_state *state) {
    health_options *o = state->input;
    switch (key) {
    case KEY_SERVER:
        o->server = value;
        return 0;
    case KEY_NODE:
        o->node = value;
        return 0;
    case ARGP_KEY_ARG:
        err_fail(ERR_USAGE, "'%s' is too much: there are options only", value);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static err ask_server(const char *server) {
    http *h = NULL;
    long status = 0;
    json_t *answer = NULL;
    err e = http_new(&h, server, TIMEOUT_MS);
    e = e ? e : http_call(h, "/healthz", NULL, &status, &answer);
    json_decref(answer);
    http_free(h);
    return e || status == STATUS_OK ? e : err_fail(ERR_REFUSED, "%s: /healthz says %ld", server, status);
}

err health_main(int argc, char **argv) {
    const struct argp argp = {
        .options = known,
        .parser = take,
        .doc = "Says whether a decoder server's process answers, or whether a node has a server. Exit code 0: well; 6: no "
               "answer; 7: not well.\vEvery option can stand in the environment: --node as FEWBIT_NODE.",
    };
    health_options o = {0};
    err e = options_parse(&argp, argc, argv, 0, NULL, &o);
    if (e) {
        return e;
    }
    if (!o.server == !o.node) {
        return err_fail(ERR_USAGE, "either --server or --node");
    }
    if (o.server) {
        return ask_server(o.server);
    }
    return file_exists(o.node) ? ERR_OK : err_fail(ERR_REFUSED, "%s: is not there, the node has no server", o.node);
}
