/* The published data sets: their files read, the class of each sample, and what is wrong refused by name. */
#include "tests/lib/folder.h"

#include "data/dataset.h"
#include "tests/lib/idx_write.h"

static void write_mnist(uint32_t images, uint32_t labels_count, uint32_t side) {
    uint8_t bytes[4 * 28 * 28];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i % 10);
    }
    const uint32_t dims[] = {images, side, side};
    assert_int_equal(idx_write(in_folder("t10k-images-idx3-ubyte"), bytes, 3, dims), ERR_OK);
    assert_int_equal(idx_write(in_folder("t10k-labels-idx1-ubyte"), bytes, 1, &labels_count), ERR_OK);
}

static void dataset_loads_small_idx_sets(void **state) {
    (void)state;
    const dataset *mnist;
    dataset_samples samples;
    assert_int_equal(dataset_find("mnist", &mnist), ERR_OK);
    assert_int_equal(dataset_find("emnist", &mnist), ERR_INPUT);
    assert_int_equal(dataset_load(mnist, folder, DATASET_TEST, &samples), ERR_NOT_FOUND);
    write_mnist(4, 4, 28);
    assert_int_equal(dataset_load(mnist, folder, DATASET_TEST, &samples), ERR_OK);
    assert_int_equal(samples.count, 4);
    assert_int_equal(samples.images[784], 4);
    assert_int_equal(samples.labels[3], 3);
    dataset_samples_free(&samples);
    write_mnist(4, 3, 28);
    assert_int_equal(dataset_load(mnist, folder, DATASET_TEST, &samples), ERR_INPUT);
    assert_told("t10k-labels-idx1-ubyte", "3 labels, but there are 4 images");
    write_mnist(4, 4, 27);
    assert_int_equal(dataset_load(mnist, folder, DATASET_TEST, &samples), ERR_INPUT);
    assert_told("t10k-images-idx3-ubyte", "shape");
}

static void dataset_loads_cifar_records(void **state) {
    (void)state;
    const dataset *cifar;
    dataset_samples samples;
    assert_int_equal(dataset_find("cifar10", &cifar), ERR_OK);
    uint8_t records[2 * 3073];
    memset(records, 1, sizeof records);
    records[0] = 9;
    records[3073] = 3;
    records[3074] = 77;
    assert_int_equal(file_make_folders(in_folder("cifar-10-batches-bin")), ERR_OK);
    put("cifar-10-batches-bin/test_batch.bin", records, sizeof records);
    assert_int_equal(dataset_load(cifar, folder, DATASET_TEST, &samples), ERR_OK);
    assert_int_equal(samples.count, 2);
    assert_int_equal(samples.labels[0], 9);
    assert_int_equal(samples.labels[1], 3);
    assert_int_equal(samples.images[3071], 1);
    assert_int_equal(samples.images[3072], 77);
    dataset_samples_free(&samples);
    put("test_batch.bin", records, sizeof records - 1);
    assert_int_equal(dataset_load(cifar, folder, DATASET_TEST, &samples), ERR_INPUT);
    assert_told("test_batch.bin", "not records of 3073");
    records[3073] = 10;
    put("test_batch.bin", records, sizeof records);
    assert_int_equal(dataset_load(cifar, folder, DATASET_TEST, &samples), ERR_INPUT);
    assert_told("test_batch.bin", "label 1 is 10");
}

/* Two records of the given label bytes each: the first image all 1, the second 77 and then 1. */
static size_t cifar100_records(uint8_t records[2 * 3074], const uint8_t first[2], const uint8_t second[2]) {
    memset(records, 1, 2 * 3074);
    memcpy(records, first, 2);
    memcpy(records + 3074, second, 2);
    records[3076] = 77;
    return 2 * 3074;
}

static void dataset_takes_the_fine_labels_of_cifar100(void **state) {
    (void)state;
    const dataset *cifar;
    dataset_samples samples;
    uint8_t records[2 * 3074];
    assert_int_equal(dataset_find("cifar100", &cifar), ERR_OK);
    size_t length = cifar100_records(records, (const uint8_t[]){19, 0}, (const uint8_t[]){3, 99});
    assert_int_equal(file_make_folders(in_folder("cifar-100-binary")), ERR_OK);
    put("cifar-100-binary/train.bin", records, length);
    assert_int_equal(dataset_load(cifar, folder, DATASET_TRAIN, &samples), ERR_OK);
    assert_int_equal(samples.count, 2);
    assert_int_equal(samples.labels[0], 0);
    assert_int_equal(samples.labels[1], 99);
    assert_int_equal(samples.images[3071], 1);
    assert_int_equal(samples.images[3072], 77);
    assert_int_equal(samples.images[3073], 1);
    dataset_samples_free(&samples);
    assert_int_equal(dataset_load(cifar, folder, DATASET_TEST, &samples), ERR_NOT_FOUND);
    assert_told("", "holds no test.bin");
    put("test.bin", records, length - 1);
    assert_int_equal(dataset_load(cifar, folder, DATASET_TEST, &samples), ERR_INPUT);
    assert_told("test.bin", "not records of 3074");
    length = cifar100_records(records, (const uint8_t[]){0, 1}, (const uint8_t[]){0, 100});
    put("test.bin", records, length);
    assert_int_equal(dataset_load(cifar, folder, DATASET_TEST, &samples), ERR_INPUT);
    assert_told("test.bin", "label 1 is 100, not below the 100 classes");
}

static void dataset_names_every_class(void **state) {
    (void)state;
    static const char *const names[] = {"mnist", "fashion-mnist", "cifar10", "cifar100"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const dataset *set;
        assert_int_equal(dataset_find(names[i], &set), ERR_OK);
        assert_string_equal(set->name, names[i]);
        for (uint32_t c = 0; c < set->classes; c++) {
            assert_non_null(set->class_names[c]);
            for (uint32_t other = 0; other < c; other++) {
                assert_string_not_equal(set->class_names[c], set->class_names[other]);
            }
        }
    }
    const dataset *cifar;
    assert_int_equal(dataset_find("cifar100", &cifar), ERR_OK);
    assert_string_equal(cifar->class_names[0], "apple");
    assert_string_equal(cifar->class_names[51], "mushroom");
    assert_string_equal(cifar->class_names[99], "worm");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(dataset_loads_small_idx_sets),
        IN_FOLDER(dataset_loads_cifar_records),
        IN_FOLDER(dataset_takes_the_fine_labels_of_cifar100),
        cmocka_unit_test(dataset_names_every_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
