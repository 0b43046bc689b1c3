/* A folder of its own for each test, gone when the test ends. Header only: a test is one program. */
#ifndef FEWBIT_TESTS_LIB_FOLDER_H
#define FEWBIT_TESTS_LIB_FOLDER_H

#include "base/err.h"
#include "base/file.h"
#include "tests/lib/temporary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <dirent.h>

static char folder[TEMPORARY_PATH_MAX];

static inline int make_folder(void **state) {
    (void)state;
    return temporary_make(folder, NULL, "fewbit-test") ? 0 : -1;
}

static inline int remove_folder(void **state) {
    (void)state;
    return temporary_remove(folder);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

/* The path of a file in the folder; valid until the next call. */
static inline const char *in_folder(const char *name) {
    static char path[FILE_PATH_MAX];
    assert_int_equal(file_path(path, sizeof path, "%s/%s", folder, name), ERR_OK);
    return path;
}

static inline void put(const char *name, const void *bytes, size_t length) {
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

/* The caller frees it. */
static inline uint8_t *bytes_of(const char *name, size_t *length) {
    uint8_t *bytes = NULL;
    assert_int_equal(file_read(in_folder(name), (size_t)1 << 24, &bytes, length), ERR_OK);
    return bytes;
}

static inline size_t files_in_folder(void) {
    size_t count = 0;
    DIR *open_folder = opendir(folder);
    assert_non_null(open_folder);
    for (struct dirent *entry; (entry = readdir(open_folder));) {
        count += entry->d_name[0] != '.';
    }
    closedir(open_folder);
    return count;
}

/* The error line must name the folder's file and hold `reason`. */
static inline void assert_told(const char *name, const char *reason) {
    if (!strstr(err_text(), name) || !strstr(err_text(), reason)) {
        fail_msg("'%s' does not tell '%s' and '%s'", err_text(), name, reason);
    }
}

#endif
