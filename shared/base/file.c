#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

err file_path(char *to, size_t size, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(to, size, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= size) {
        return err_fail(ERR_INPUT, "the path '%.64s…' is too long", to);
    }
    return ERR_OK;
}

bool file_exists(const char *path) {
    return access(path, F_OK) == 0;
}

err file_lock(const char *folder, int *lock) {
    *lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0) {
        return err_system(ERR_IO, "%s: cannot open", folder);
    }
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0) {
        return ERR_OK;
    }
    bool is_taken = errno == EWOULDBLOCK;
    close(*lock);
    *lock = -1;
    return is_taken ? err_fail(ERR_INPUT, "%s: another process works in this folder", folder) : ERR_OK;
}

/* Sets errno to ENOTDIR where it is not. */
static bool is_folder(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) {
        return false;
    }
    errno = ENOTDIR;
    return S_ISDIR(status.st_mode);
}

err file_make_folders(const char *path) {
    char partial[FILE_PATH_MAX];
    err e = file_path(partial, sizeof partial, "%s", path);
    if (e || !partial[0]) {
        return e ? e : err_fail(ERR_INPUT, "the folder has no name");
    }
    for (char *c = partial + 1;; c++) {
        if (*c != '/' && *c != '\0') {
            continue;
        }
        char kept = *c;
        *c = '\0';
        if (mkdir(partial, 0777) != 0 && (errno != EEXIST || !is_folder(partial))) {
            return err_system(ERR_IO, "%s: cannot make the folder", partial);
        }
        if (kept == '\0') {
            return ERR_OK;
        }
        *c = kept;
    }
}

err file_open(const char *path, int *fd, uint64_t *length) {
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer must not hold us */
    if (*fd < 0) {
        return err_system(errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: cannot open", path);
    }
    struct stat status;
    if (fstat(*fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size < 0) {
        close(*fd);
        return err_fail(ERR_INPUT, "%s: not a regular file", path);
    }
    *length = (uint64_t)status.st_size;
    return ERR_OK;
}

err file_read_at(int fd, const char *path, uint64_t at, void *to, size_t length) {
    for (size_t have = 0; have < length;) {
        ssize_t got = pread(fd, (uint8_t *)to + have, length - have, (off_t)(at + have));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? err_system(ERR_IO, "%s: cannot read", path)
                           : err_fail(ERR_INPUT, "%s: became shorter while it was read", path);
        }
        have += (size_t)got;
    }
    return ERR_OK;
}

static err read_whole(int fd, const char *path, size_t size, uint8_t **bytes) {
    uint8_t *buffer = malloc(size + 1);
    if (!buffer) {
        return err_fail(ERR_MEMORY, "%s: no memory for %zu bytes", path, size);
    }
    err e = file_read_at(fd, path, 0, buffer, size);
    if (e) {
        free(buffer);
        return e;
    }
    buffer[size] = 0;
    *bytes = buffer;
    return ERR_OK;
}

err file_read(const char *path, size_t cap, uint8_t **bytes, size_t *length) {
    int fd;
    uint64_t size;
    err e = file_open(path, &fd, &size);
    if (e) {
        return e;
    }
    e = size > cap
            ? err_fail(ERR_INPUT, "%s: %llu bytes, more than the %zu allowed", path, (unsigned long long)size, cap)
            : read_whole(fd, path, (size_t)size, bytes);
    *length = e ? *length : (size_t)size;
    close(fd);
    return e;
}

static err write_spans(int fd, const char *path, const file_span *spans, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = spans[i].bytes;
        size_t left = spans[i].length;
        while (left > 0) {
            ssize_t put = write(fd, at, left);
            if (put < 0 && errno == EINTR) {
                continue;
            }
            if (put < 0) {
                return err_system(ERR_IO, "%s: cannot write", path);
            }
            at += put;
            left -= (size_t)put;
        }
    }
    return fsync(fd) == 0 ? ERR_OK : err_system(ERR_IO, "%s: cannot sync", path);
}

void file_sync_folder_of(const char *path) {
    char copy[FILE_PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd); /* some file systems refuse to sync a folder; the rename itself is still atomic */
        close(fd);
    }
}

err file_write_atomic(const char *path, const file_span *spans, size_t count) {
    char temporary[FILE_PATH_MAX];
    err e = file_path(temporary, sizeof temporary, "%s" FILE_PART_SUFFIX "%d", path, (int)getpid());
    if (e) {
        return e;
    }
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return err_system(ERR_IO, "%s: cannot create", temporary);
    }
    e = write_spans(fd, path, spans, count);
    if (close(fd) != 0 && !e) {
        e = err_system(ERR_IO, "%s: cannot close", path);
    }
    if (!e && rename(temporary, path) != 0) {
        e = err_system(ERR_IO, "%s: cannot rename into place", path);
    }
    if (e) {
        unlink(temporary);
        return e;
    }
    file_sync_folder_of(path);
    return ERR_OK;
}

err file_list(const char *folder, const char *pattern, glob_t *found) {
    char whole[2 * FILE_PATH_MAX];
    size_t used = 0;
    *found = (glob_t){0};
    for (; *folder && used < FILE_PATH_MAX; folder++) {
        if (strchr("*?[\\", *folder)) {
            whole[used++] = '\\';
        }
        whole[used++] = *folder;
    }
    err e = file_path(whole + used, sizeof whole - used, "/%s", pattern);
    int failed = e ? 0 : glob(whole, 0, NULL, found);
    return failed && failed != GLOB_NOMATCH ? err_fail(ERR_MEMORY, "no memory to list files") : e;
}
