/* A folder of good files, one of which is replaced by an input: its first byte says which, the rest is the file. */
#ifndef FEWBIT_TESTS_LIB_FUZZ_ONE_FILE_H
#define FEWBIT_TESTS_LIB_FUZZ_ONE_FILE_H

#include "tests/lib/fuzz/check.h"

enum { ONE_FILE_MAX = 5 };

typedef struct one_file {
    const char *folder; /* as fuzz_path takes it */
    int count;
    const char *names[ONE_FILE_MAX];
    file_span good[ONE_FILE_MAX];
} one_file;

static inline const char *one_file_path(const one_file *o, int i) {
    char name[64];
    snprintf(name, sizeof name, "%s/%s", o->folder, o->names[i]);
    return fuzz_path(name);
}

/* The good files are there. */
static inline void one_file_keep(one_file *o) {
    for (int i = 0; i < o->count; i++) {
        uint8_t *bytes;
        FUZZ_CHECK(file_read(one_file_path(o, i), 1 << 20, &bytes, &o->good[i].length) == ERR_OK, "%s", err_text());
        o->good[i].bytes = bytes;
    }
}

static inline void one_file_put(const one_file *o, const uint8_t *data, size_t size) {
    for (int i = 0; i < o->count; i++) {
        bool is_input = i == data[0] % o->count;
        fuzz_write(one_file_path(o, i), is_input ? data + 1 : o->good[i].bytes,
                   is_input ? size - 1 : o->good[i].length);
    }
}

#endif
