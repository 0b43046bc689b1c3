/* `fewbit plot RUN`: draws a run as SVG files (gnuplot does): accuracies and loss over the epochs, and where each
 * encoder's outputs lay. Of a run that is still going on too. */
#ifndef FEWBIT_CLI_COMMANDS_PLOT_H
#define FEWBIT_CLI_COMMANDS_PLOT_H

#include "base/err.h"

err plot_main(int argc, char **argv);

#endif
