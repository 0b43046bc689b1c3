/* The files of a folder by their names. */
#ifndef FEWBIT_CLI_FILE_LIST_H
#define FEWBIT_CLI_FILE_LIST_H

#include "base/err.h"

#include <glob.h>

/* The paths below `folder` that match `pattern` (as glob has it: "*.yaml", or of its subfolders "*" "/result.json"),
 * in order; none is no error. Names that begin with a dot are left out. The caller ends it with globfree. */
err file_list(const char *folder, const char *pattern, glob_t *found);

#endif
