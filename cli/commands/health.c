#include "cli/commands/health.h"

#include "base/file.h"
#include "base/options.h"
#include "cli/http_client.h"

#include <errno.h>
#include <stdio.h>

enum { KEY_URL = 256, KEY_READY_FILE };
enum { TIMEOUT_MS = 4000, STATUS_OK = 200 };

static const struct argp_option known[] = {
    {"url", KEY_URL, "URL", 0, "a decoder server's HTTP address: does its process answer?", 0},
    {"ready-file", KEY_READY_FILE, "FILE", 0, "the file a node was given as --ready-file: does it have a server?", 0},
    {0},
};

typedef struct health_options {
    const char *url, *ready_file;
} health_options;

static int take(int key, char *value, struct argp_state *state) {
    health_options *o = state->input;
    switch (key) {
    case KEY_URL:
        o->url = value;
        return 0;
    case KEY_READY_FILE:
        o->ready_file = value;
        return 0;
    case ARGP_KEY_ARG:
        err_fail(ERR_USAGE, "'%s' is too much: there are options only", value);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static err ask_server(const char *url) {
    http_client *h = NULL;
    long status = 0;
    json_t *answer = NULL;
    err e = http_client_new(&h, url, TIMEOUT_MS);
    e = e ? e : http_client_call(h, "/healthz", NULL, &status, &answer);
    json_decref(answer);
    http_client_free(h);
    return e || status == STATUS_OK ? e : err_fail(ERR_REFUSED, "%s: /healthz says %ld", url, status);
}

err health_main(int argc, char **argv) {
    const struct argp argp = {
        .options = known,
        .parser = take,
        .doc =
            "Says whether a decoder server's process answers, or whether a node has a server. Exit code 0: well; 6: no "
            "answer; 7: not well.\vEvery option can stand in the environment: --ready-file as FEWBIT_READY_FILE.",
    };
    health_options o = {0};
    err e = options_parse(&argp, argc, argv, 0, NULL, &o);
    if (e) {
        return e;
    }
    if (!o.url == !o.ready_file) {
        return err_fail(ERR_USAGE, "either --url or --ready-file");
    }
    if (o.url) {
        return ask_server(o.url);
    }
    return file_exists(o.ready_file)
               ? ERR_OK
               : err_fail(ERR_REFUSED, "%s: is not there, so the node has no server", o.ready_file);
}
