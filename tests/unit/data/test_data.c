/* IDX files, partitions, portions and labels: what goes in comes out, and what is wrong is refused by name. */
#include "data/dataset.h"
#include "data/idx.h"
#include "data/labels.h"
#include "data/normalize.h"
#include "data/partition.h"
#include "data/portion.h"
#include "tests/lib/folder.h"

#include <zlib.h>

enum { CAP = 1 << 16 };

static void put_gzipped(const char *name, const void *bytes, unsigned length) {
    gzFile file = gzopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, length), length);
    assert_int_equal(gzclose(file), Z_OK);
}

static void keep_first(const char *name, size_t length) {
    assert_int_equal(truncate(in_folder(name), (off_t)length), 0);
}

static size_t size_of(const char *name) {
    struct stat status;
    assert_int_equal(stat(in_folder(name), &status), 0);
    return (size_t)status.st_size;
}

static void assert_idx_refused(const char *name, const char *reason) {
    idx_array array;
    assert_int_equal(idx_read(in_folder(name), CAP, &array), ERR_INPUT);
    assert_told(name, reason);
    assert_null(array.bytes);
}

/* A [2, 3] array. */
static const uint8_t small[] = {0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 10, 20, 30, 40, 50, 60};

static void assert_small(const char *name) {
    idx_array array;
    assert_int_equal(idx_read(in_folder(name), 6, &array), ERR_OK);
    assert_int_equal(array.rank, 2);
    assert_int_equal(array.dims[0], 2);
    assert_int_equal(array.dims[1], 3);
    assert_int_equal(array.length, 6);
    assert_memory_equal(array.bytes, small + 12, 6);
    idx_free(&array);
    assert_null(array.bytes);
}

static void idx_reads_plain_and_gzipped(void **state) {
    (void)state;
    put("plain", small, sizeof small);
    assert_small("plain");
    put_gzipped("gzipped", small, sizeof small);
    assert_small("gzipped");
}

static void idx_writes_what_it_reads(void **state) {
    (void)state;
    const uint32_t dims[] = {2, 3};
    assert_int_equal(idx_write(in_folder("written"), small + 12, 2, dims), ERR_OK);
    assert_small("written");
    uint8_t *bytes = NULL;
    size_t length = 0;
    assert_int_equal(file_read(in_folder("written"), CAP, &bytes, &length), ERR_OK);
    assert_int_equal(length, sizeof small);
    assert_memory_equal(bytes, small, sizeof small);
    free(bytes);
}

static void idx_refuses_every_truncation(void **state) {
    (void)state;
    for (size_t length = 0; length < sizeof small; length++) {
        put("cut", small, length);
        assert_idx_refused("cut", length < 12 ? "truncated: ends inside the header" : "truncated: ends inside");
    }
}

static void idx_refuses_every_truncated_gzip(void **state) {
    (void)state;
    put_gzipped("whole", small, sizeof small);
    size_t whole = size_of("whole");
    for (size_t length = 0; length < whole; length++) {
        put_gzipped("cut", small, sizeof small);
        keep_first("cut", length);
        assert_idx_refused("cut", "");
    }
}

static void idx_refuses_a_damaged_gzip(void **state) {
    (void)state;
    put_gzipped("damaged", small, sizeof small);
    size_t length = size_of("damaged");
    FILE *file = fopen(in_folder("damaged"), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)length - 8, SEEK_SET), 0); /* the CRC */
    int kept = fgetc(file);
    assert_int_equal(fseek(file, (long)length - 8, SEEK_SET), 0);
    fputc(kept ^ 1, file);
    fclose(file);
    assert_idx_refused("damaged", "damaged gzip stream");
}

