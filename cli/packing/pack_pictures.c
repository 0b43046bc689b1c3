#include "cli/packing/pack_pictures.h"

#include "base/file.h"
#include "base/interrupt.h"
#include "cli/packing/file_names.h"
#include "image/image.h"

#include <stdlib.h>
#include <strings.h>

enum { FILE_BYTES_MAX = 1 << 28 };

bool pack_pictures_are(const char *name) {
    const char *end = strrchr(name, '.');
    return end && (strcasecmp(end, ".png") == 0 || strcasecmp(end, ".jpg") == 0 || strcasecmp(end, ".jpeg") == 0);
}

static err read_pixels(pack_samples *s, const file_name *file) {
    const image_shape shape = {s->shape.dims[0], s->shape.dims[1], s->shape.dims[2]};
    char path[FILE_PATH_MAX];
    uint8_t *bytes, *to = pack_samples_values(s);
    size_t length;
    err e = file_names_path(file, pack_samples_path(s), path, sizeof path);
    e = e ? e : interrupt_check();
    e = e ? e : file_read(path, FILE_BYTES_MAX, &bytes, &length);
    if (e) {
        return e;
    }
    e = to ? image_read_scaled(bytes, length, &shape, to) : ERR_OK;
    free(bytes);
    return e ? err_prefix(e, "%s", path) : ERR_OK;
}

err pack_pictures_read(pack_samples *s, const uint32_t shape[3], bool labels) {
    const portion_shape wanted = {.type = PORTION_U8, .rank = 3, .dims = {shape[0], shape[1], shape[2]}};
    file_names files;
    err e = labels ? ERR_OK : pack_samples_set_shape(s, &wanted);
    e = e ? e : file_names_list(&files, pack_samples_path(s), pack_pictures_are);
    if (e) {
        return e;
    }
    e = file_names_check(&files, pack_samples_path(s));
    for (uint32_t i = 0; i < files.count && !e; i++) {
        e = labels ? ERR_OK : read_pixels(s, &files.list[i]);
        e = e ? e : pack_samples_add(s, files.list[i].id, files.list[i].inside, 0);
    }
    file_names_free(&files);
    return e;
}
