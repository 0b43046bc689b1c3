#include "cli/file_list.h"

#include "base/file.h"

#include <string.h>

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