static void append(const char *name, const void *bytes, size_t length) {
    FILE *file = fopen(in_folder(name), "ab");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

/* A gzip file may have several members, cut anywhere, also empty ones; what is no member after them is refused. */
static void idx_reads_members_and_nothing_else(void **state) {
    (void)state;
    static const char garbage[] = "\x1f\x8b garbage, longer than a trailer";
    for (unsigned cut = 0; cut <= sizeof small; cut++) {
        put_gzipped("second", small + cut, (unsigned)sizeof small - cut);
        size_t length;
        uint8_t *second = bytes_of("second", &length);
        put_gzipped("members", small, cut);
        append("members", second, length);
        assert_small("members");
        for (size_t behind = 1; behind < sizeof garbage; behind++) {
            put_gzipped("members", small, cut);
            append("members", second, length);
            append("members", garbage + sizeof garbage - 1 - behind, behind);
            assert_idx_refused("members",
                               behind + 1 < sizeof garbage ? "has bytes after its gzip stream" : "gzip stream");
        }
        append("members", second, length); /* behind the garbage */
        assert_idx_refused("members", "");
        free(second);
    }
}

static void idx_refuses_bytes_behind(void **state) {
    (void)state;
    uint8_t longer[sizeof small + 1] = {0};
    memcpy(longer, small, sizeof small);
    put("longer", longer, sizeof longer);
    assert_idx_refused("longer", "after its last element");
    put_gzipped("longer.gz", longer, sizeof longer);
    assert_idx_refused("longer.gz", "after its last element");
}

static void idx_refuses_lying_headers(void **state) {
    (void)state;
    const uint8_t huge[] = {0,    0,    8,    4,    0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    put("huge", huge, sizeof huge);
    assert_idx_refused("huge", "more than the 65536 elements allowed");
    idx_array array;
    assert_int_equal(idx_read(in_folder("huge"), SIZE_MAX, &array), ERR_INPUT);
    const uint8_t wide[] = {0, 0, 8, 2, 0x40, 0, 0, 0, 0x40, 0, 0, 0, 1};
    put("wide", wide, sizeof wide); /* 2^60 elements within the cap: refused for the file's size */
    assert_int_equal(idx_read(in_folder("wide"), SIZE_MAX, &array), ERR_INPUT);
    assert_told("wide", "the file has 13 bytes");
    const uint8_t none[] = {0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0, 3};
    put("none", none, sizeof none);
    assert_idx_refused("none", "size 0 of the header is 0");
    put("small", small, sizeof small);
    assert_int_equal(idx_read(in_folder("small"), 5, &array), ERR_INPUT);
    assert_told("small", "more than the 5 elements");
}

static void idx_refuses_other_formats(void **state) {
    (void)state;
    uint8_t other[sizeof small];
    memcpy(other, small, sizeof small);
    other[2] = 0x0d;
    put("float", other, sizeof other);
    assert_idx_refused("float", "element type is 0x0d");
    other[2] = 8;
    other[3] = 0;
    put("rank0", other, sizeof other);
    assert_idx_refused("rank0", "rank is 0");
    other[3] = 5;
    put("rank5", other, sizeof other);
    assert_idx_refused("rank5", "rank is 5");
    put("text", "hello, world", 12);
    assert_idx_refused("text", "not an IDX file");
    idx_array array;
    assert_int_equal(idx_read(in_folder("missing"), CAP, &array), ERR_NOT_FOUND);
    assert_int_equal(idx_read(folder, CAP, &array), ERR_INPUT);
}

/* Where element `i` of a portion lies in the sample, by coordinates alone. */
static size_t source_index(const partition *s, uint32_t index, size_t i) {
    uint32_t shape[3];
    partition_portion_shape(s, shape);
    size_t column = i % shape[2], row = i / shape[2] % shape[1], channel = i / shape[2] / shape[1];
    if (s->kind == PARTITION_SLICES) {
        return index * (size_t)shape[2] + i;
    }
    if (s->kind == PARTITION_PLANES) {
        channel = index;
    } else {
        row += index >= 2 ? s->height / 2 : 0;
        column += index & 1 ? s->width / 2 : 0;
    }
    return column + s->width * (row + s->height * channel);
}

static void assert_parts(partition s) {
    assert_int_equal(partition_check(&s), ERR_OK);
    size_t whole = partition_sample_elements(&s), elements = partition_portion_elements(&s);
    assert_int_equal(elements * s.portions, whole);
    uint8_t sample[2][3072], portion[3072], seen[3072] = {0};
    assert_true(whole <= sizeof portion);
    for (size_t i = 0; i < whole; i++) { /* low and high byte of the position: every element is told apart */
        sample[0][i] = (uint8_t)i;
        sample[1][i] = (uint8_t)(i >> 8);
    }
    for (uint32_t index = 0; index < s.portions; index++) {
        size_t position[3072];
        for (size_t plane = 0; plane < 2; plane++) {
            partition_take(&s, index, sample[plane], portion);
            for (size_t i = 0; i < elements; i++) {
                position[i] = plane == 0 ? portion[i] : position[i] | (size_t)portion[i] << 8;
            }
        }
        for (size_t i = 0; i < elements; i++) {
            assert_int_equal(position[i], source_index(&s, index, i));
            seen[position[i]]++;
        }
    }
    for (size_t i = 0; i < whole; i++) {
        assert_int_equal(seen[i], 1);
    }
}

static void split_takes_every_element_once(void **state) {
    (void)state;
    assert_parts((partition){PARTITION_SLICES, 4, 1, 28, 28});
    assert_parts((partition){PARTITION_SLICES, 1, 1, 28, 28});
    assert_parts((partition){PARTITION_SLICES, 49, 1, 28, 28});
    assert_parts((partition){PARTITION_SLICES, 6, 3, 32, 32});
    assert_parts((partition){PARTITION_QUADRANTS, 4, 1, 28, 28});
    assert_parts((partition){PARTITION_QUADRANTS, 4, 3, 32, 32});
    assert_parts((partition){PARTITION_QUADRANTS, 4, 2, 2, 6});
    assert_parts((partition){PARTITION_PLANES, 3, 3, 32, 32});
    assert_parts((partition){PARTITION_PLANES, 1, 1, 28, 28});
}

static void assert_split_refused(partition s, const char *reason) {
    assert_int_equal(partition_check(&s), ERR_INPUT);
    assert_told("", reason);
}

static void split_refuses_what_does_not_part(void **state) {
    (void)state;
    assert_split_refused((partition){PARTITION_SLICES, 3, 1, 28, 28}, "784 elements do not part into 3");
    assert_split_refused((partition){PARTITION_SLICES, 0, 1, 28, 28}, "0 portions");
    assert_split_refused((partition){PARTITION_SLICES, 65, 1, 65, 65}, "65 portions");
    assert_split_refused((partition){PARTITION_SLICES, 4, 0, 28, 28}, "no elements");
    assert_split_refused((partition){PARTITION_SLICES, 4, 1, 28, 0}, "no elements");
    assert_split_refused((partition){PARTITION_SLICES, 4, 1, 1 << 16, 1 << 16}, "more than");
    assert_split_refused((partition){PARTITION_SLICES, 4, UINT32_MAX, UINT32_MAX, UINT32_MAX}, "more than");
    assert_split_refused((partition){PARTITION_QUADRANTS, 2, 1, 28, 28}, "4 portions, not 2");
    assert_split_refused((partition){PARTITION_QUADRANTS, 4, 1, 27, 28}, "even sides, not 27 x 28");
    assert_split_refused((partition){PARTITION_PLANES, 2, 3, 32, 32}, "3 channels, not 2");
    assert_split_refused((partition){(partition_kind)9, 2, 3, 32, 32}, "unknown");
}

static void split_names_are_parsed(void **state) {
    (void)state;
    for (int i = PARTITION_SLICES; i <= PARTITION_PLANES; i++) {
        partition_kind kind = PARTITION_SLICES;
        assert_int_equal(partition_parse(partition_name((partition_kind)i), &kind), ERR_OK);
        assert_int_equal(kind, i);
    }
    partition_kind kind;
    assert_int_equal(partition_parse("Slices", &kind), ERR_INPUT);
}

static const uint8_t train_bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}; /* 3 samples of [1, 2, 2] */
static const uint8_t test_bytes[] = {200, 201, 202, 203};

static void write_portion(portion_info *info) {
    *info = (portion_info){
        .dataset = "mnist", .partition = "quadrants", .portions = 4, .index = 2, .shape = {1, 2, 2}, .samples = {3, 1}};
    char to[FILE_PATH_MAX];
    snprintf(to, sizeof to, "%s/portion/deeper", folder);
    assert_int_equal(portion_write(to, info, train_bytes, test_bytes), ERR_OK);
}

static const char *portion_folder(void) {
    return in_folder("portion/deeper");
}

static void portion_opens_what_was_written(void **state) {
    (void)state;
    portion_info info;
    write_portion(&info);
    const uint8_t both[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 200, 201, 202, 203};
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX];
    assert_int_equal(sha256_bytes(both, sizeof both, digest), ERR_OK);
    sha256_hex(digest, hex);
    assert_string_equal(info.digest, hex);
    portion *p = NULL;
    assert_int_equal(portion_open(&p, portion_folder()), ERR_OK);
    assert_memory_equal(portion_get_info(p), &info, sizeof info);
    assert_memory_equal(portion_sample(p, DATASET_TRAIN, 2), train_bytes + 8, 4);
    assert_memory_equal(portion_sample(p, DATASET_TEST, 0), test_bytes, 4);
    portion_close(p);
    portion_close(NULL);
}

