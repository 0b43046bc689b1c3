/* What every fuzz target needs beside its input: checks that end the process, and a folder for its files. */
#ifndef FEWBIT_TESTS_LIB_FUZZ_CHECK_H
#define FEWBIT_TESTS_LIB_FUZZ_CHECK_H

#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "tests/lib/temporary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A property that must hold for every input. The failing input is kept by replay.h or by libFuzzer. */
#define FUZZ_CHECK(holds, ...)                                                                                         \
    do {                                                                                                               \
        if (!(holds)) {                                                                                                \
            fprintf(stderr, "%s:%d: '%s' does not hold: ", __FILE__, __LINE__, #holds);                                \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static char fuzz_folder_path[TEMPORARY_PATH_MAX];

static inline void fuzz_remove_folder(void) {
    temporary_remove(fuzz_folder_path);
}

/* A folder of this process, in memory where the system has such a place; gone at exit. */
static inline const char *fuzz_folder(void) {
    if (!fuzz_folder_path[0]) {
        const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : NULL;
        FUZZ_CHECK(temporary_make(fuzz_folder_path, root, "fewbit-fuzz"), "no temporary folder");
        atexit(fuzz_remove_folder);
    }
    return fuzz_folder_path;
}

/* FOLDER/NAME; the text is good until the next call but three. */
static inline const char *fuzz_path(const char *name) {
    static char paths[4][FILE_PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 4];
    FUZZ_CHECK(file_path(path, FILE_PATH_MAX, "%s/%s", fuzz_folder(), name) == ERR_OK, "%s", err_text());
    return path;
}

static inline void fuzz_write(const char *path, const void *bytes, size_t length) {
    FILE *file = fopen(path, "wbe");
    FUZZ_CHECK(file && fwrite(bytes, 1, length, file) == length && fclose(file) == 0, "cannot write %s", path);
}

/* An error comes with one line that says what was wrong. */
static inline void fuzz_check_told(err e) {
    FUZZ_CHECK(e != ERR_INTERNAL, "%s", err_text());
    FUZZ_CHECK(e == ERR_OK || err_text()[0] != '\0', "error %d has no line", (int)e);
    FUZZ_CHECK(!strchr(err_text(), '\n'), "the error has more than one line");
}

#endif
