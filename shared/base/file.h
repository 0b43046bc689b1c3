/* Whole files: read with a cap, written so that a reader sees the old file or the new one, never a half. */
#ifndef FEWBIT_BASE_FILE_H
#define FEWBIT_BASE_FILE_H

#include "base/err.h"

#include <glob.h>

typedef struct file_span {
    const void *bytes;
    size_t length;
} file_span;

/* Reads all of `path`; more than `cap` bytes is ERR_INPUT. `*bytes` gets a terminating zero that `*length`
 * does not count; the caller frees it. */
err file_read(const char *path, size_t cap, uint8_t **bytes, size_t *length);

/* Opens a regular file, and nothing else, for reading; *length is what it has now. The caller closes *fd. */
err file_open(const char *path, int *fd, uint64_t *length);

/* Reads `length` bytes from byte `at` on; ERR_INPUT where the file ends before. `path` is for errors. */
err file_read_at(int fd, const char *path, uint64_t at, void *to, size_t length);

/* Writes the spans one after another to a temporary file beside `path`, syncs it, renames it over `path` and
 * syncs the folder. On failure `path` is as it was and the temporary file is gone; of a process that was killed
 * meanwhile it stays, as PATH.part-PID. */
#define FILE_PART_SUFFIX ".part-"
err file_write_atomic(const char *path, const file_span *spans, size_t count);

/* Syncs the folder in which the file at `path` is: what was renamed there lasts. */
void file_sync_folder_of(const char *path);

/* mkdir -p. */
err file_make_folders(const char *path);

bool file_exists(const char *path);

/* Takes a folder for this process; ERR_INPUT where another one has it. *lock: a descriptor, to be closed at the end, or
 * -1 on a file system without locks. Does not outlive the process. */
err file_lock(const char *folder, int *lock);

/* "FOLDER/NAME", formatted; ERR_INPUT when longer than `size`. */
err file_path(char *to, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

enum { FILE_PATH_MAX = 1024 };

/* The paths below `folder` that match `pattern` (as glob has it: "*.yaml", or of its subfolders "*" "/result.json"),
 * in order; none is no error. Names that begin with a dot are left out. The caller ends it with globfree. */
err file_list(const char *folder, const char *pattern, glob_t *found);

#endif
