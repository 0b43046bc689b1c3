#include "cli/commands/commands.h"

#include "base/clock.h"
#include "base/interrupt.h"
#include "base/options.h"
#include "cli/http_client.h"
#include "data/portion_shape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* --watch: model, nodes, rates and bits, again and again. */

enum { PORTIONS_MAX = 64, NAME_WIDTH = 20, SLOWEST_MAX = 160 };

static const double SLOW_SECONDS = 0.5;

/* What the rates are taken from. */
typedef struct tally {
    uint64_t at_ns;
    double answered, degraded, failed, streamed;                              /* samples */
    double received[PORTIONS_MAX], sent[PORTIONS_MAX], payload[PORTIONS_MAX]; /* bits */
} tally;

typedef struct watch {
    http_client *http;
    const char *server;
    bool is_terminal, has_before;
    tally before, now;
    char *metrics;
} watch;

/* The value of a metric by its name with labels; 0 where it is not there. */
static double metric(const watch *w, const char *name) {
    size_t length = strlen(name);
    for (const char *line = w->metrics; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) == 0 && line[length] == ' ') {
            return strtod(line + length, NULL);
        }
    }
    return 0;
}

static err fetch_metrics(watch *w) {
    free(w->metrics);
    w->metrics = NULL;
    err e = http_client_fetch(w->http, "/metrics");
    w->metrics = e ? NULL : strdup(http_client_text(w->http));
    return e || w->metrics ? e : err_fail(ERR_MEMORY, "no memory for the counters");
}

static double number(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "-";
}

static void count(watch *w, const json_t *nodes) {
    tally *t = &w->now;
    size_t k;
    const json_t *node;
    *t = (tally){.at_ns = clock_now_ns()};
    t->answered = metric(w, "fewbit_classifications_total{outcome=\"classified\"}");
    t->degraded = metric(w, "fewbit_classifications_total{outcome=\"degraded\"}");
    t->failed = metric(w, "fewbit_classifications_total{outcome=\"no_nodes\"}") +
                metric(w, "fewbit_classifications_total{outcome=\"timeout\"}") +
                metric(w, "fewbit_classifications_total{outcome=\"busy\"}");
    t->streamed = metric(w, "fewbit_samples_complete_total{source=\"stream\"}") +
                  metric(w, "fewbit_deadline_misses_total{source=\"stream\"}");
    json_array_foreach(json_object_get(nodes, "nodes"), k, node) {
        if (k < PORTIONS_MAX) {
            const json_t *received = json_object_get(node, "received"), *sent = json_object_get(node, "sent");
            t->payload[k] = number(received, "payload_bits") + number(sent, "payload_bits");
            t->received[k] = 8 * number(received, "frame_bytes");
            t->sent[k] = 8 * number(sent, "frame_bytes");
        }
    }
}

/* A rate since the picture before; 0 in the first one. */
static double rate(const watch *w, double before, double now) {
    double seconds = (double)(w->now.at_ns - w->before.at_ns) * 1e-9;
    return w->has_before && seconds > 0 && now >= before ? (now - before) / seconds : 0;
}

/* Bits with their unit, in at most ten characters. */
static const char *bits(double value, char to[16]) {
    static const char *const units[] = {"bit", "kbit", "Mbit", "Gbit", "Tbit"};
    size_t unit = 0;
    while (value >= 9999.5 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1000;
        unit++;
    }
    snprintf(to, 16, "%.0f %s", value, units[unit]);
    return to;
}

/* Portions that follow each other and have as many bits are told as one: "3 x 4 + 1 x 7". */
static void show_bits(const json_t *each) {
    size_t count = json_array_size(each);
    for (size_t k = 0, next; k < count; k = next) {
        double bits = number(json_array_get(each, k), "bits");
        for (next = k + 1; next < count && number(json_array_get(each, next), "bits") == bits;) {
            next++;
        }
        printf("%s%zu x %.0f", k > 0 ? " + " : "", next - k, bits);
    }
}

static void show_model(const watch *w, const json_t *model) {
    printf("%s: %s %s (%s), ", w->server, strcmp(text(model, "mode"), "train") == 0 ? "training" : "serving",
           text(model, "experiment"), text(model, "data_set"));
    show_bits(json_object_get(model, "portions"));
    printf(" bits a sample against %.0f raw", number(model, "raw_bits"));
    const json_t *accuracy = json_object_get(model, "accuracy");
    if (json_is_object(accuracy)) {
        printf(", step %.0f, rounded test %.2f %%", number(model, "step"), number(accuracy, "rounded_test"));
    }
    putchar('\n');
}

static void show_rates(const watch *w, const json_t *model) {
    const tally *b = &w->before, *n = &w->now;
    if (strcmp(text(model, "mode"), "train") == 0) {
        printf("epoch %.0f of %.0f, %.0f steps, loss %.4f, training %.2f %%\n", metric(w, "fewbit_training_epoch"),
               metric(w, "fewbit_training_epochs"), metric(w, "fewbit_training_steps_total"),
               metric(w, "fewbit_training_loss"), 100 * metric(w, "fewbit_training_accuracy_ratio"));
        return;
    }
    printf("requests %.1f/s, degraded %.1f/s, failed %.1f/s; streamed samples %.1f/s; %.0f waiting; %.0f subscribers\n",
           rate(w, b->answered + b->degraded, n->answered + n->degraded), rate(w, b->degraded, n->degraded),
           rate(w, b->failed, n->failed), rate(w, b->streamed, n->streamed),
           metric(w, "fewbit_reassembly_samples{source=\"http\"}") +
               metric(w, "fewbit_reassembly_samples{source=\"stream\"}"),
           metric(w, "fewbit_sse_subscribers"));
}

