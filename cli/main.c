/* fewbit: the tool for people and scripts. */
#include "base/interrupt.h"
#include "base/options.h"
#include "base/process.h"
#include "cli/commands/commands.h"
#include "version.h"

const char *argp_program_version = "fewbit " FEWBIT_VERSION;

static const options_subcommand commands[] = {
    {{"status"}, "whether a server is up and its nodes are there", status_main},
    {{"health"}, "whether one server or one node is well, for what watches them", health_main},
    {{"classify"}, "ask a server for the class of images", classify_main},
    {{"data", "get"}, "bring a data set's files into a folder, checked", data_get_main},
    {{"data", "pack"}, "pack one owner's own portion, or the labels, from its files", data_pack_main},
    {{"data", "split"}, "give every node its own portion, and the server the labels", data_split_main},
    {{"loadtest"}, "put a load on a server, over HTTP or with codes, and report", loadtest_main},
    {{"result"}, "what came out of a training", result_main},
    {{"plot"}, "draw a training: accuracies, loss, the encoders' outputs", plot_main},
    {{"sweep"}, "train a grid of experiments, and a table over their seeds", sweep_main},
    {{"describe"}, "every net of an experiment: layers, shapes, parameters, multiply-adds, memory", describe_main},
    {{"experiment", "list"}, "all experiments, with the paper's accuracies and ours", experiment_list_main},
    {{"experiment", "get"}, "a value of an experiment, as resolved", experiment_get_main},
    {{0}, 0, 0},
};

int main(int argc, char **argv) {
    const options_subcommand *chosen = NULL;
    err e = process_start();
    interrupt_hang_up_stops();
    e = e ? e : options_choose("fewbit", commands, &argc, &argv, &chosen);
    e = e ? e : chosen->run(argc, argv);
    return process_end(e && e != ERR_STOPPED && interrupt_asked() ? err_prefix(ERR_STOPPED, "stopped") : e);
}
