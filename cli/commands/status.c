#include "cli/commands/status.h"

#include "base/clock.h"
#include "base/interrupt.h"
#include "base/options.h"
#include "cli/commands/status_watch.h"
#include "cli/http_client.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

enum { KEY_SERVER = 256, KEY_WAIT, KEY_WATCH, KEY_TOKEN_FILE };
enum { TIMEOUT_MS = 5000, PAUSE_MS = 50, STATUS_OK = 200 };

static const struct argp_option known[] = {
    {"server", KEY_SERVER, "URL", 0, "the decoder server's HTTP address, http://HOST:PORT", 0},
    {"wait", KEY_WAIT, "SECONDS", 0, "wait this long at most until every node is ready", 0},
    {"watch", KEY_WATCH, "SECONDS", OPTION_ARG_OPTIONAL, "show model, nodes, rates and bits, so often (default 1)", 0},
    {"token-file", KEY_TOKEN_FILE, "FILE", 0, "the server's API token: with --watch, and to name the slowest node", 0},
    {0},
};

typedef struct status_options {
    const char *server;
    const char *token_file;
    int64_t wait_s, watch_s; /* 0: not asked for */
} status_options;

static int take(int key, char *value, struct argp_state *state) {
    status_options *o = state->input;
    switch (key) {
    case KEY_SERVER:
        o->server = value;
        return 0;
    case KEY_TOKEN_FILE:
        o->token_file = value;
        return 0;
    case KEY_WATCH:
        o->watch_s = 1;
        return value && options_number(value, "--watch", 1, 3600, &o->watch_s) ? EINVAL : 0;
    case KEY_WAIT:
        return options_number(value, "--wait", 0, 86400, &o->wait_s) ? EINVAL : 0;
    case ARGP_KEY_ARG:
        err_fail(ERR_USAGE, "'%s' is too much: there are options only", value);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Empty where nobody lets the server wait, or it does not say without a token. */
static void find_slowest(http_client *h, char slowest[STATUS_WATCH_SLOWEST_MAX]) {
    long status = 0;
    json_t *nodes = NULL;
    slowest[0] = '\0';
    if (!http_client_call(h, "/v1/nodes", NULL, &status, &nodes) && status == STATUS_OK) {
        status_watch_slowest(nodes, slowest);
    }
    json_decref(nodes);
}

static err ask(http_client *h, const char *server) {
    long status = 0;
    json_t *answer = NULL;
    err e = http_client_call(h, "/readyz", NULL, &status, &answer);
    if (e) {
        return e;
    }
    long long ready = json_integer_value(json_object_get(answer, "nodes_ready"));
    long long nodes = json_integer_value(json_object_get(answer, "nodes"));
    const char *code = json_string_value(json_object_get(answer, "code"));
    char slowest[STATUS_WATCH_SLOWEST_MAX];
    find_slowest(h, slowest);
    if (status != STATUS_OK) {
        e = err_fail(ERR_REFUSED, "%s: not ready (%s), %lld of %lld nodes are%s%s", server, code ? code : "no code",
                     ready, nodes, slowest[0] ? "; " : "", slowest);
    } else {
        printf("%s: ready, %lld nodes\n%s%s", server, nodes, slowest, slowest[0] ? "\n" : "");
    }
    json_decref(answer);
    return e;
}

static err ask_until_ready(http_client *h, const status_options *o) {
    uint64_t start = clock_now_ns();
    for (;;) {
        err e = ask(h, o->server);
        if (e != ERR_REFUSED && e != ERR_NETWORK) {
            return e;
        }
        if (interrupt_asked()) {
            return err_fail(ERR_STOPPED, "stopped while waiting for %s", o->server);
        }
        if (clock_seconds_since(start) >= (double)o->wait_s) {
            return e;
        }
        interrupt_sleep(PAUSE_MS);
    }
}

err status_main(int argc, char **argv) {
    const struct argp argp = {
        .options = known,
        .parser = take,
        .doc = "Says whether a decoder server is up and enough nodes are ready, or with --watch how it does, until "
               "stopped. Exit code 0: ready; 6: no "
               "answer; 7: not "
               "ready.\vEvery option can stand in the environment: --server as FEWBIT_SERVER.",
    };
    status_options o = {0};
    http_client *h = NULL;
    err e = options_parse(&argp, argc, argv, 0, NULL, &o);
    if (!e && !o.server) {
        e = err_fail(ERR_USAGE, "--server is missing");
    }
    e = e ? e : http_client_new(&h, o.server, TIMEOUT_MS);
    if (!e) {
        e = http_client_read_token(h, o.token_file);
    }
    if (!e) {
        e = o.watch_s ? status_watch_run(h, o.server, o.watch_s) : ask_until_ready(h, &o);
    }
    http_client_free(h);
    return e;
}
