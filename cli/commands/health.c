#include "cli/commands/commands.h"

#include "base/file.h"
#include "base/options.h"
#include "cli/http_client.h"

enum { TIMEOUT_MS = 4000 };

typedef struct health_options {
    const char *url, *ready_file;
} health_options;

static const options_entry entries[] = {
    {OPTIONS_TEXT(health_options, url, "url", "URL", "a decoder server's HTTP address: does its process answer?")},
    {OPTIONS_TEXT(health_options, ready_file, "ready-file", "FILE",
                  "the file a node was given as --ready-file: does it have a server?")},
    {0},
};

static const options_command command = {
    .summary =
        "Says whether a decoder server's process answers, or whether a node has a server. Exit code 0: well; 6: no "
        "answer; 7: not well.",
    .entries = entries,
};

static err ask_server(const char *url) {
    http_client *h = NULL;
    long status = 0;
    json_t *answer = NULL;
    err e = http_client_open(&h, url, TIMEOUT_MS, NULL);
    e = e ? e : http_client_call(h, "/healthz", NULL, &status, &answer);
    json_decref(answer);
    http_client_free(h);
    return e || status == HTTP_OK ? e : err_fail(ERR_REFUSED, "%s: /healthz says %ld", url, status);
}

err health_main(int argc, char **argv) {
    health_options o = {0};
    err e = options_parse(&command, argc, argv, &o, NULL);
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
