#include "data/dataset.h"

#include "base/file.h"
#include "data/idx.h"

#include <stdlib.h>
#include <string.h>

static const char *const digits[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
static const char *const clothes[] = {"T-shirt/top", "trouser", "pullover", "dress", "coat",
                                      "sandal",      "shirt",   "sneaker",  "bag",   "ankle boot"};
static const char *const things[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                     "dog",      "frog",       "horse", "ship", "truck"};

static const char *const fine[] = {
    "apple",      "aquarium fish", "baby",         "bear",       "beaver",      "bed",         "bee",
    "beetle",     "bicycle",       "bottle",       "bowl",       "boy",         "bridge",      "bus",
    "butterfly",  "camel",         "can",          "castle",     "caterpillar", "cattle",      "chair",
    "chimpanzee", "clock",         "cloud",        "cockroach",  "couch",       "crab",        "crocodile",
    "cup",        "dinosaur",      "dolphin",      "elephant",   "flatfish",    "forest",      "fox",
    "girl",       "hamster",       "house",        "kangaroo",   "keyboard",    "lamp",        "lawn mower",
    "leopard",    "lion",          "lizard",       "lobster",    "man",         "maple tree",  "motorcycle",
    "mountain",   "mouse",         "mushroom",     "oak tree",   "orange",      "orchid",      "otter",
    "palm tree",  "pear",          "pickup truck", "pine tree",  "plain",       "plate",       "poppy",
    "porcupine",  "possum",        "rabbit",       "raccoon",    "ray",         "road",        "rocket",
    "rose",       "sea",           "seal",         "shark",      "shrew",       "skunk",       "skyscraper",
    "snail",      "snake",         "spider",       "squirrel",   "streetcar",   "sunflower",   "sweet pepper",
    "table",      "tank",          "telephone",    "television", "tiger",       "tractor",     "train",
    "trout",      "tulip",         "turtle",       "wardrobe",   "whale",       "willow tree", "wolf",
    "woman",      "worm"};

enum { MNIST, FASHION_MNIST, CIFAR10, CIFAR100, SET_COUNT };

static const dataset sets[SET_COUNT] = {
    [MNIST] =
        {
            .name = "mnist",
            .format = DATASET_IDX,
            .channels = 1,
            .height = 28,
            .width = 28,
            .classes = 10,
            .class_names = digits,
            .train_samples = 60000,
            .test_samples = 10000,
            .files = {{"train-images-idx3-ubyte", {"ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"}},
                      {"train-labels-idx1-ubyte", {"65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"}},
                      {"t10k-images-idx3-ubyte", {"0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"}},
                      {"t10k-labels-idx1-ubyte", {"ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"}}},
            .file_count = 4,
            .editions = {"as published"},
            .edition_count = 1,
        },
    [FASHION_MNIST] =
        {
            .name = "fashion-mnist",
            .format = DATASET_IDX,
            .channels = 1,
            .height = 28,
            .width = 28,
            .classes = 10,
            .class_names = clothes,
            .train_samples = 60000,
            .test_samples = 10000,
            .files = {{"train-images-idx3-ubyte", {"c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"}},
                      {"train-labels-idx1-ubyte", {"bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"}},
                      {"t10k-images-idx3-ubyte", {"5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"}},
                      {"t10k-labels-idx1-ubyte", {"0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"}}},
            .file_count = 4,
            .editions = {"as published"},
            .edition_count = 1,
        },
    [CIFAR10] =
        {
            .name = "cifar10",
            .format = DATASET_CIFAR,
            .label_bytes = 1,
            .channels = 3,
            .height = 32,
            .width = 32,
            .classes = 10,
            .class_names = things,
            .train_samples = 50000,
            .test_samples = 10000,
            .files = {{"data_batch_1.bin",
                       {"cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
                        "fb47ba2ec10f0b1861d1d1b9caed2d3244845cbc20fece3a7f38ae00fb5ffeff"}},
                      {"data_batch_2.bin",
                       {"a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
                        "82b7aa804e6dd11708f80313e75557a9b3d8cc57f9606e82929aeb542606dde5"}},
                      {"data_batch_3.bin",
                       {"bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
                        "95d72e93294afeaf7899c1e9aa344e5fbe985348fc99aee7837d0ac5c80479f0"}},
                      {"data_batch_4.bin",
                       {"014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
                        "19e45912669685c46916cc5ffcc6e5d6ad638fab967b251ba5b7ae5a3028a40f"}},
                      {"data_batch_5.bin",
                       {"755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
                        "0ff98b291fa73207ac1877cc684d659b7244056e242f87ab892695567f29bee6"}},
                      {"test_batch.bin",
                       {"8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
                        "f557e9d0d0a0646849cce495ac75fb5e17f275f4c241985f54b3e20fc8c0075a"}}},
            .file_count = 6,
            .editions = {"as published", "from the JPEG copy, PSNR about 30 dB"},
            .edition_count = 2,
            .archive = "cifar-10-binary.tar.gz",
            .archive_sha256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            .archive_folder = "cifar-10-batches-bin",
        },
    [CIFAR100] =
        {
            .name = "cifar100",
            .format = DATASET_CIFAR,
            .label_bytes = 2, /* the coarse class, then the fine one */
            .channels = 3,
            .height = 32,
            .width = 32,
            .classes = 100,
            .class_names = fine,
            .train_samples = 50000,
            .test_samples = 10000,
            .files = {{"train.bin", {"f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"}},
                      {"test.bin", {"d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"}}},
            .file_count = 2,
            .editions = {"as published"},
            .edition_count = 1,
            .archive = "cifar-100-binary.tar.gz",
            .archive_sha256 = "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            .archive_folder = "cifar-100-binary",
        },
};

err dataset_find(const char *name, const dataset **set) {
    for (size_t i = 0; i < SET_COUNT; i++) {
        if (strcmp(name, sets[i].name) == 0) {
            *set = &sets[i];
            return ERR_OK;
        }
    }
    return err_fail(ERR_INPUT, "data set '%s' is none of mnist, fashion-mnist, cifar10, cifar100", name);
}

/* A file's path if it stood at place `place`, of the two there are. */
static err place_of(const dataset *set, const char *folder, size_t index, int place, char *path, size_t size) {
    const char *name = set->files[index].name;
    if (place == 0) {
        return file_path(path, size, "%s/%s", folder, name);
    }
    return set->format == DATASET_IDX ? file_path(path, size, "%s/%s.gz", folder, name)
                                      : file_path(path, size, "%s/%s/%s", folder, set->archive_folder, name);
}

err dataset_locate(const dataset *set, const char *folder, size_t index, char *path, size_t size) {
    for (int place = 0; place < 2; place++) {
        err e = place_of(set, folder, index, place, path, size);
        if (e || file_exists(path)) {
            return e;
        }
    }
    return err_fail(ERR_NOT_FOUND, "%s: holds no %s", folder, set->files[index].name);
}

err dataset_check_labels(const char *path, const uint8_t *labels, size_t count, uint32_t classes) {
    for (size_t i = 0; i < count; i++) {
        if (labels[i] >= classes) {
            return err_fail(ERR_INPUT, "%s: label %zu is %u, not below the %u classes", path, i, labels[i], classes);
        }
    }
    return ERR_OK;
}

static size_t elements_of(const dataset *set) {
    return (size_t)set->channels * set->height * set->width;
}

static uint32_t published_samples(const dataset *set, enum dataset_split split) {
    return split == DATASET_TRAIN ? set->train_samples : set->test_samples;
}

/* Takes the images over. A set of one channel is published as [count, height, width]. */
static err take_images(const dataset *set, const char *path, idx_array *array, dataset_samples *samples) {
    if (array->rank != 3 || array->dims[1] != set->height || array->dims[2] != set->width) {
        return err_fail(ERR_INPUT, "%s: its shape is not that of %s: [samples, %u, %u]", path, set->name, set->height,
                        set->width);
    }
    samples->images = array->bytes;
    samples->count = array->dims[0];
    array->bytes = NULL;
    return ERR_OK;
}

static err take_labels(const dataset *set, const char *path, idx_array *array, dataset_samples *samples) {
    if (array->rank != 1) {
        return err_fail(ERR_INPUT, "%s: rank is %u, not the 1 of labels", path, array->rank);
    }
    if (array->dims[0] != samples->count) {
        return err_fail(ERR_INPUT, "%s: %u labels, but there are %u images", path, array->dims[0], samples->count);
    }
    err e = dataset_check_labels(path, array->bytes, array->length, set->classes);
    if (e) {
        return e;
    }
    samples->labels = array->bytes;
    array->bytes = NULL;
    return ERR_OK;
}

typedef err take_array(const dataset *set, const char *path, idx_array *array, dataset_samples *samples);

static err load_array(const dataset *set, const char *folder, size_t index, size_t cap, take_array *take,
                      dataset_samples *samples) {
    char path[FILE_PATH_MAX];
    err e = dataset_locate(set, folder, index, path, sizeof path);
    if (e) {
        return e;
    }
    idx_array array;
    e = idx_read(path, cap, &array);
    if (e) {
        return e;
    }
    e = take(set, path, &array, samples);
    idx_free(&array);
    return e;
}

static err load_idx(const dataset *set, const char *folder, enum dataset_split split, dataset_samples *samples) {
    size_t cap = published_samples(set, split);
    size_t first = split == DATASET_TRAIN ? 0 : 2;
    err e = load_array(set, folder, first, cap * elements_of(set), take_images, samples);
    return e ? e : load_array(set, folder, first + 1, cap, take_labels, samples);
}

static size_t record_bytes(const dataset *set) {
    return set->label_bytes + elements_of(set);
}

static err take_records(const dataset *set, const char *path, const uint8_t *bytes, size_t length,
                        dataset_samples *samples) {
    size_t elements = elements_of(set), size = record_bytes(set);
    if (length == 0 || length % size != 0) {
        return err_fail(ERR_INPUT, "%s: %zu bytes are not records of %zu bytes", path, length, size);
    }
    size_t records = length / size;
    uint8_t *labels = samples->labels + samples->count;
    uint8_t *images = samples->images + samples->count * elements;
    for (size_t i = 0; i < records; i++) {
        const uint8_t *record = bytes + i * size;
        labels[i] = record[set->label_bytes - 1];
        memcpy(images + i * elements, record + set->label_bytes, elements);
    }
    samples->count += (uint32_t)records;
    return dataset_check_labels(path, labels, records, set->classes);
}

static err load_batch(const dataset *set, const char *folder, size_t index, size_t cap, dataset_samples *samples) {
    char path[FILE_PATH_MAX];
    err e = dataset_locate(set, folder, index, path, sizeof path);
    if (e) {
        return e;
    }
    uint8_t *bytes = NULL;
    size_t length = 0;
    e = file_read(path, cap, &bytes, &length);
    if (e) {
        return e;
    }
    e = take_records(set, path, bytes, length, samples);
    free(bytes);
    return e;
}

static err load_cifar(const dataset *set, const char *folder, enum dataset_split split, dataset_samples *samples) {
    size_t first = split == DATASET_TRAIN ? 0 : set->file_count - 1;
    size_t count = split == DATASET_TRAIN ? set->file_count - 1 : 1;
    size_t published = published_samples(set, split);
    samples->images = malloc(published * elements_of(set));
    samples->labels = malloc(published);
    if (!samples->images || !samples->labels) {
        return err_fail(ERR_MEMORY, "%s: no memory for %zu samples", folder, published);
    }
    size_t cap = published / count * record_bytes(set);
    for (size_t i = 0; i < count; i++) {
        err e = load_batch(set, folder, first + i, cap, samples);
        if (e) {
            return e;
        }
    }
    return ERR_OK;
}

err dataset_load(const dataset *set, const char *folder, enum dataset_split split, dataset_samples *samples) {
    *samples = (dataset_samples){0};
    err e =
        set->format == DATASET_IDX ? load_idx(set, folder, split, samples) : load_cifar(set, folder, split, samples);
    if (e) {
        dataset_samples_free(samples);
    }
    return e;
}

void dataset_samples_free(dataset_samples *samples) {
    free(samples->images);
    free(samples->labels);
    *samples = (dataset_samples){0};
}
