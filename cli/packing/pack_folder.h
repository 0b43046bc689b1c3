/* The folder that is packed into: it has a portion or labels, and never half of either.
 *
 * What is packed is first written to a folder inside it, .part-PID, and takes the place of what is there once it is
 * whole. Where that fails, or is stopped, all is as it was; of a process that was killed .part-PID stays. */
#ifndef FEWBIT_CLI_PACKING_PACK_FOLDER_H
#define FEWBIT_CLI_PACKING_PACK_FOLDER_H

#include "base/file.h"

#define PACK_FOLDER_PORTION "portion.json"
#define PACK_FOLDER_LABELS "labels.json"

typedef struct pack_folder {
    const char *path; /* borrowed */
    bool was_there;
    char part[FILE_PATH_MAX]; /* to be written to, and not made yet */
} pack_folder;

/* ERR_INPUT where the folder has `other`. */
err pack_folder_check(const char *folder, const char *other);

err pack_folder_begin(pack_folder *f, const char *path);

/* After pack_folder_begin, with what writing to `part` has given; returns that, or what fails here. */
err pack_folder_end(pack_folder *f, err e);

#endif
