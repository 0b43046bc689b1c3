/* A node's portion folder with one file from somebody else.
 *
 * Input: which file (0 portion.json, 1 train.idx, 2 test.idx), the file. The other two are good: portion 1 of
 * 4 of mnist, 6 and 4 samples of [1, 1, 196], as fuzz_node has it. */
#include "data/portion.h"

#include "tests/lib/fuzz/one_file.h"
#include "tests/lib/fuzz/replay.h"

static one_file files = {.folder = "portion", .names = {"portion.json", "train.idx", "test.idx"}};

enum { ELEMENTS = 196, TRAIN = 6, TEST = 4 };

static void keep_good_files(void) {
    static uint8_t train[TRAIN * ELEMENTS], test[TEST * ELEMENTS];
    portion_info info = {.dataset = "mnist",
                         .partition = "slices",
                         .portions = 4,
                         .index = 1,
                         .shape = {1, 1, ELEMENTS},
                         .samples = {TRAIN, TEST}};
    FUZZ_CHECK(portion_write(fuzz_path("portion"), &info, train, test) == ERR_OK, "%s", err_text());
    one_file_keep(&files);
}

/* Every sample it says it has can be read, and written again it is the same. */
static void check_opened(const portion *p) {
    const portion_info *about = portion_get_info(p);
    size_t elements = (size_t)about->shape[0] * about->shape[1] * about->shape[2];
    uint32_t sum = 0;
    for (int split = DATASET_TRAIN; split <= DATASET_TEST; split++) {
        FUZZ_CHECK(about->samples[split] > 0, "a part without samples");
        for (uint32_t i = 0; i < about->samples[split]; i++) {
            const uint8_t *sample = portion_sample(p, (enum dataset_split)split, i);
            sum += sample[0] + (uint32_t)sample[elements - 1];
        }
    }
    portion_info info = *about;
    portion *again;
    const char *copy = fuzz_path("copy");
    FUZZ_CHECK(portion_write(copy, &info, portion_sample(p, DATASET_TRAIN, 0), portion_sample(p, DATASET_TEST, 0)) ==
                   ERR_OK,
               "%s", err_text());
    FUZZ_CHECK(portion_open(&again, copy) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(strcmp(portion_get_info(again)->digest, about->digest) == 0, "the digest differs, sum %u", sum);
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
