/* Subprocesses: other programs, run to their end, and temporary folders for their files. */
#ifndef FEWBIT_CLI_SUBPROCESS_H
#define FEWBIT_CLI_SUBPROCESS_H

#include "base/err.h"

/* Runs argv[0] (found along PATH; `argv` ends with NULL) to its end, without input and without this process's options
 * (FEWBIT_*, but for FEWBIT_LOG_*) in its environment, its output going to the file `log`. Anything but exit status 0
 * is ERR_INPUT with the log's last line; ERR_NOT_FOUND when there is no such program; ERR_STOPPED when this process is
 * asked to stop. The child is ended with this process, however that ends. */
err subprocess_run(const char *const argv[], const char *log);

/* A new folder within `parent`; subprocess_folder_remove removes it and all it holds. */
err subprocess_folder_make(const char *parent, char *path, size_t size);
void subprocess_folder_remove(const char *path);

#endif
