/* IDX files and partitions: what goes in comes out, and what is wrong is refused by name. */
#include "data/dataset.h"
#include "data/partition.h"
#include "tests/lib/folder.h"
#include "tests/lib/idx_write.h"

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
    if (s->kind == PARTITION_SLICES) {
        return index * partition_portion_elements(s) + i;
    }
    uint32_t shape[3];
    const portion_shape of_portion = partition_shape_of_portions(s);
    portion_shape_image(&of_portion, shape);
    size_t column = i % shape[2], row = i / shape[2] % shape[1], channel = i / shape[2] / shape[1];
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
