/* CIFAR's files of records. Input: a byte, even for CIFAR-10, odd for CIFAR-100; then the test part's file. */
#include "data/dataset.h"

#include "tests/lib/fuzz/replay.h"

enum { INPUT_MAX = 1 << 15 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0 || size > INPUT_MAX) {
        return 0;
    }
    bool is_fine = data[0] & 1;
    const dataset *set;
    FUZZ_CHECK(dataset_find(is_fine ? "cifar100" : "cifar10", &set) == ERR_OK, "%s", err_text());
    const char *path = fuzz_path(is_fine ? "test.bin" : "test_batch.bin");
    fuzz_write(path, data + 1, size - 1);
    dataset_samples samples;
    err e = dataset_load(set, fuzz_folder(), DATASET_TEST, &samples);
    fuzz_check_told(e);
    if (e) {
        FUZZ_CHECK(!samples.images && !samples.labels && samples.count == 0, "something is left after an error");
        FUZZ_CHECK(strstr(err_text(), path), "'%s' does not name the file", err_text());
        return 0;
    }
    size_t bytes = set->label_bytes + 3072;
    FUZZ_CHECK(samples.count > 0 && samples.count * bytes == size - 1, "%u records of %zu bytes", samples.count, size);
    for (uint32_t i = 0; i < samples.count; i++) {
        FUZZ_CHECK(samples.labels[i] < set->classes, "label %u", samples.labels[i]);
    }
    FUZZ_CHECK(memcmp(samples.images, data + 1 + set->label_bytes, 3072) == 0, "another image");
    dataset_samples_free(&samples);
    return 0;
}
