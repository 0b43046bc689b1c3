/* Samples become the server's labels folder. Classes are sorted: by their numbers where all names are whole numbers,
 * else by their bytes. */
#ifndef FEWBIT_CLI_PACKING_PACK_LABELS_H
#define FEWBIT_CLI_PACKING_PACK_LABELS_H

#include "cli/packing/pack_parts.h"
#include "data/labels.h"

/* Writes the folder. ERR_INPUT: a sample without a class, one whose class no training sample has, too few classes or
 * too many. Fills `l` but for its dataset, and takes the ids of the order; the caller ends it with labels_close, also
 * after a failure. */
err pack_labels_write(const char *folder, const pack_samples *s, pack_order *o, labels *l);

#endif
