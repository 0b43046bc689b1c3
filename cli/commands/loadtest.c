#include "cli/commands/commands.h"

#include "base/options.h"
#include "cli/loadgen/load_codes.h"
#include "cli/loadgen/load_http.h"

#include <stdio.h>

enum { TIMEOUT_MS = 30000, RATE_MAX = 100000000, LATENCIES_MAX = 100000000, SAMPLES = 256 };

typedef struct loadtest_options {
    const char *server, *token_file;
    address codes; /* host "": over HTTP */
    bool json;
    int64_t rate, seconds, connections, probes;
} loadtest_options;

static const options_entry entries[] = {
    {OPTIONS_TEXT(loadtest_options, server, "server", "URL", "the decoder server's HTTP address, http://HOST:PORT"),
     .is_required = true},
    {OPTIONS_NUMBER(loadtest_options, rate, "rate", "N", 0, RATE_MAX,
                    "requests, or codewords, a second; 0: as fast as they are taken"),
     .preset = "0"},
    {OPTIONS_NUMBER(loadtest_options, seconds, "seconds", "S", 1, 86400, "how long"), .preset = "10"},
    {OPTIONS_NUMBER(loadtest_options, connections, "connections", "N", 1, 1000, "HTTP connections"), .preset = "8"},
    {OPTIONS_ADDRESS(loadtest_options, codes, "codes",
                     "send codes to this address, where nodes connect, in place of the nodes")},
    {OPTIONS_NUMBER(loadtest_options, probes, "probes", "N", 1, 1000, "with --codes: HTTP requests a second"),
     .preset = "20"},
    {OPTIONS_TEXT(loadtest_options, token_file, "token-file", "FILE", "the server's API token")},
    {OPTIONS_FLAG(loadtest_options, json, "json", "print the report as JSON")},
    {0},
};

static const options_command command = {
    .summary =
        "Puts a load on a serving server at a steady rate, and reports rate and latencies. Over HTTP: random samples "
        "to /v1/classify, through the nodes that are there. With --codes: random codes over one link a portion, for a "
        "server without nodes; HTTP requests, one at a time, measure how late it is. A latency counts from the time a "
        "request "
        "was due, also where it had to wait for the answers to others.",
    .entries = entries,
};

static err run_load(const loadtest_options *o, http_client *h, json_t **report) {
    load_model m;
    load_samples samples;
    if (!o->codes.host[0] && (double)o->rate * (double)o->seconds > LATENCIES_MAX) {
        return err_fail(ERR_USAGE, "--rate times --seconds is more than %d requests", LATENCIES_MAX);
    }
    err e = load_model_ask(&m, h);
    e = e ? e : load_samples_draw(&samples, &m, o->codes.host[0] ? 1 : SAMPLES);
    if (e) {
        return e;
    }
    if (!o->codes.host[0]) {
        const load_http load = {
            .server = o->server,
            .authorization = http_client_authorization(h),
            .rate = (double)o->rate,
            .seconds = (double)o->seconds,
            .connections = (unsigned)o->connections,
            .samples = &samples,
        };
        e = load_http_run(&load, report);
        load_samples_free(&samples);
        return e;
    }
    load_codes load = {
        .server = &o->codes,
        .model = &m,
        .probe = load_samples_body(&samples, 0),
        .rate = (double)o->rate,
        .seconds = (double)o->seconds,
        .probe_rate = (double)o->probes,
        .http = h,
    };
    e = load_codes_run(&load, report);
    load_samples_free(&samples);
    return e;
}

static double number_at(const json_t *report, const char *group, const char *key) {
    return json_number_value(json_object_get(group ? json_object_get(report, group) : report, key));
}

static void print_for_people(const loadtest_options *o, const json_t *report) {
    const char *what = o->codes.host[0] ? "codewords" : "requests", *group = o->codes.host[0] ? "probes" : "latency_ms";
    printf("%.0f %s offered, %.0f sent; %.1f a second over %.2f s\n", number_at(report, NULL, "offered"), what,
           number_at(report, NULL, "sent"), number_at(report, NULL, "rate"), number_at(report, NULL, "seconds"));
    printf("%s: %.0f; median %.3f ms, 90 %% %.3f, 99 %% %.3f, 99.9 %% %.3f, most %.3f\n",
           o->codes.host[0] ? "HTTP requests meanwhile" : "latencies", number_at(report, group, "count"),
           number_at(report, group, "p50"), number_at(report, group, "p90"), number_at(report, group, "p99"),
           number_at(report, group, "p99.9"), number_at(report, group, "max"));
    if (number_at(report, NULL, "asked") > 0) {
        printf("more bits asked of %.0f codes\n", number_at(report, NULL, "asked"));
    }
    const char *status;
    json_t *count;
    json_object_foreach(json_object_get(report, "status"), status, count) {
        if (strcmp(status, "200") != 0) {
            printf("status %s: %lld\n", status, (long long)json_integer_value(count));
        }
    }
}

err loadtest_main(int argc, char **argv) {
    loadtest_options o = {0};
    err e = options_parse(&command, argc, argv, &o, NULL);
    http_client *h = NULL;
    json_t *report = NULL;
    e = e ? e : http_client_open(&h, o.server, TIMEOUT_MS, o.token_file);
    e = e ? e : run_load(&o, h, &report);
    if (!e && o.json) {
        json_dumpf(report, stdout, JSON_INDENT(2));
        puts("");
    } else if (!e) {
        print_for_people(&o, report);
    }
    json_decref(report);
    http_client_free(h);
    return e;
}
