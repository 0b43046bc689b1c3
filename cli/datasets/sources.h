/* Where the files of data sets come from: a folder, or public mirrors. What is taken has the published SHA-256. */
#ifndef FEWBIT_CLI_DATASETS_SOURCES_H
#define FEWBIT_CLI_DATASETS_SOURCES_H

#include "data/dataset.h"

typedef struct sources_request {
    const dataset *set;
    const char *to;     /* the folder to fill; exists */
    const char *from;   /* a folder that has the files, or a folder of them named as the set; NULL: none is named */
    const char *mirror; /* a base URL; NULL: none is named */
} sources_request;

/* Whether the folder holds all the set's files, all of one edition, digests checked. */
err sources_check(const dataset *set, const char *folder, size_t *edition);

/* Takes the files from the source that is named, else asks those that are known, in order; each failure has a line in
 * a line on standard error. */
err sources_take(const sources_request *request);

#endif
