/* A node's portion folder with one file from somebody else.
 *
 * Input: which file (0 portion.json, 1 train.npy, 2 test.npy, 3 train-ids.txt, 4 test-ids.txt), the file. The other two
 * are good: portion 1 of 4 of mnist, 6 and 4 samples of [1, 7, 28], with ids from "a" to "j". */
#include "data/portion.h"

#include "tests/lib/fuzz/one_file.h"
#include "tests/lib/fuzz/replay.h"
#include "tests/lib/portion_info.h"

static one_file files = {.folder = "portion",
                         .count = 5,
                         .names = {"portion.json", "train.npy", "test.npy", "train-ids.txt", "test-ids.txt"}};

enum { ELEMENTS = 196, TRAIN = 6, TEST = 4 };

static void keep_good_files(void) {
    static const char *const train_ids[] = {"a", "b", "c", "d", "e", "f"}, *const test_ids[] = {"g", "h", "i", "j"};
    static const char *const *const lists[2] = {train_ids, test_ids};
    static uint8_t train[TRAIN * ELEMENTS], test[TEST * ELEMENTS];
    portion_info info = info_of_portion((partition){PARTITION_SLICES, 4, 1, 28, 28}, 1, TRAIN, TEST);
    sample_ids *ids;
    FUZZ_CHECK(sample_ids_new(&ids, lists, info.samples) == ERR_OK, "%s", err_text());
    const portion_contents contents = {.values = {train, test}, .ids = ids};
    FUZZ_CHECK(portion_write(fuzz_path("portion"), &info, &contents) == ERR_OK, "%s", err_text());
    sample_ids_free(ids);
    one_file_keep(&files);
}

static void check_sample(const portion *p, enum dataset_split split, uint32_t index) {
    const portion_info *about = portion_get_info(p);
    enum dataset_split found;
    uint32_t at;
    FUZZ_CHECK(portion_find(p, portion_id(p, split, index), &found, &at) && found == split && at == index,
               "sample %u is not found by its id", index);
    FUZZ_CHECK(portion_check_values(&about->shape, portion_sample(p, split, index)) == ERR_OK, "%s", err_text());
}

/* Every sample it says it has can be read and found, and written again it is the same. */
static void check_opened(const portion *p) {
    const portion_info *about = portion_get_info(p);
    for (int split = DATASET_TRAIN; split <= DATASET_TEST; split++) {
        FUZZ_CHECK(about->samples[split] > 0, "a part without samples");
        for (uint32_t i = 0; i < about->samples[split]; i++) {
            check_sample(p, (enum dataset_split)split, i);
        }
    }
    portion_info info = *about;
    portion *again;
    const char *copy = fuzz_path("copy");
    const portion_contents contents = {
        .values = {portion_sample(p, DATASET_TRAIN, 0), portion_sample(p, DATASET_TEST, 0)},
        .ids = portion_get_ids(p),
        .scaling = portion_get_scaling(p),
        .columns = portion_get_columns(p)};
    FUZZ_CHECK(portion_write(copy, &info, &contents) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(portion_open(&again, copy) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(strcmp(portion_get_info(again)->digest, about->digest) == 0, "the digest differs");
    portion_close(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    if (!files.good[0].bytes) {
        keep_good_files();
    }
    one_file_put(&files, data, size);
    portion *p;
    err e = portion_open(&p, fuzz_path("portion"));
    fuzz_check_told(e);
    if (!e) {
        check_opened(p);
        portion_close(p);
    }
    return 0;
}
