#include "cli/packing/id_list.h"

#include "base/file.h"
#include "base/utf8.h"
#include "cli/packing/pack_arrays.h"

#include <stdlib.h>

struct id_list {
    dynbuf text;         /* the ids, each with a zero */
    const char **list;   /* [count] */
    const char **sorted; /* [count] */
    uint32_t count;
};

static int compare(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static err read_lines(id_list *l, const char *path) {
    uint8_t *bytes;
    size_t length;
    err e = file_read(path, PACK_BYTES_MAX, &bytes, &length);
    if (e) {
        return e;
    }
    for (char *line = (char *)bytes + utf8_mark((char *)bytes, length); line < (char *)bytes + length;) {
        size_t size = strcspn(line, "\r\n");
        char *next = line + size;
        next += next[0] == '\r';
        next += next[0] == '\n';
        if (next == line + size && next < (char *)bytes + length) {
            e = err_fail(ERR_INPUT, "%s: line %u: has a zero byte", path, l->count + 1);
            break;
        }
        dynbuf_add(&l->text, line, size);
        dynbuf_add(&l->text, "", 1);
        l->count++;
        line = next;
    }
    free(bytes);
    return e;
}

static err make_lists(id_list *l, const char *path) {
    l->list = calloc(l->count, sizeof *l->list);
    l->sorted = calloc(l->count, sizeof *l->sorted);
    if (!l->list || !l->sorted || l->text.has_failed) {
        return err_fail(ERR_MEMORY, "%s: no memory for its ids", path);
    }
    const char *at = l->text.bytes;
    for (uint32_t i = 0; i < l->count; i++, at += strlen(at) + 1) {
        l->list[i] = l->sorted[i] = at;
    }
    qsort(l->sorted, l->count, sizeof *l->sorted, compare);
    return ERR_OK;
}

err id_list_read(id_list **out, const char *path) {
    id_list *l = calloc(1, sizeof *l);
    if (!l) {
        return err_fail(ERR_MEMORY, "%s: no memory to read it", path);
    }
    l->text = dynbuf_make(PACK_BYTES_MAX);
    err e = pack_arrays_is(path) ? pack_arrays_read_whole(path, NULL, &l->text, &l->count) : read_lines(l, path);
    e = e || l->count > 0 ? e : err_fail(ERR_INPUT, "%s: has no ids", path);
    e = e ? e : make_lists(l, path);
    if (e) {
        id_list_free(l);
        return e;
    }
    *out = l;
    return ERR_OK;
}

void id_list_free(id_list *l) {
    if (!l) {
        return;
    }
    dynbuf_free(&l->text);
    free(l->list);
    free(l->sorted);
    free(l);
}

const char *const *id_list_all(const id_list *l, uint32_t *count) {
    *count = l->count;
    return l->list;
}

bool id_list_has(const id_list *l, const char *id) {
    return bsearch(&id, l->sorted, l->count, sizeof *l->sorted, compare) != NULL;
}
