#include "base/line_file.h"

#include "base/file.h"
#include "base/interrupt.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_BYTES = 4096, READER_MS = 50 };

/* Where the last whole line ends; *length is the file's. What follows it must be a line that was begun: of another kind
 * of file nothing is cut off. */
static err find_last_end(const char *path, uint64_t *end, uint64_t *length) {
    char piece[PIECE_BYTES];
    int fd;
    err e = file_open(path, &fd, length);
    if (e) {
        return e;
    }
    for (*end = *length; *end > 0 && !e;) {
        size_t size = *end < sizeof piece ? (size_t)*end : sizeof piece;
        e = file_read_at(fd, path, *end - size, piece, size);
        const char *newline = e ? NULL : memrchr(piece, '\n', size);
        if (newline) {
            *end -= size - (size_t)(newline - piece) - 1;
            break;
        }
        *end -= size;
    }
    char first = '{';
    e = e || *end == *length ? e : file_read_at(fd, path, *end, &first, 1);
    close(fd);
    return e || first == '{' ? e : err_fail(ERR_INPUT, "%s: ends in something else than lines of JSON", path);
}

/* What a process that was killed, or a disk that was full, has left of its last line. */
static err cut_half_line(line_file *f, const char *path) {
    uint64_t end, length;
    if (f->may_block) {
        return ERR_OK;
    }
    err e = find_last_end(path, &end, &length);
    if (e || end == length) {
        return e;
    }
    f->is_torn = ftruncate(f->fd, (off_t)end) != 0;
    log_event(LOG_WARN, "half_line_found", "%s: ends in half a line of %" PRIu64 " bytes, which is %s", path,
              length - end, f->is_torn ? "ended" : "cut off");
    return ERR_OK;
}

void line_file_over(line_file *f, int fd, const char *name) {
    struct stat status;
    *f = (line_file){.fd = fd, .name = name};
    f->may_block = fd >= 0 && (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode));
}

static bool is_pipe(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISFIFO(status.st_mode);
}

/* A named pipe opens once somebody reads it. */
static err open_to_append(const char *path, int *fd) {
    bool is_told = false;
    while ((*fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666)) < 0 && errno == ENXIO &&
           is_pipe(path)) {
        err stopped = interrupt_check();
        if (stopped) {
            return stopped;
        }
        if (!is_told) {
            log_event(LOG_INFO, "reader_awaited", "%s: a pipe that nobody reads; waiting for a reader", path);
            is_told = true;
        }
        interrupt_sleep(READER_MS);
    }
    return *fd < 0 ? err_system(ERR_IO, "%s: cannot open", path) : ERR_OK;
}

err line_file_open(line_file *f, const char *path) {
    int fd;
    err opened = open_to_append(path, &fd);
    if (opened) {
        return opened;
    }
    line_file_over(f, fd, path);
    err e = cut_half_line(f, path);
    if (e) {
        close(f->fd);
    }
    return e;
}

/* Waits until a pipe takes PIPE_BUF bytes at once; false: asked to stop, and it does not. */
static bool takes_more(int fd) {
    struct pollfd waits[] = {{.fd = fd, .events = POLLOUT}, {.fd = interrupt_descriptor(), .events = POLLIN}};
    do {
        poll(waits, 2, interrupt_asked() ? 0 : -1);
        if (waits[0].revents) {
            return true;
        }
    } while (!interrupt_asked());
    errno = EAGAIN;
    return false;
}

/* Bytes that are with the system. */
static size_t write_out(const line_file *f, const char *bytes, size_t length) {
    size_t done = 0, most = f->may_block ? PIPE_BUF : length;
    while (done < length && (!f->may_block || takes_more(f->fd))) {
        size_t left = length - done;
        ssize_t n = write(f->fd, bytes + done, left < most ? left : most);
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return done;
}

static uint64_t lines_in(const char *bytes, size_t length) {
    uint64_t count = 0;
    for (const char *at = bytes; (at = memchr(at, '\n', (size_t)(bytes + length - at))); at++) {
        count++;
    }
    return count;
}

static void tell_end(line_file *f) {
    log_event(LOG_WARN, "lines_lost", "%s: %" PRIu64 " lines were lost before it could be written again", f->name,
              f->lost_since);
    f->is_failing = false;
    f->lost_since = 0;
}

/* The first `done` of `length` bytes are there: what is half a line goes again. */
static void note_loss(line_file *f, const char *lines, size_t done, size_t length) {
    int why = errno;
    const char *newline = done ? memrchr(lines, '\n', done) : NULL;
    size_t whole = newline ? (size_t)(newline - lines) + 1 : 0;
    if (done > whole) {
        off_t end = lseek(f->fd, 0, SEEK_CUR);
        f->is_torn = end < 0 || ftruncate(f->fd, end - (off_t)(done - whole)) != 0;
    }
    uint64_t lost = lines_in(lines + whole, length - whole);
    f->lost += lost;
    f->lost_since += lost;
    if (!f->is_failing) {
        f->is_failing = true;
        log_event(LOG_ERROR, "file_write_failed", "%s: cannot be written, lines are lost: %s", f->name, strerror(why));
    }
}

void line_file_write(line_file *f, const char *lines, size_t length) {
    if (f->is_torn && write_out(f, "\n", 1) == 1) {
        f->is_torn = false;
    }
    size_t done = f->is_torn ? 0 : write_out(f, lines, length);
    if (done < length) {
        note_loss(f, lines, done, length);
    } else if (f->is_failing) {
        tell_end(f);
    }
}

void line_file_close(line_file *f) {
    if (f->fd > STDERR_FILENO) {
        close(f->fd);
    }
}
