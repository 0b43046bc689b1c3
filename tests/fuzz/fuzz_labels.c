/* The server's labels folder with one file from somebody else.
 *
 * Input: which file (0 labels.json, 1 train-labels.idx, 2 test-labels.idx), the file. The other two are good:
 * mnist in 2 slices, 8 and 6 labels, as small_run.h has them. */
#include "data/labels.h"

#include "tests/lib/fuzz/one_file.h"
#include "tests/lib/fuzz/replay.h"
#include "tests/lib/fuzz/small_run.h"

static one_file files = {.folder = "labels", .names = {"labels.json", "train-labels.idx", "test-labels.idx"}};

static void keep_good_files(void) {
    FUZZ_CHECK(labels_write(fuzz_path("labels"), small_labels()) == ERR_OK, "%s", err_text());
    one_file_keep(&files);
}

static void check_opened(const labels *l) {
    FUZZ_CHECK(partition_check(&l->partition) == ERR_OK, "%s", err_text());
    for (int split = DATASET_TRAIN; split <= DATASET_TEST; split++) {
        for (uint32_t i = 0; i < l->samples[split]; i++) {
            FUZZ_CHECK(l->values[split][i] < l->classes, "label %u of %u classes", l->values[split][i], l->classes);
        }
    }
    for (uint32_t k = 0; k < l->partition.portions; k++) {
        FUZZ_CHECK(strlen(l->portion_digests[k]) == SHA256_HEX - 1, "a digest of %zu digits",
                   strlen(l->portion_digests[k]));
    }
    labels again;
    FUZZ_CHECK(labels_write(fuzz_path("copy"), l) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(labels_open(&again, fuzz_path("copy")) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(memcmp(&again.partition, &l->partition, sizeof l->partition) == 0 && again.classes == l->classes &&
                   memcmp(again.values[0], l->values[0], l->samples[0]) == 0,
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
        FUZZ_CHECK(!l.values[0] && !l.values[1] && !l.portion_digests, "something is left after an error");
        return 0;
    }
    check_opened(&l);
    labels_close(&l);
    return 0;
}
