#include "cli/commands/commands.h"

#include "base/file.h"
#include "base/options.h"
#include "cli/datasets/sources.h"

#include <curl/curl.h>
#include <stdio.h>

static const options_entry entries[] = {
    {OPTIONS_TEXT(sources_request, to, "to", "DIR", "folder for the files; made when missing"), .is_required = true},
    {OPTIONS_TEXT(sources_request, from, "from", "DIR", "take them from this folder only, or its subfolder SET")},
    {OPTIONS_TEXT(sources_request, mirror, "mirror", "URL", "fetch from here only; http:// is allowed then")},
    {0},
};

static const options_command command = {
    .arguments = "SET",
    .least = 1,
    .most = 1,
    .summary = "Brings the files of mnist, fashion-mnist, cifar10 or cifar100 into a folder and checks their SHA-256.",
    .notes =
        "Where neither --from nor --mirror says otherwise, they come from Debian's package that has the set, or from "
        "public mirrors over HTTPS. A download that was cut goes on where it stopped.",
    .entries = entries,
};

static err parse(int argc, char **argv, sources_request *g) {
    options_arguments set;
    err e = options_parse(&command, argc, argv, g, &set);
    if (!e && g->from && g->mirror) {
        e = err_fail(ERR_USAGE, "--from and --mirror contradict each other");
    }
    return e ? e : err_prefix(dataset_find(set.list[0], &g->set) ? ERR_USAGE : ERR_OK, "data get");
}

err data_get_main(int argc, char **argv) {
    sources_request g = {0};
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
    e = sources_take(&g);
    curl_global_cleanup();
    e = e ? e : sources_check(g.set, g.to, &edition);
    if (!e) {
        printf("%s: %zu files in %s, checked (%s)\n", g.set->name, g.set->file_count, g.to, g.set->editions[edition]);
    }
    return e;
}
