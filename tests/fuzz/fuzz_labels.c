/* The server's labels folder with one file from somebody else.
 *
 * Input: which file (0 labels.json, 1 train-labels.npy, 2 test-labels.npy), the file. The other two are good:
 * mnist in 2 slices, 8 and 6 labels, as small_run.h has them. */
#include "data/labels.h"

#include "tests/lib/fuzz/one_file.h"
#include "tests/lib/fuzz/replay.h"
#include "tests/lib/fuzz/small_run.h"

static one_file files = {
    .folder = "labels", .count = 3, .names = {"labels.json", "train-labels.npy", "test-labels.npy"}};

static void keep_good_files(void) {
    FUZZ_CHECK(labels_write(fuzz_path("labels"), small_labels()) == ERR_OK, "%s", err_text());
    one_file_keep(&files);
}

static void check_opened(const labels *l) {
    FUZZ_CHECK(!l->has_partition || partition_check(&l->partition) == ERR_OK, "%s", err_text());
    for (int split = DATASET_TRAIN; split <= DATASET_TEST; split++) {
        for (uint32_t i = 0; i < l->samples[split]; i++) {
            FUZZ_CHECK(l->values[split][i] < l->classes.count, "label %u of %u classes", l->values[split][i],
                       l->classes.count);
        }
    }
    for (uint32_t k = 0; k < l->portion_count; k++) {
        FUZZ_CHECK(strlen(l->portions[k].digest) == SHA256_HEX - 1, "a digest of %zu digits",
                   strlen(l->portions[k].digest));
        FUZZ_CHECK(portion_name_is_valid(l->portions[k].name), "a portion named '%s'", l->portions[k].name);
    }
    labels again;
    FUZZ_CHECK(labels_write(fuzz_path("copy"), l) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(labels_open(&again, fuzz_path("copy")) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(memcmp(&again.partition, &l->partition, sizeof l->partition) == 0 &&
                   again.classes.count == l->classes.count && memcmp(again.values[0], l->values[0], l->samples[0]) == 0,
               "what was written is not what was read");
    labels_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    if (!files.good[0].bytes) {
        keep_good_files();
    }
    one_file_put(&files, data, size);
    labels l;
    err e = labels_open(&l, fuzz_path("labels"));
    fuzz_check_told(e);
    if (e) {
        FUZZ_CHECK(!l.values[0] && !l.values[1] && !l.portions, "something is left after an error");
        return 0;
    }
    check_opened(&l);
    labels_close(&l);
    return 0;
}
