#include "cli/commands/commands.h"

#include "base/options.h"
#include "experiment/load.h"
#include "experiment/serialize.h"

#include <limits.h>
#include <stdio.h>

static const options_entry none[] = {{0}};

static const options_command command = {
    .arguments = "FILE [KEY...]",
    .least = 1,
    .most = INT_MAX,
    .about =
        "Prints values of an experiment as resolved, defaults among them, one a line: a text as it is, all else as a "
        "file would have it. Without a KEY it prints the whole experiment.",
    .notes = "A KEY is name or title, or SECTION.KEY, for one encoder.bits.",
    .entries = none,
};

err experiment_get_main(int argc, char **argv) {
    char text[EXPERIMENT_TEXT_MAX];
    experiment experiment;
    options_arguments arguments;
    size_t length = 0;
    err e = options_parse(&command, argc, argv, NULL, &arguments);
    e = e ? e : experiment_load(arguments.list[0], &experiment);
    if (!e && arguments.count == 1) {
        e = experiment_serialize(&experiment, text, &length);
        fwrite(text, 1, length, stdout);
    }
    for (int i = 1; i < arguments.count && !e; i++) {
        e = experiment_value(&experiment, arguments.list[i], text);
        if (!e) {
            puts(text);
        }
    }
    return e;
}
