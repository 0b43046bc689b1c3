/* A temporary folder of this process, for tests: NAME-PID-XXXXXX in TMPDIR (or /tmp, or a root of its own). Those of
 * the same name whose process is gone, killed before it could remove them, are removed first. Header only. */
#ifndef FEWBIT_TESTS_LIB_TEMPORARY_H
#define FEWBIT_TESTS_LIB_TEMPORARY_H

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEMPORARY_PATH_MAX = 256 };

static inline int temporary_remove_entry(const char *name, const struct stat *status, int type, struct FTW *place) {
    (void)status, (void)type, (void)place;
    return remove(name);
}

/* rm -rf. */
static inline int temporary_remove(const char *path) {
    return nftw(path, temporary_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static inline bool temporary_is_stale(const char *entry, const char *name) {
    size_t length = strlen(name);
    int pid = 0;
    return strncmp(entry, name, length) == 0 && sscanf(entry + length, "-%d-", &pid) == 1 && pid > 0 &&
           kill(pid, 0) != 0 && errno == ESRCH;
}

static inline void temporary_remove_stale(const char *root, const char *name) {
    char path[2 * TEMPORARY_PATH_MAX];
    DIR *entries = opendir(root);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        if (temporary_is_stale(entry->d_name, name)) {
            snprintf(path, sizeof path, "%s/%s", root, entry->d_name);
            temporary_remove(path);
        }
    }
    if (entries) {
        closedir(entries);
    }
}

/* `root` NULL: the usual one. False: it cannot be made. */
static inline bool temporary_make(char to[TEMPORARY_PATH_MAX], const char *root, const char *name) {
    static bool has_looked;
    root = root ? root : getenv("TMPDIR");
    root = root ? root : "/tmp";
    if (!has_looked) {
        has_looked = true;
        temporary_remove_stale(root, name);
    }
    int length = snprintf(to, TEMPORARY_PATH_MAX, "%s/%s-%d-XXXXXX", root, name, (int)getpid());
    return length < TEMPORARY_PATH_MAX && mkdtemp(to);
}

#endif