static void assert_portion_refused(err code, const char *name, const char *reason) {
    portion *p = NULL;
    assert_int_equal(portion_open(&p, portion_folder()), code);
    assert_null(p);
    assert_told(name, reason);
}

/* Replaces `old` in a JSON file of the folder. */
static void edit(const char *name, const char *old, const char *new) {
    uint8_t *text = NULL;
    size_t length = 0;
    assert_int_equal(file_read(in_folder(name), CAP, &text, &length), ERR_OK);
    char *at = strstr((char *)text, old);
    if (!at) {
        fail_msg("'%s' is not in %s", old, name);
        return;
    }
    char edited[4096];
    int size =
        snprintf(edited, sizeof edited, "%.*s%s%s", (int)(at - (char *)text), (char *)text, new, at + strlen(old));
    free(text);
    put(name, edited, (size_t)size);
}

typedef struct edit_case {
    const char *old, *new, *reason;
} edit_case;

static void portion_refuses_wrong_fields(void **state) {
    (void)state;
    static const edit_case cases[] = {
        {"\"portions\": 4", "\"portions\": 0", "field 'portions'"},
        {"\"portions\": 4", "\"portions\": 65", "field 'portions'"},
        {"\"portions\": 4", "\"portions\": \"4\"", "field 'portions'"},
        {"\"portions\": 4", "\"portions\": 4.0", "field 'portions'"},
        {"\"portions\": 4,", "", "field 'portions' is missing"},
        {"\"portions\": 4", "\"portions\": 4, \"more\": 1", "unknown field 'more'"},
        {"\"portions\": 4", "\"portions\": 4, \"portions\": 4", "not JSON"},
        {"\"portion\": 2", "\"portion\": 4", "field 'portion' is not below"},
        {"\"portion\": 2", "\"portion\": -1", "field 'portion'"},
        {"\"dataset\": \"mnist\"", "\"dataset\": \"\"", "field 'dataset'"},
        {"\"dataset\": \"mnist\"", "\"dataset\": \"../mnist\"", "field 'dataset'"},
        {"\"dataset\": \"mnist\"", "\"dataset\": null", "field 'dataset'"},
        {"mnist", "a-name-that-is-longer-than-31-characters", "field 'dataset'"},
        {"quadrants", "thirds", "field 'partition'"},
        {"\"shape\": [", "\"shape\": [1, ", "field 'shape' is not an array of 3"},
        {"\"shape\": [\n    1", "\"shape\": [\n    0", "field 'shape'"},
        {"\"shape\": [\n    1", "\"shape\": [\n    1048576", "field 'shape' has too many"},
        {"\"train_samples\": 3", "\"train_samples\": 0", "field 'train_samples'"},
        {"\"train_samples\": 3", "\"train_samples\": 4294967295", "field 'train_samples' is too large"},
        {"\"test_samples\": 1", "\"test_samples\": 4294967296", "field 'test_samples'"},
        {"\"digest\": \"", "\"digest\": \"0", "field 'digest'"},
        {"{", "[", "not JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        portion_info info;
        write_portion(&info);
        edit("portion/deeper/portion.json", cases[i].old, cases[i].new);
        assert_portion_refused(ERR_INPUT, "portion.json", cases[i].reason);
    }
    put("portion/deeper/portion.json", "[]", 2);
    assert_portion_refused(ERR_INPUT, "portion.json", "not a JSON object");
}

static void portion_refuses_files_that_disagree(void **state) {
    (void)state;
    portion_info info;
    write_portion(&info);
    edit("portion/deeper/portion.json", "\"train_samples\": 3", "\"train_samples\": 4");
    assert_portion_refused(ERR_INPUT, "train.idx", "[4, 1, 2, 2]");
    write_portion(&info);
    edit("portion/deeper/portion.json", "\"train_samples\": 3", "\"train_samples\": 2");
    assert_portion_refused(ERR_INPUT, "train.idx", "more than the 8 elements");
    write_portion(&info);
    const uint32_t flat[] = {1, 1, 1, 4};
    assert_int_equal(idx_write(in_folder("portion/deeper/test.idx"), test_bytes, 4, flat), ERR_OK);
    assert_portion_refused(ERR_INPUT, "test.idx", "[1, 1, 2, 2]");
    const uint32_t bare[] = {4};
    assert_int_equal(idx_write(in_folder("portion/deeper/test.idx"), test_bytes, 1, bare), ERR_OK);
    assert_portion_refused(ERR_INPUT, "test.idx", "[1, 1, 2, 2]");
}

static void portion_refuses_other_bytes(void **state) {
    (void)state;
    portion_info info;
    write_portion(&info);
    const uint8_t changed[] = {200, 201, 202, 204};
    const uint32_t dims[] = {1, 1, 2, 2};
    assert_int_equal(idx_write(in_folder("portion/deeper/test.idx"), changed, 4, dims), ERR_OK);
    assert_portion_refused(ERR_INPUT, "portion/deeper", "SHA-256");
    assert_told("portion/deeper", info.digest);
}

static void portion_names_missing_files(void **state) {
    (void)state;
    static const char *const names[] = {"portion.json", "train.idx", "test.idx"};
    for (size_t i = 0; i < 3; i++) {
        portion_info info;
        write_portion(&info);
        char name[64];
        snprintf(name, sizeof name, "portion/deeper/%s", names[i]);
        assert_int_equal(unlink(in_folder(name)), 0);
        assert_portion_refused(ERR_NOT_FOUND, names[i], "cannot open");
    }
}

static void scale_divides_by_255(void **state) {
    (void)state;
    uint8_t bytes[301];
    float scaled[302];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)i;
    }
    static const size_t lengths[] = {0, 1, 63, 64, 65, 128, 301};
    for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
        scaled[lengths[k]] = -1.0f;
        normalize(bytes, scaled, lengths[k], 0, 0);
        for (size_t i = 0; i < lengths[k]; i++) {
            float expected = (float)bytes[i] / 255.0f;
            assert_memory_equal(&scaled[i], &expected, sizeof expected);
        }
        assert_true(scaled[lengths[k]] == -1.0f);
    }
}

