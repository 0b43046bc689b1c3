#include "cli/packing/file_names.h"

#include "base/file.h"
#include "base/interrupt.h"
#include "cli/packing/pack_samples.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

bool file_names_is_folder(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

err file_names_path(const file_name *file, const char *folder, char *to, size_t size) {
    return file->inside ? file_path(to, size, "%s/%s/%s", folder, file->inside, file->name)
                        : file_path(to, size, "%s/%s", folder, file->name);
}

static int compare(const void *a, const void *b) {
    return strcmp(((const file_name *)a)->id, ((const file_name *)b)->id);
}

static err add(dynbuf *to, const char *inside, const char *name) {
    file_name file = {.inside = inside ? strdup(inside) : NULL, .name = strdup(name), .id = strdup(name)};
    if (file.id) {
        *strrchr(file.id, '.') = '\0';
    }
    dynbuf_add(to, &file, sizeof file);
    bool is_added = !to->has_failed && file.name && file.id && (file.inside || !inside);
    return is_added ? ERR_OK : err_fail(ERR_MEMORY, "no memory for so many files, or more than %d", PACK_SAMPLES_MAX);
}

static err look_in(dynbuf *to, const char *folder, const char *inside, file_names_wants *wants) {
    char path[FILE_PATH_MAX];
    err e = file_path(path, sizeof path, inside ? "%s/%s" : "%s", folder, inside);
    DIR *entries = e ? NULL : opendir(path);
    if (!entries) {
        return e ? e : err_system(ERR_IO, "%s: cannot open", path);
    }
    for (struct dirent *entry; !e && (entry = readdir(entries));) {
        const char *name = entry->d_name;
        char within[FILE_PATH_MAX];
        e = interrupt_check();
        if (e || name[0] == '.') {
            continue;
        }
        if (wants(name)) {
            e = add(to, inside, name);
        } else if (!inside && !file_path(within, sizeof within, "%s/%s", folder, name) &&
                   file_names_is_folder(within)) {
            e = look_in(to, folder, name, wants);
        }
    }
    closedir(entries);
    return e;
}

static const char *folder_of(const file_name *file) {
    return file->inside ? file->inside : ".";
}

err file_names_check(const file_names *f, const char *folder) {
    for (uint32_t i = 1; i < f->count; i++) {
        const file_name *a = &f->list[i - 1], *b = &f->list[i];
        if (strcmp(a->id, b->id) == 0) {
            return err_fail(ERR_INPUT, "%s: the id '%s' is there twice: %s/%s and %s/%s; files are named by their ids",
                            folder, b->id, folder_of(a), a->name, folder_of(b), b->name);
        }
    }
    return ERR_OK;
}

err file_names_list(file_names *f, const char *folder, file_names_wants *wants) {
    dynbuf found = dynbuf_make(PACK_SAMPLES_MAX * sizeof(file_name));
    err e = look_in(&found, folder, NULL, wants);
    *f = (file_names){(file_name *)found.bytes, (uint32_t)(found.length / sizeof(file_name))};
    e = e || f->count > 0 ? e : err_fail(ERR_INPUT, "%s: has no file of that kind", folder);
    if (e) {
        file_names_free(f);
        return e;
    }
    qsort(f->list, f->count, sizeof *f->list, compare);
    return ERR_OK;
}

void file_names_free(file_names *f) {
    for (uint32_t i = 0; i < f->count; i++) {
        free(f->list[i].inside);
        free(f->list[i].name);
        free(f->list[i].id);
    }
    free(f->list);
    *f = (file_names){0};
}
