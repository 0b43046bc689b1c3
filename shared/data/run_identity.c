#include "data/run_identity.h"

#include "base/byte_reader.h"
#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { NUMBER_HEX = 17 };

static err digest_labels(const labels *l, char hex[SHA256_HEX]) {
    uint8_t digest[SHA256_BYTES];
    const file_span spans[] = {{l->values[DATASET_TRAIN], l->samples[DATASET_TRAIN]},
                               {l->values[DATASET_TEST], l->samples[DATASET_TEST]}};
    err e = sha256_spans(spans, 2, digest);
    if (!e) {
        sha256_hex(digest, hex);
    }
    return e;
}

static err take_portions(run_identity *i, const labels *l, const char (*names)[PORTION_NAME_MAX + 1]) {
    i->is_pinned = l->portion_count == 0;
    if (!i->is_pinned && l->portion_count != i->portions) {
        return err_fail(ERR_INPUT, "the labels are of %u portions, the experiment has %u", l->portion_count,
                        i->portions);
    }
    for (uint32_t k = 0; k < i->portions; k++) {
        const char *digest = labels_portion_digest(l, names[k]);
        if (!digest && !i->is_pinned) {
            return err_fail(ERR_INPUT, "the labels know no portion %s", names[k]);
        }
        strcpy(i->portion[k].name, names[k]);
        strcpy(i->portion[k].digest, digest ? digest : "");
    }
    return ERR_OK;
}

err run_identity_of(run_identity *i, const labels *l, const char (*names)[PORTION_NAME_MAX + 1], uint32_t portions) {
    *i = (run_identity){
        .samples = {l->samples[DATASET_TRAIN], l->samples[DATASET_TEST]}, .classes = l->classes, .portions = portions};
    if (getrandom(&i->training, sizeof i->training, 0) != sizeof i->training) {
        return err_system(ERR_IO, "cannot draw a random number");
    }
    err e = take_portions(i, l, names);
    e = e || !l->ids ? e : sample_ids_digest(l->ids, i->ids);
    return e ? e : digest_labels(l, i->labels);
}

err run_identity_pin(run_identity *i, uint32_t portion, const char *digest, bool *is_new) {
    labels_portion *p = &i->portion[portion];
    uint8_t bytes[SHA256_BYTES];
    *is_new = false;
    if (p->digest[0]) {
        return strcmp(p->digest, digest) == 0
                   ? ERR_OK
                   : err_fail(ERR_INPUT, "the data of portion %s has digest %.12s, that of the run %.12s", p->name,
                              digest, p->digest);
    }
    if (!sha256_parse(digest, bytes)) {
        return err_fail(ERR_INPUT, "the digest of portion %s is no SHA-256", p->name);
    }
    sha256_hex(bytes, p->digest);
    *is_new = true;
    return ERR_OK;
}

/* Every span has a length that is fixed, or told before it: no two identities give the same bytes. */
static err digest_all(const run_identity *i, const void *text, size_t length, uint8_t digest[SHA256_BYTES]) {
    enum { BEFORE = 4, SPANS_MAX = BEFORE + PARTITION_PORTIONS_MAX + 1 };
    uint8_t numbers[24];
    byte_put_u64_le(numbers, length);
    byte_put_u32_le(numbers + 8, i->samples[DATASET_TRAIN]);
    byte_put_u32_le(numbers + 12, i->samples[DATASET_TEST]);
    byte_put_u32_le(numbers + 16, i->portions);
    byte_put_u32_le(numbers + 20, i->is_pinned);
    file_span spans[SPANS_MAX] = {
        {numbers, sizeof numbers}, {text, length}, {i->labels, sizeof i->labels}, {i->ids, sizeof i->ids}};
    size_t count = BEFORE;
    for (uint32_t k = 0; k < i->portions && !i->is_pinned; k++) {
        spans[count++] = (file_span){i->portion[k].digest, sizeof i->portion[k].digest};
    }
    if (i->weights_file[0]) {
        spans[count++] = (file_span){i->weights, sizeof i->weights};
    }
    return sha256_spans(spans, count, digest);
}

err run_identity_seal(run_identity *i, const void *text, size_t length) {
    uint8_t digest[SHA256_BYTES];
    err e = digest_all(i, text, length, digest);
    i->run = 0;
    for (int byte = 0; byte < 8 && !e; byte++) {
        i->run = i->run << 8 | digest[byte];
    }
    return e;
}

static json_t *pack_weights(const run_identity *i) {
    char hex[SHA256_HEX];
    sha256_hex(i->weights, hex);
    return i->weights_file[0] ? json_pack("{s:s, s:s}", "file", i->weights_file, "sha256", hex) : json_null();
}