/* Of their names' column. */
static int width_of_portions(const json_t *nodes) {
    size_t k, width = strlen("portion");
    const json_t *node;
    json_array_foreach(json_object_get(nodes, "nodes"), k, node) {
        size_t length = strlen(text(node, "portion_name"));
        width = length > width ? length : width;
    }
    return 1 + (int)(width < PORTION_NAME_MAX ? width : PORTION_NAME_MAX);
}

static void show_nodes(const watch *w, const json_t *nodes) {
    char payload[16], received[16], sent[16], total[16];
    size_t k;
    const json_t *node;
    int width = width_of_portions(nodes);
    printf("%.0f of %.0f nodes ready\n%-*s%-*s  %-10s %-22s %6s %14s %14s %14s %12s\n", number(nodes, "ready"),
           number(nodes, "portions"), width, "portion", NAME_WIDTH, "node", "state", "address", "again", "payload/s",
           "received/s", "sent/s", "payload");
    json_array_foreach(json_object_get(nodes, "nodes"), k, node) {
        if (k >= PORTIONS_MAX) {
            break;
        }
        const tally *b = &w->before, *n = &w->now;
        printf("%-*.31s%-*.*s  %-10s %-22s %6.0f %14s %14s %14s %12s\n", width, text(node, "portion_name"), NAME_WIDTH,
               NAME_WIDTH, text(node, "name"), text(node, "state"), text(node, "address"), number(node, "reconnects"),
               bits(rate(w, b->payload[k], n->payload[k]), payload),
               bits(rate(w, b->received[k], n->received[k]), received), bits(rate(w, b->sent[k], n->sent[k]), sent),
               bits(n->payload[k], total));
    }
}

/* Names the node that has owed the server an answer for longest, of what /v1/nodes says; "" where nobody lets it wait.
 */
static void name_slowest(const json_t *nodes, char to[SLOWEST_MAX]) {
    double longest = SLOW_SECONDS;
    size_t k;
    const json_t *node;
    to[0] = '\0';
    json_array_foreach(json_object_get(nodes, "nodes"), k, node) {
        if (number(node, "owed_seconds") >= longest) {
            longest = number(node, "owed_seconds");
            snprintf(to, SLOWEST_MAX, "slowest: portion %.31s (%.63s) owes %.20s for %.1f s",
                     text(node, "portion_name"), text(node, "name"), text(node, "owes"), longest);
        }
    }
}

static void show_slowest(const json_t *nodes) {
    char slowest[SLOWEST_MAX];
    name_slowest(nodes, slowest);
    if (slowest[0]) {
        puts(slowest);
    }
}

static err show(watch *w) {
    json_t *model = NULL, *nodes = NULL;
    err e = http_client_get(w->http, "/v1/model", &model);
    e = e ? e : http_client_get(w->http, "/v1/nodes", &nodes);
    e = e ? e : fetch_metrics(w);
    if (!e) {
        count(w, nodes);
        printf("%s", w->is_terminal ? "\033[H\033[2J" : "");
        show_model(w, model);
        show_rates(w, model);
        show_nodes(w, nodes);
        show_slowest(nodes);
        w->before = w->now;
    }
    w->has_before = !e;
    json_decref(model);
    json_decref(nodes);
    return e;
}

/* Shows the server's state every `seconds` until a stop is asked for (ERR_OK). On a terminal each picture takes the
 * place of the one before. A server that does not answer is shown as such, and asked again. */
static err watch_server(http_client *h, const char *server, int64_t seconds) {
    watch w = {.http = h, .server = server, .is_terminal = isatty(STDOUT_FILENO)};
    err e = ERR_OK;
    while (!e && !interrupt_asked()) {
        e = show(&w);
        if (e == ERR_NETWORK) {
            printf("%s%s\n", w.is_terminal ? "\033[H\033[2J" : "", err_text());
            e = ERR_OK;
        }
        if (fflush(stdout) || ferror(stdout)) {
            e = e ? e : err_system(ERR_IO, "standard output");
        }
        if (!e) {
            interrupt_sleep((int)(1000 * seconds));
        }
    }
    free(w.metrics);
    return interrupt_asked() ? ERR_OK : e;
}

/* Once. */

/* Empty where nobody lets the server wait, or it does not say without a token. */
static void find_slowest(http_client *h, char slowest[SLOWEST_MAX]) {
    json_t *nodes = NULL;
    slowest[0] = '\0';
    if (!http_client_get(h, "/v1/nodes", &nodes)) {
        name_slowest(nodes, slowest);
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
    char slowest[SLOWEST_MAX];
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
        e = o.watch_s ? watch_server(h, o.server, o.watch_s) : ask_until_ready(h, &o);
    }
    http_client_free(h);
    return e;
}
