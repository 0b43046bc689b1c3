/* fewbit: the tool for people and scripts. */
#include "base/interrupt.h"
#include "base/options.h"
#include "base/process.h"
#include "cli/commands/classify.h"
#include "cli/commands/data_get.h"
#include "cli/commands/data_split.h"
#include "cli/commands/experiments.h"
#include "cli/commands/health.h"
#include "cli/commands/loadtest.h"
#include "cli/commands/plot.h"
#include "cli/commands/result.h"
#include "cli/commands/status.h"
#include "cli/commands/sweep.h"

#include <stdio.h>
#include <string.h>

const char *argp_program_version = "fewbit 0.1.0";

typedef struct command {
    const char *words[2];
    err (*run)(int argc, char **argv);
    const char *what;
} command;

static const command commands[] = {
    {{"status"}, status_main, "whether a server is up and its nodes are there"},
    {{"health"}, health_main, "whether one server or one node is well, for what watches them"},
    {{"classify"}, classify_main, "ask a server for the class of images"},
    {{"data", "get"}, data_get_main, "bring a data set's files into a folder, checked"},
    {{"data", "split"}, data_split_main, "give every node its own portion, and the server the labels"},
    {{"loadtest"}, loadtest_main, "put a load on a server, over HTTP or with codes, and report"},
    {{"result"}, result_main, "what came out of a training"},
    {{"plot"}, plot_main, "draw a training: accuracies, loss, the encoders' outputs"},
    {{"sweep"}, sweep_main, "train a grid of experiments, and a table over their seeds"},
    {{"experiments"}, experiments_main, "all experiments, with the paper's accuracies and ours"},
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_usage(FILE *to) {
    fputs("Usage: fewbit COMMAND [OPTION...]\n\n", to);
    for (int i = 0; i < COMMANDS; i++) {
        const command *c = &commands[i];
        int longer = (int)strlen(c->words[0]) - 8; /* than its column */
        fprintf(to, "  %-8s %-*s  %s\n", c->words[0], 6 - (longer > 0 ? longer : 0), c->words[1] ? c->words[1] : "",
                c->what);
    }
    fprintf(to, "\nEach has its own --help. %s\n", err_exit_help);
}

static err run_command(const command *c, int words, int argc, char **argv) {
    char name[64];
    snprintf(name, sizeof name, "fewbit %s%s%s", c->words[0], c->words[1] ? " " : "", c->words[1] ? c->words[1] : "");
    argv[words] = name;
    return c->run(argc - words, argv + words);
}

static err dispatch(int argc, char **argv) {
    for (int i = 0; i < COMMANDS; i++) {
        int words = commands[i].words[1] ? 2 : 1;
        if (argc > words && strcmp(argv[1], commands[i].words[0]) == 0 &&
            (words == 1 || strcmp(argv[2], commands[i].words[1]) == 0)) {
            return run_command(&commands[i], words, argc, argv);
        }
    }
    print_usage(stderr);
    return err_fail(ERR_USAGE, "'%s%s%s' is no command", argc > 1 ? argv[1] : "", argc > 2 ? " " : "",
                    argc > 2 ? argv[2] : "");
}

int main(int argc, char **argv) {
    err e = process_start();
    interrupt_hang_up_stops();
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0)) {
        print_usage(stdout);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts(argp_program_version);
        return 0;
    }
    e = e ? e : dispatch(argc, argv);
    return process_end(e && e != ERR_STOPPED && interrupt_asked() ? err_prefix(ERR_STOPPED, "stopped") : e);
}
