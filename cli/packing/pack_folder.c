#include "cli/packing/pack_folder.h"

#include "base/interrupt.h"

#include <stdio.h>
#include <unistd.h>

/* All files there may be, those that make a folder a portion or labels last. */
static const char *const names[] = {"train.npy",     "test.npy",     "train-labels.npy",  "test-labels.npy",
                                    "train-ids.txt", "test-ids.txt", PACK_FOLDER_PORTION, PACK_FOLDER_LABELS};
enum { NAMES = sizeof names / sizeof names[0], LAST_NAMES = 2 };

err pack_folder_check(const char *folder, const char *other) {
    char path[FILE_PATH_MAX];
    err e = file_path(path, sizeof path, "%s/%s", folder, other);
    return e || !file_exists(path)
               ? e
               : err_fail(ERR_INPUT, "%s is there: labels and a portion want folders of their own", path);
}

err pack_folder_begin(pack_folder *f, const char *path) {
    *f = (pack_folder){.path = path, .was_there = file_exists(path)};
    return file_path(f->part, sizeof f->part, "%s/" FILE_PART_SUFFIX "%d", path, (int)getpid());
}

static err remove_file(const char *folder, const char *name) {
    char path[FILE_PATH_MAX];
    err e = file_path(path, sizeof path, "%s/%s", folder, name);
    return e || !file_exists(path) || unlink(path) == 0 ? e : err_system(ERR_IO, "%s: cannot be removed", path);
}

static err move(const pack_folder *f, const char *name) {
    char from[FILE_PATH_MAX], to[FILE_PATH_MAX];
    err e = file_path(from, sizeof from, "%s/%s", f->part, name);
    e = e ? e : file_path(to, sizeof to, "%s/%s", f->path, name);
    bool is_done = e || !file_exists(from) || rename(from, to) == 0;
    return is_done ? e : err_system(ERR_IO, "%s: cannot rename into place", to);
}

/* A folder in which old and new lie side by side is neither a portion nor labels. That is soon over: nothing is synced
 * before the end. */
static err move_all(const pack_folder *f) {
    err e = ERR_OK;
    for (uint32_t i = NAMES - LAST_NAMES; i < NAMES && !e; i++) {
        e = remove_file(f->path, names[i]);
    }
    for (uint32_t i = 0; i < NAMES && !e; i++) {
        e = move(f, names[i]);
    }
    return e;
}

static void remove_part(const pack_folder *f) {
    for (uint32_t i = 0; i < NAMES; i++) {
        char path[FILE_PATH_MAX];
        if (!file_path(path, sizeof path, "%s/%s", f->part, names[i])) {
            unlink(path);
        }
    }
    rmdir(f->part);
    if (!f->was_there) {
        rmdir(f->path);
    }
}

err pack_folder_end(pack_folder *f, err e) {
    e = e ? e : interrupt_check();
    e = e ? e : move_all(f);
    if (e) {
        remove_part(f);
        return e;
    }
    rmdir(f->part);
    file_sync_folder_of(f->part);
    return ERR_OK;
}
