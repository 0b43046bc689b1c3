#include "data/sample_ids.h"

#include "base/byte_reader.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const file_names[] = {"train-ids.txt", "test-ids.txt"};

struct sample_ids {
    uint32_t samples[2];
    char *text[2];      /* every id with its zero */
    size_t length[2];   /* of text */
    size_t *offsets[2]; /* [samples]: where each begins */
    uint32_t *table;    /* [slots]: 1 + the number of a sample, through both splits; 0: free */
    size_t slots;       /* a power of two, more than twice the samples */
};

bool sample_id_is_valid(const char *id) {
    size_t length = strnlen(id, SAMPLE_ID_MAX + 1);
    return length >= 1 && length <= SAMPLE_ID_MAX && utf8_is_plain(id);
}

const char *sample_id_count(const uint32_t samples[2], enum dataset_split split, uint32_t index,
                            char text[SAMPLE_ID_MAX + 1]) {
    uint64_t number = (uint64_t)index + (split == DATASET_TEST ? samples[DATASET_TRAIN] : 0);
    snprintf(text, SAMPLE_ID_MAX + 1, "%" PRIu64, number);
    return text;
}

bool sample_id_find_counted(const uint32_t samples[2], const char *id, enum dataset_split *split, uint32_t *index) {
    size_t length = strspn(id, "0123456789");
    if (length == 0 || length > 10 || id[length] != '\0' || (id[0] == '0' && length > 1)) {
        return false;
    }
    uint64_t number = strtoull(id, NULL, 10), train = samples[DATASET_TRAIN];
    *split = number < train ? DATASET_TRAIN : DATASET_TEST;
    *index = (uint32_t)(number < train ? number : number - train);
    return number < train + samples[DATASET_TEST];
}

/* The table: FNV-1a, and on to the next slot where one is taken. */

static size_t slot_of(const sample_ids *ids, const char *id) {
    uint64_t hash = 14695981039346656037u;
    for (; *id; id++) {
        hash = (hash ^ (uint8_t)*id) * 1099511628211u;
    }
    return (size_t)(hash ^ hash >> 32) & (ids->slots - 1);
}

static const char *id_of(const sample_ids *ids, uint32_t number) {
    uint32_t train = ids->samples[DATASET_TRAIN];
    return number < train ? sample_ids_get(ids, DATASET_TRAIN, number)
                          : sample_ids_get(ids, DATASET_TEST, number - train);
}

/* The slot that holds `id`, or the free one where it would go. */
static size_t look_up(const sample_ids *ids, const char *id) {
    size_t slot = slot_of(ids, id);
    while (ids->table[slot] && strcmp(id_of(ids, ids->table[slot] - 1), id) != 0) {
        slot = (slot + 1) & (ids->slots - 1);
    }
    return slot;
}

/* The path of a file of a folder; without one its name. */
static err path_of(const char *folder, enum dataset_split split, char path[FILE_PATH_MAX]) {
    return file_path(path, FILE_PATH_MAX, folder ? "%s/%s" : "%s%s", folder ? folder : "", file_names[split]);
}

/* Puts the ids of a split, which lie in `text`, into the table. */
static err index_split(sample_ids *ids, enum dataset_split split, const char *folder) {
    char path[FILE_PATH_MAX];
    err e = path_of(folder, split, path);
    if (e) {
        return e;
    }
    const char *at = ids->text[split];
    uint32_t before = split == DATASET_TEST ? ids->samples[DATASET_TRAIN] : 0;
    for (uint32_t i = 0; i < ids->samples[split]; i++, at += strlen(at) + 1) {
        if (!sample_id_is_valid(at)) {
            return err_fail(ERR_INPUT, "%s:%u: is no id: 1 to %d bytes of printable UTF-8", path, i + 1, SAMPLE_ID_MAX);
        }
        ids->offsets[split][i] = (size_t)(at - ids->text[split]);
        size_t slot = look_up(ids, at);
        if (ids->table[slot]) {
            uint32_t other = ids->table[slot] - 1, train = ids->samples[DATASET_TRAIN];
            return err_fail(ERR_INPUT, "%s:%u: the id '%s' is there already, of %s sample %u", path, i + 1, at,
                            other < train ? "training" : "test", other < train ? other : other - train);
        }
        ids->table[slot] = before + i + 1;
    }
    return ERR_OK;
}

static err take_memory(sample_ids *ids) {
    uint64_t all = (uint64_t)ids->samples[DATASET_TRAIN] + ids->samples[DATASET_TEST];
    ids->slots = 4;
    while (ids->slots <= 2 * all) {
        ids->slots *= 2;
    }
    ids->table = calloc(ids->slots, sizeof *ids->table);
    for (int split = 0; split < 2; split++) {
        ids->offsets[split] = calloc((size_t)ids->samples[split] + 1, sizeof *ids->offsets[split]);
    }
    return ids->table && ids->offsets[0] && ids->offsets[1]
               ? ERR_OK
               : err_fail(ERR_MEMORY, "no memory for %llu ids", (unsigned long long)all);
}

static err start(sample_ids **out, const uint32_t samples[2]) {
    sample_ids *ids = calloc(1, sizeof *ids);
    if (!ids) {
        return err_fail(ERR_MEMORY, "no memory for ids");
    }
    memcpy(ids->samples, samples, sizeof ids->samples);
    *out = ids;
    return ERR_OK;
}

/* Once the texts are there, or `e` says that they are not. */
static err finish(sample_ids **out, sample_ids *ids, err e, const char *folder) {
    e = e ? e : take_memory(ids);
    e = e ? e : index_split(ids, DATASET_TRAIN, folder);
    e = e ? e : index_split(ids, DATASET_TEST, folder);
    if (e) {
        sample_ids_free(ids);
        return e;
    }
    *out = ids;
    return ERR_OK;
}

