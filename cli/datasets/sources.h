/* Where data sets come from. */
#ifndef FEWBIT_CLI_DATASETS_SOURCES_H
#define FEWBIT_CLI_DATASETS_SOURCES_H

#include "base/err.h"
#include "data/dataset.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct get {
    const dataset *set;
    const char *to;     /* the folder to fill; exists */
    const char *mirror; /* a base URL, the only source then; or NULL */
    bool offline;       /* ask nothing over the network */
} get;

/* Whether the folder holds all the set's files, all of one edition, digests checked. */
err sources_check(const dataset *set, const char *folder, size_t *edition);

/* Asks the sources in order; each that fails is told in a line on standard error. */
err sources_ask(const get *g);

#endif
