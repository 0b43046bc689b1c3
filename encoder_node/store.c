#include "encoder_node/store.h"

#include "base/file.h"

#include <inttypes.h>
#include <stdio.h>

err store_open(store *s, const char *state, uint64_t run, uint32_t portion) {
    s->id = (checkpoint_id){.run = run};
    snprintf(s->id.part, sizeof s->id.part, "encoder.%u", portion);
    err e = file_path(s->folder, sizeof s->folder, "%s/%016" PRIx64, state, run);
    return e ? e : file_make_folders(s->folder);
}

err store_save(store *s, uint64_t step, nn_net *net, const nn_optimiser *o, uint8_t digest[DIGEST_BYTES]) {
    char path[FILE_PATH_MAX];
    err e = checkpoint_path(s->folder, step, path);
    s->id.step = step;
    return e ? e : checkpoint_save(path, &s->id, net, o, digest);
}

err store_load(store *s, uint64_t step, nn_net *net, nn_optimiser *o, const uint8_t *digest) {
    char path[FILE_PATH_MAX];
    err e = checkpoint_path(s->folder, step, path);
    s->id.step = step;
    return e ? e : checkpoint_load(path, &s->id, net, o, digest);
}

void store_prune(const store *s, const uint64_t *keep, size_t count) {
    checkpoint_prune(s->folder, keep, count);
}
