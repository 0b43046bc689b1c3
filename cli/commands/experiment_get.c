#include "cli/commands/commands.h"

#include "base/file.h"
#include "base/options.h"
#include "experiment/load.h"
#include "experiment/serialize.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static const options_entry none[] = {{0}};

static const options_command command = {
    .arguments = "FILE [KEY=VALUE...] [KEY...]",
    .least = 1,
    .most = INT_MAX,
    .summary =
        "Prints values of an experiment as resolved, defaults among them, one a line: a text as it is, all else as a "
        "file would have it. Without a KEY it prints the whole experiment. KEY=VALUE changes one before.",
    .notes = "A KEY is name or title, or SECTION.KEY, for one encoder.bits; of a portion that is listed\n"
             "portions.NAME.KEY.",
    .entries = none,
};

enum { CHANGES_MAX = 32 };

/* Makes all changes at once, for one may need another; the other arguments stay. */
static err change(experiment *e, const char *where, char **arguments, int *count) {
    experiment_override changes[CHANGES_MAX];
    size_t changed = 0;
    int keys = 0;
    for (int i = 0; i < *count; i++) {
        char *value = strchr(arguments[i], '=');
        if (!value) {
            arguments[keys++] = arguments[i];
        } else if (changed == CHANGES_MAX) {
            return err_fail(ERR_USAGE, "'%s' is one change too many: %d at most", arguments[i], CHANGES_MAX);
        } else {
            *value = '\0';
            changes[changed++] = (experiment_override){arguments[i], value + 1};
        }
    }
    *count = keys;
    return changed ? experiment_apply_overrides(e, where, changes, changed) : ERR_OK;
}

static err print_all(const experiment *e, char text[EXPERIMENT_TEXT_MAX]) {
    size_t length = 0;
    err failed = experiment_serialize(e, text, &length);
    fwrite(text, 1, length, stdout);
    return failed;
}

static err print_values(const experiment *e, char **keys, int count) {
    char text[EXPERIMENT_TEXT_MAX];
    err failed = count == 0 ? print_all(e, text) : ERR_OK;
    for (int i = 0; i < count && !failed; i++) {
        failed = experiment_value(e, keys[i], text);
        if (!failed) {
            puts(text);
        }
    }
    return failed;
}

err experiment_get_main(int argc, char **argv) {
    experiment experiment;
    options_arguments a;
    err e = options_parse(&command, argc, argv, NULL, &a);
    e = e ? e : experiment_load(a.list[0], &experiment);
    if (e) {
        return e;
    }
    int count = a.count - 1;
    char where[FILE_PATH_MAX];
    e = file_path(where, sizeof where, "%s as resolved", a.list[0]); /* it is that text whose lines are told */
    e = e ? e : change(&experiment, where, a.list + 1, &count);
    return e ? e : print_values(&experiment, a.list + 1, count);
}
