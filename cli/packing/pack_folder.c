#include "cli/packing/pack_folder.h"

#include "base/file.h"

#include <unistd.h>

err pack_folder_check(const char *folder, const char *other) {
    char path[FILE_PATH_MAX];
    err e = file_path(path, sizeof path, "%s/%s", folder, other);
    return e || !file_exists(path)
               ? e
               : err_fail(ERR_INPUT, "%s is there: labels and a portion want folders of their own", path);
}

err pack_folder_clear(const char *folder, const char *last) {
    char path[FILE_PATH_MAX];
    err e = file_path(path, sizeof path, "%s/%s", folder, last);
    return e || !file_exists(path) || unlink(path) == 0 ? e : err_system(ERR_IO, "%s: cannot be removed", path);
}
