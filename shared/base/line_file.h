/* A file of lines of JSON that only grows, such as results and the log of a run: it has whole lines, whatever stops the
 * writing.
 *
 * Half a last line, of a process that was killed or of a full disk, is cut off. What cannot be written is lost and
 * counted; the log is told when that begins, and with how much was lost when it ends. */
#ifndef FEWBIT_BASE_LINE_FILE_H
#define FEWBIT_BASE_LINE_FILE_H

#include "base/err.h"

typedef struct line_file {
    const char *name; /* for the log; borrowed */
    int fd;
    bool may_block;      /* it is a pipe or a terminal */
    bool is_torn;        /* it ends in half a line that could not be cut off */
    bool is_failing;     /* the last write failed */
    uint64_t lost;       /* lines, in all */
    uint64_t lost_since; /* lines, since it fails */
} line_file;

/* Appends to `path`, which is made where there is none. A named pipe is waited for until somebody reads it. ERR_INPUT:
 * the file ends in something else. ERR_STOPPED: asked to stop meanwhile. */
err line_file_open(line_file *f, const char *path);

/* The same with a descriptor that is open already and stays so: a pipe, a terminal, a file. */
void line_file_over(line_file *f, int fd, const char *name);

/* Writes whole lines. What is not taken by then is lost: an asked stop ends the waiting for a pipe. */
void line_file_write(line_file *f, const char *lines, size_t length);

/* Closes what line_file_open has opened. */
void line_file_close(line_file *f);

#endif
