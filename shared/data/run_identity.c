#include "data/run_identity.h"

#include "base/byte_reader.h"
#include "base/json_fields.h"

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

err run_identity_of(run_identity *i, const labels *l) {
    *i = (run_identity){.samples = {l->samples[DATASET_TRAIN], l->samples[DATASET_TEST]},
                        .portions = l->partition.portions};
    memcpy(i->portion_digests, l->portion_digests, i->portions * sizeof i->portion_digests[0]);
    if (getrandom(&i->training, sizeof i->training, 0) != sizeof i->training) {
        return err_system(ERR_IO, "cannot draw a random number");
    }
    return digest_labels(l, i->labels);
}

/* Every span has a length that is fixed, or told before it: no two identities give the same bytes. */
static err digest_all(const run_identity *i, const void *text, size_t length, uint8_t digest[SHA256_BYTES]) {
    uint8_t numbers[20];
    byte_put_u64_le(numbers, length);
    byte_put_u32_le(numbers + 8, i->samples[DATASET_TRAIN]);
    byte_put_u32_le(numbers + 12, i->samples[DATASET_TEST]);
    byte_put_u32_le(numbers + 16, i->portions);
    const file_span spans[] = {{numbers, sizeof numbers},
                               {text, length},
                               {i->labels, sizeof i->labels},
                               {i->portion_digests, i->portions * sizeof i->portion_digests[0]},
                               {i->weights, sizeof i->weights}};
    return sha256_spans(spans, i->weights_file[0] ? 5 : 4, digest);
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

err run_identity_write(const run_identity *i, const char *folder) {
    char path[FILE_PATH_MAX], run[NUMBER_HEX], training[NUMBER_HEX];
    err e = file_path(path, sizeof path, "%s/identity.json", folder);
    if (e) {
        return e;
    }
    snprintf(run, sizeof run, "%016" PRIx64, i->run);
    snprintf(training, sizeof training, "%016" PRIx64, i->training);
    return json_fields_write(
        path, json_pack("{s:s, s:s, s:I, s:I, s:s, s:I, s:o, s:o}", "run", run, "training", training, "train_samples",
                        (json_int_t)i->samples[DATASET_TRAIN], "test_samples", (json_int_t)i->samples[DATASET_TEST],
                        "labels", i->labels, "portions", (json_int_t)i->portions, "portion_digests",
                        json_fields_pack_digests(i->portion_digests, i->portions), "weights", pack_weights(i)));
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

static err read_fields(run_identity *i, const char *path) {
    static const char *const fields[] = {
        "run", "training", "train_samples", "test_samples", "labels", "portions", "portion_digests", "weights", NULL};
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
    json_fields_number(&m, "portions", 1, PARTITION_PORTIONS_MAX, &i->portions);
    json_fields_digests(&m, "portion_digests", i->portion_digests, i->portions);
    read_weights(&m, i);
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
        if (strcmp(i->portion_digests[k], wanted->portion_digests[k]) != 0) {
            return err_fail(ERR_INPUT, "%s: is a run on other data: portion %u has digest %.12s, not %.12s", folder, k,
                            i->portion_digests[k], wanted->portion_digests[k]);
        }
    }
    return strcmp(i->labels, wanted->labels) == 0
               ? ERR_OK
               : err_fail(ERR_INPUT, "%s: is a run on other data: its labels have digest %.12s, not %.12s", folder,
                          i->labels, wanted->labels);
}