static json_t *pack_portions(const run_identity *i, bool names) {
    json_t *list = json_array();
    for (uint32_t k = 0; k < i->portions; k++) {
        json_list_add(&list, json_string(names ? i->portion[k].name : i->portion[k].digest));
    }
    return list;
}

json_t *run_identity_pack_alignment(const run_identity *i) {
    const run_identity_alignment *a = &i->alignment;
    json_t *samples = json_array();
    for (uint32_t k = 0; k < i->portions; k++) {
        json_list_add(&samples, json_integer((json_int_t)a->samples[k][DATASET_TRAIN]));
        json_list_add(&samples, json_integer((json_int_t)a->samples[k][DATASET_TEST]));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "train", (json_int_t)a->train, "complete",
                     (json_int_t)a->complete, "validation", (json_int_t)a->validation, "test", (json_int_t)a->test,
                     "incomplete_test", (json_int_t)a->incomplete_test, "samples", samples);
}

err run_identity_write(const run_identity *i, const char *folder) {
    char path[FILE_PATH_MAX], run[NUMBER_HEX], training[NUMBER_HEX];
    err e = file_path(path, sizeof path, "%s/identity.json", folder);
    if (e) {
        return e;
    }
    snprintf(run, sizeof run, "%016" PRIx64, i->run);
    snprintf(training, sizeof training, "%016" PRIx64, i->training);
    json_t *alignment = i->alignment.is_known ? run_identity_pack_alignment(i) : NULL;
    if (i->alignment.is_known && !alignment) {
        return err_fail(ERR_MEMORY, "no memory for %s", path);
    }
    return json_fields_write(path,
                             json_pack("{s:s, s:s, s:I, s:I, s:s, s:s, s:o, s:o, s:o, s:b, s:o, s:o*}", "run", run,
                                       "training", training, "train_samples", (json_int_t)i->samples[DATASET_TRAIN],
                                       "test_samples", (json_int_t)i->samples[DATASET_TEST], "labels", i->labels, "ids",
                                       i->ids, "classes", class_names_pack(&i->classes), "portions",
                                       pack_portions(i, true), "portion_digests", pack_portions(i, false), "pinned",
                                       i->is_pinned, "weights", pack_weights(i), "alignment", alignment));
}

static void read_number(json_fields *m, const char *field, uint64_t *to) {
    char hex[NUMBER_HEX] = "";
    json_fields_name(m, field, hex, sizeof hex);
    if (strlen(hex) != NUMBER_HEX - 1 || strspn(hex, "0123456789abcdef") != NUMBER_HEX - 1) {
        json_fields_refuse(m, field, "is not 16 hex digits");
        return;
    }
    *to = strtoull(hex, NULL, 16);
}

static void read_weights(json_fields *m, run_identity *i) {
    const json_t *weights = json_object_get(m->root, "weights");
    const char *file = json_string_value(json_object_get(weights, "file"));
    bool good =
        json_is_null(weights) || (file && file[0] && json_object_size(weights) == 2 &&
                                  sha256_parse(json_string_value(json_object_get(weights, "sha256")), i->weights) &&
                                  !file_path(i->weights_file, sizeof i->weights_file, "%s", file));
    if (!good) {
        json_fields_refuse(m, "weights", "is neither null nor a file and its sha256");
    }
}

static bool is_digest(const char *text) {
    uint8_t bytes[SHA256_BYTES];
    return text && sha256_parse(text, bytes);
}

static void read_portions(json_fields *m, run_identity *i) {
    const json_t *names = json_object_get(m->root, "portions"), *digests = json_object_get(m->root, "portion_digests");
    const json_t *pinned = json_object_get(m->root, "pinned");
    size_t count = json_array_size(names);
    i->is_pinned = json_is_true(pinned);
    if (!json_is_boolean(pinned)) {
        json_fields_refuse(m, "pinned", "is neither true nor false");
    }
    if (count < 1 || count > PARTITION_PORTIONS_MAX || json_array_size(digests) != count) {
        json_fields_refuse(m, "portions", "is not a list of 1 to 64 names, each with a digest");
        return;
    }
    for (; i->portions < count; i->portions++) {
        const char *name = json_string_value(json_array_get(names, i->portions));
        const char *digest = json_string_value(json_array_get(digests, i->portions));
        if (!name || !portion_name_is_valid(name)) {
            json_fields_refuse(m, "portions", "holds something that is no name of a portion");
            return;
        }
        if (!is_digest(digest) && !(i->is_pinned && digest && !digest[0])) {
            json_fields_refuse(m, "portion_digests", "holds something that is not 64 lower-case hex digits");
            return;
        }
        strcpy(i->portion[i->portions].name, name);
        strcpy(i->portion[i->portions].digest, digest);
    }
}

