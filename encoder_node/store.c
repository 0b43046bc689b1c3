#include "encoder_node/store.h"

#include "base/file.h"
#include "base/log.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

err store_open(store *s, const char *state, uint64_t run, uint32_t portion) {
    s->id = (checkpoint_id){.run = run};
    snprintf(s->id.part, sizeof s->id.part, "encoder.%u", portion);
    err e = file_path(s->folder, sizeof s->folder, "%s/%016" PRIx64, state, run);
    return e ? e : file_make_folders(s->folder);
}

static err path_of(const store *s, uint64_t step, char path[FILE_PATH_MAX]) {
    return file_path(path, FILE_PATH_MAX, "%s/step-%" PRIu64 ".safetensors", s->folder, step);
}

err store_save(store *s, uint64_t step, nn_net *net, const nn_optimiser *o, uint8_t digest[DIGEST_BYTES]) {
    char path[FILE_PATH_MAX];
    err e = path_of(s, step, path);
    s->id.step = step;
    return e ? e : checkpoint_save(path, &s->id, net, o, digest);
}

err store_load(store *s, uint64_t step, nn_net *net, nn_optimiser *o, const uint8_t *digest) {
    char path[FILE_PATH_MAX];
    err e = path_of(s, step, path);
    s->id.step = step;
    return e ? e : checkpoint_load(path, &s->id, net, o, digest);
}

static bool is_kept(uint64_t step, const uint64_t *keep, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (keep[i] == step) {
            return true;
        }
    }
    return false;
}

void store_prune(const store *s, const uint64_t *keep, size_t count) {
    DIR *folder = opendir(s->folder);
    if (!folder) {
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        uint64_t step;
        int end = 0;
        if (sscanf(entry->d_name, "step-%" SCNu64 ".safetensors%n", &step, &end) != 1 || end == 0 ||
            entry->d_name[end] != '\0' || is_kept(step, keep, count)) {
            continue;
        }
        if (unlinkat(dirfd(folder), entry->d_name, 0) != 0) {
            log_warn("cannot remove %s/%s", s->folder, entry->d_name);
        }
    }
    closedir(folder);
}
