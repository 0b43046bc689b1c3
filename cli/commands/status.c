#include "cli/commands/commands.h"

#include "base/clock.h"
#include "base/interrupt.h"
#include "base/options.h"
#include "cli/commands/status_watch.h"
#include "cli/http_client.h"

#include <stdbool.h>
#include <stdio.h>

enum { TIMEOUT_MS = 5000, PAUSE_MS = 50 };

typedef struct status_options {
    const char *server, *token_file;
    int64_t wait_s, watch_s; /* 0: not asked for */
} status_options;

/* Every second where no number is given. */
static err take_watch(const char *text, void *to, const options_entry *entry) {
    return options_take_number(text ? text : "1", to, entry);
}

static const options_entry entries[] = {
    {OPTIONS_TEXT(status_options, server, "server", "URL", "the decoder server's HTTP address, http://HOST:PORT"),
     .is_required = true},
    {OPTIONS_NUMBER(status_options, wait_s, "wait", "SECONDS", 0, 86400,
                    "wait this long at most until every node is ready")},
    {OPTIONS_PARSED(status_options, watch_s, "watch", "SECONDS", take_watch,
                    "show model, nodes, rates and bits, so often (default 1)"),
     .low = 1, .high = 3600, .may_lack_value = true},
    {OPTIONS_TEXT(status_options, token_file, "token-file", "FILE",
                  "the server's API token: with --watch, and to name the slowest node")},
    {0},
};

static const options_command command = {
    .summary =
        "Says whether a decoder server is up and enough nodes are ready, or with --watch how it does, until stopped. "
        "Exit code 0: ready; 6: no answer; 7: not ready.",
    .entries = entries,
};

/* Empty where nobody lets the server wait, or it does not say without a token. */
static void find_slowest(http_client *h, char slowest[STATUS_WATCH_SLOWEST_MAX]) {
    json_t *nodes = NULL;
    slowest[0] = '\0';
    if (!http_client_get(h, "/v1/nodes", &nodes)) {
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
    if (status != HTTP_OK) {
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
    status_options o = {0};
    http_client *h = NULL;
    err e = options_parse(&command, argc, argv, &o, NULL);
    e = e ? e : http_client_open(&h, o.server, TIMEOUT_MS, o.token_file);
    if (!e) {
        e = o.watch_s ? status_watch_run(h, o.server, o.watch_s) : ask_until_ready(h, &o);
    }
    http_client_free(h);
    return e;
}