static void read_alignment(json_fields *m, run_identity *i) {
    static const char *const fields[] = {"train", "complete", "validation", "test", "incomplete_test", "samples", NULL};
    run_identity_alignment *a = &i->alignment;
    json_fields inside;
    a->is_known = json_fields_has(m, "alignment");
    if (!a->is_known || m->error) {
        return;
    }
    json_fields_enter(m, "alignment", fields, &inside);
    json_fields_number(&inside, "train", 1, UINT32_MAX, &a->train);
    json_fields_number(&inside, "complete", 0, UINT32_MAX, &a->complete);
    json_fields_number(&inside, "validation", 0, UINT32_MAX, &a->validation);
    json_fields_number(&inside, "test", 1, UINT32_MAX, &a->test);
    json_fields_number(&inside, "incomplete_test", 0, UINT32_MAX, &a->incomplete_test);
    json_fields_numbers(&inside, "samples", UINT32_MAX, a->samples[0], 2 * (size_t)i->portions);
    json_fields_leave(m, &inside);
}

static err read_fields(run_identity *i, const char *path) {
    static const char *const fields[] = {
        "run",      "training",        "train_samples", "test_samples", "labels",     "ids", "classes",
        "portions", "portion_digests", "pinned",        "weights",      "?alignment", NULL};
    json_fields m;
    err e = json_fields_open(&m, path, fields);
    if (e) {
        return e;
    }
    read_number(&m, "run", &i->run);
    read_number(&m, "training", &i->training);
    json_fields_number(&m, "train_samples", 1, UINT32_MAX, &i->samples[DATASET_TRAIN]);
    json_fields_number(&m, "test_samples", 1, UINT32_MAX, &i->samples[DATASET_TEST]);
    json_fields_digest(&m, "labels", i->labels);
    json_fields_text(&m, "ids", i->ids, sizeof i->ids);
    if (i->ids[0]) {
        json_fields_digest(&m, "ids", i->ids);
    }
    class_names_read(&m, "classes", &i->classes);
    read_portions(&m, i);
    read_weights(&m, i);
    read_alignment(&m, i);
    return json_fields_close(&m);
}

err run_identity_read(run_identity *i, const char *folder, const void *text, size_t length) {
    char path[FILE_PATH_MAX];
    *i = (run_identity){0};
    err e = file_path(path, sizeof path, "%s/identity.json", folder);
    if (!e && !file_exists(path)) {
        return err_fail(ERR_INPUT, "%s: has no identity.json: a run of an earlier version, to be trained again",
                        folder);
    }
    e = e ? e : read_fields(i, path);
    uint64_t named = i->run;
    e = e ? e : run_identity_seal(i, text, length);
    return e || named == i->run
               ? e
               : err_fail(ERR_INPUT, "%s: is of run %016" PRIx64 ", experiment.yaml and what is in it of %016" PRIx64,
                          path, named, i->run);
}

err run_identity_check_data(const run_identity *i, const run_identity *wanted, const char *folder) {
    for (enum dataset_split split = DATASET_TRAIN; split <= DATASET_TEST; split++) {
        if (i->samples[split] != wanted->samples[split]) {
            return err_fail(ERR_INPUT, "%s: is a run on other data: on %u %s samples, not %u", folder,
                            i->samples[split], split == DATASET_TRAIN ? "training" : "test", wanted->samples[split]);
        }
    }
    if (i->portions != wanted->portions) {
        return err_fail(ERR_INPUT, "%s: is a run on other data: in %u portions, not %u", folder, i->portions,
                        wanted->portions);
    }
    for (uint32_t k = 0; k < i->portions; k++) {
        const labels_portion *here = &i->portion[k], *there = &wanted->portion[k];
        if (strcmp(here->name, there->name) != 0) {
            return err_fail(ERR_INPUT, "%s: is a run on other data: portion %u is named %s, not %s", folder, k,
                            here->name, there->name);
        }
        if (there->digest[0] && strcmp(here->digest, there->digest) != 0) {
            return err_fail(ERR_INPUT, "%s: is a run on other data: portion %s has digest %.12s, not %.12s", folder,
                            here->name, here->digest, there->digest);
        }
    }
    if (strcmp(i->ids, wanted->ids) != 0) {
        return err_fail(ERR_INPUT, "%s: is a run on other data: its samples have other ids", folder);
    }
    return strcmp(i->labels, wanted->labels) == 0
               ? ERR_OK
               : err_fail(ERR_INPUT, "%s: is a run on other data: its labels have digest %.12s, not %.12s", folder,
                          i->labels, wanted->labels);
}