static uint8_t train_labels[] = {0, 9, 5}, test_labels[] = {7};

static void write_labels(void) {
    char digests[4][SHA256_HEX];
    for (int i = 0; i < 4; i++) {
        memset(digests[i], "0123"[i], SHA256_HEX - 1);
        digests[i][SHA256_HEX - 1] = '\0';
    }
    const labels l = {.dataset = "mnist",
                      .partition = {PARTITION_QUADRANTS, 4, 1, 28, 28},
                      .classes = 10,
                      .samples = {3, 1},
                      .values = {train_labels, test_labels},
                      .portion_digests = digests};
    char to[FILE_PATH_MAX];
    snprintf(to, sizeof to, "%s/server", folder);
    assert_int_equal(labels_write(to, &l), ERR_OK);
}

static void labels_open_what_was_written(void **state) {
    (void)state;
    write_labels();
    labels l;
    assert_int_equal(labels_open(&l, in_folder("server")), ERR_OK);
    assert_string_equal(l.dataset, "mnist");
    assert_int_equal(l.partition.kind, PARTITION_QUADRANTS);
    assert_int_equal(l.partition.portions, 4);
    assert_int_equal(partition_sample_elements(&l.partition), 784);
    assert_int_equal(l.classes, 10);
    assert_int_equal(l.samples[DATASET_TRAIN], 3);
    assert_int_equal(l.samples[DATASET_TEST], 1);
    assert_memory_equal(l.values[DATASET_TRAIN], train_labels, 3);
    assert_memory_equal(l.values[DATASET_TEST], test_labels, 1);
    assert_int_equal(l.portion_digests[3][63], '3');
    assert_int_equal(strlen(l.portion_digests[3]), SHA256_HEX - 1);
    labels_close(&l);
}

