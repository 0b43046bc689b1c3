/* Progress of a training, for people: a bar on a terminal, plain lines elsewhere. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_PROGRESS_H
#define FEWBIT_DECODER_SERVER_TRAIN_PROGRESS_H

#include "decoder_server/train/train_loop.h"

typedef struct progress {
    bool is_terminal;
    uint64_t started_ns, shown_ns;
} progress;

void progress_start(progress *p);

/* Prints to standard error, at most ten times a second (a line every five seconds where it is no terminal); an ended
 * epoch always gets its line. */
void progress_show(progress *p, const train_loop_progress *now);

/* Leaves the bar's line. */
void progress_end(progress *p);

#endif
