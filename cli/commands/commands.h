/* The commands of fewbit. Each has a table of its options, which its --help shows, and does its work; what it finds
 * goes to standard output. */
#ifndef FEWBIT_CLI_COMMANDS_COMMANDS_H
#define FEWBIT_CLI_COMMANDS_COMMANDS_H

#include "base/err.h"

err classify_main(int argc, char **argv);
err data_get_main(int argc, char **argv);
err data_pack_main(int argc, char **argv);
err data_split_main(int argc, char **argv);
err describe_main(int argc, char **argv);
err experiment_get_main(int argc, char **argv);
err experiment_list_main(int argc, char **argv);
err health_main(int argc, char **argv);
err loadtest_main(int argc, char **argv);
err plot_main(int argc, char **argv);
err result_main(int argc, char **argv);
err status_main(int argc, char **argv);
err sweep_main(int argc, char **argv);

#endif