static void assert_labels_refused(err code, const char *name, const char *reason) {
    labels l;
    assert_int_equal(labels_open(&l, in_folder("server")), code);
    assert_told(name, reason);
    assert_null(l.values[DATASET_TRAIN]);
    assert_null(l.portion_digests);
}

static void labels_refuse_wrong_fields(void **state) {
    (void)state;
    static const edit_case cases[] = {
        {"\"classes\": 10", "\"classes\": 1", "field 'classes'"},
        {"\"classes\": 10", "\"classes\": 101", "field 'classes'"},
        {"\"classes\": 10", "\"classes\": true", "field 'classes'"},
        {"\"classes\": 10,", "", "field 'classes' is missing"},
        {"\"classes\": 10", "\"classes\": 10, \"pixels\": []", "unknown field 'pixels'"},
        {"\"portions\": 4", "\"portions\": 3", "quadrants make 4 portions"},
        {"quadrants", "thirds", "field 'partition'"},
        {"\"sample_shape\": [\n    1", "\"sample_shape\": [\n    1, 1", "'sample_shape' is not an array of 3"},
        {"28", "27", "even sides"},
        {"\"portion_digests\": [", "\"portion_digests\": [1, ", "'portion_digests' is not an array of 4"},
        {"\"0000", "\"000g", "field 'portion_digests'"},
        {"\"0000", "\"000", "field 'portion_digests'"},
        {"\"train_samples\": 3", "\"train_samples\": 0", "field 'train_samples'"},
        {"\"test_samples\": 1", "\"test_samples\": []", "field 'test_samples'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_labels();
        edit("server/labels.json", cases[i].old, cases[i].new);
        assert_labels_refused(ERR_INPUT, "labels.json", cases[i].reason);
    }
}

static void labels_refuse_wrong_files(void **state) {
    (void)state;
    write_labels();
    const uint8_t large[] = {0, 1, 10};
    const uint32_t three = 3, two = 2, square[] = {1, 3};
    assert_int_equal(idx_write(in_folder("server/train-labels.idx"), large, 1, &three), ERR_OK);
    assert_labels_refused(ERR_INPUT, "train-labels.idx", "label 2 is 10, not below the 10 classes");
    assert_int_equal(idx_write(in_folder("server/train-labels.idx"), large, 1, &two), ERR_OK);
    assert_labels_refused(ERR_INPUT, "train-labels.idx", "[3]");
    assert_int_equal(idx_write(in_folder("server/train-labels.idx"), large, 2, square), ERR_OK);
    assert_labels_refused(ERR_INPUT, "train-labels.idx", "[3]");
    assert_int_equal(unlink(in_folder("server/train-labels.idx")), 0);
    assert_labels_refused(ERR_NOT_FOUND, "train-labels.idx", "cannot open");
}

static void labels_write_refuses_large_labels(void **state) {
    (void)state;
    train_labels[1] = 10;
    char digests[1][SHA256_HEX] = {""};
    const labels l = {.dataset = "mnist",
                      .partition = {PARTITION_SLICES, 1, 1, 28, 28},
                      .classes = 10,
                      .samples = {3, 1},
                      .values = {train_labels, test_labels},
                      .portion_digests = digests};
    assert_int_equal(labels_write(folder, &l), ERR_INPUT);
    train_labels[1] = 9;
    assert_told("train-labels.idx", "label 1 is 10");
    assert_false(file_exists(in_folder("labels.json")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(idx_reads_plain_and_gzipped),
        IN_FOLDER(idx_writes_what_it_reads),
        IN_FOLDER(idx_refuses_every_truncation),
        IN_FOLDER(idx_refuses_every_truncated_gzip),
        IN_FOLDER(idx_refuses_a_damaged_gzip),
        IN_FOLDER(idx_reads_members_and_nothing_else),
        IN_FOLDER(idx_refuses_bytes_behind),
        IN_FOLDER(idx_refuses_lying_headers),
        IN_FOLDER(idx_refuses_other_formats),
        cmocka_unit_test(split_takes_every_element_once),
        cmocka_unit_test(split_refuses_what_does_not_part),
        cmocka_unit_test(split_names_are_parsed),
        IN_FOLDER(portion_opens_what_was_written),
        IN_FOLDER(portion_refuses_wrong_fields),
        IN_FOLDER(portion_refuses_files_that_disagree),
        IN_FOLDER(portion_refuses_other_bytes),
        IN_FOLDER(portion_names_missing_files),
        cmocka_unit_test(scale_divides_by_255),
        IN_FOLDER(labels_open_what_was_written),
        IN_FOLDER(labels_refuse_wrong_fields),
        IN_FOLDER(labels_refuse_wrong_files),
        IN_FOLDER(labels_write_refuses_large_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