/* From a list. */

static err join(sample_ids *ids, enum dataset_split split, const char *const *list) {
    size_t length = 0;
    for (uint32_t i = 0; i < ids->samples[split]; i++) {
        length += strlen(list[i]) + 1;
    }
    char *to = malloc(length + 1);
    if (!to) {
        return err_fail(ERR_MEMORY, "no memory for %zu bytes of ids", length);
    }
    ids->text[split] = to;
    ids->length[split] = length;
    for (uint32_t i = 0; i < ids->samples[split]; i++) {
        to = stpcpy(to, list[i]) + 1;
    }
    return ERR_OK;
}

err sample_ids_new(sample_ids **out, const char *const *const list[2], const uint32_t samples[2]) {
    sample_ids *ids = NULL;
    err e = start(&ids, samples);
    if (e) {
        return e;
    }
    e = join(ids, DATASET_TRAIN, list[DATASET_TRAIN]);
    e = e ? e : join(ids, DATASET_TEST, list[DATASET_TEST]);
    return finish(out, ids, e, NULL);
}

/* From files. */

static err split_lines(sample_ids *ids, enum dataset_split split, const char *path) {
    char *text = ids->text[split];
    size_t length = ids->length[split], lines = 0;
    if (memchr(text, '\0', length)) {
        return err_fail(ERR_INPUT, "%s: holds a zero byte", path);
    }
    for (char *at = text; (at = memchr(at, '\n', length - (size_t)(at - text))); at++) {
        *at = '\0';
        lines++;
    }
    if (lines != ids->samples[split] || (length > 0 && text[length - 1] != '\0')) {
        return err_fail(ERR_INPUT, "%s: has %zu whole lines, the folder %u samples", path, lines, ids->samples[split]);
    }
    return ERR_OK;
}

static err read_split(sample_ids *ids, const char *folder, enum dataset_split split) {
    char path[FILE_PATH_MAX];
    uint8_t *bytes;
    err e = path_of(folder, split, path);
    e = e ? e : file_read(path, (size_t)ids->samples[split] * (SAMPLE_ID_MAX + 1), &bytes, &ids->length[split]);
    if (e) {
        return e;
    }
    ids->text[split] = (char *)bytes;
    return split_lines(ids, split, path);
}

err sample_ids_read(sample_ids **out, const char *folder, const uint32_t samples[2]) {
    sample_ids *ids = NULL;
    err e = start(&ids, samples);
    if (e) {
        return e;
    }
    e = read_split(ids, folder, DATASET_TRAIN);
    e = e ? e : read_split(ids, folder, DATASET_TEST);
    return finish(out, ids, e, folder);
}

static err write_split(const sample_ids *ids, const char *folder, enum dataset_split split) {
    char path[FILE_PATH_MAX];
    size_t length = ids->length[split];
    char *lines = malloc(length + 1);
    err e = path_of(folder, split, path);
    if (!lines) {
        return err_fail(ERR_MEMORY, "%s: no memory to write it", path);
    }
    for (size_t i = 0; i < length; i++) {
        lines[i] = ids->text[split][i] ? ids->text[split][i] : '\n';
    }
    e = e ? e : file_write_atomic(path, &(file_span){lines, length}, 1);
    free(lines);
    return e;
}

static err remove_split(const char *folder, enum dataset_split split) {
    char path[FILE_PATH_MAX];
    err e = path_of(folder, split, path);
    bool is_gone = e || !file_exists(path) || unlink(path) == 0;
    return e || is_gone ? e : err_system(ERR_IO, "%s: cannot be removed", path);
}

err sample_ids_write(const sample_ids *ids, const char *folder) {
    err e = ids ? write_split(ids, folder, DATASET_TRAIN) : remove_split(folder, DATASET_TRAIN);
    return e ? e : ids ? write_split(ids, folder, DATASET_TEST) : remove_split(folder, DATASET_TEST);
}

void sample_ids_free(sample_ids *ids) {
    if (ids) {
        for (int split = 0; split < 2; split++) {
            free(ids->text[split]);
            free(ids->offsets[split]);
        }
        free(ids->table);
        free(ids);
    }
}

const char *sample_ids_get(const sample_ids *ids, enum dataset_split split, uint32_t index) {
    return ids->text[split] + ids->offsets[split][index];
}

bool sample_ids_find(const sample_ids *ids, const char *id, enum dataset_split *split, uint32_t *index) {
    uint32_t number = ids->table[look_up(ids, id)], train = ids->samples[DATASET_TRAIN];
    if (number == 0) {
        return false;
    }
    *split = number - 1 < train ? DATASET_TRAIN : DATASET_TEST;
    *index = number - 1 < train ? number - 1 : number - 1 - train;
    return true;
}

err sample_ids_digest(const sample_ids *ids, char hex[SHA256_HEX]) {
    uint8_t digest[SHA256_BYTES], numbers[8];
    byte_put_u32_le(numbers, ids->samples[DATASET_TRAIN]);
    byte_put_u32_le(numbers + 4, ids->samples[DATASET_TEST]);
    const file_span spans[] = {{numbers, sizeof numbers},
                               {ids->text[DATASET_TRAIN], ids->length[DATASET_TRAIN]},
                               {ids->text[DATASET_TEST], ids->length[DATASET_TEST]}};
    err e = sha256_spans(spans, 3, digest);
    if (!e) {
        sha256_hex(digest, hex);
    }
    return e;
}
