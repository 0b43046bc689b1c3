/* safetensors files: what goes in comes out bit for bit, and every file that lies is refused with its own message. */
#include "base/byte_reader.h"
#include "base/sha256.h"
#include "model/safetensors.h"
#include "tests/lib/folder.h"

#include <fcntl.h>
#include <math.h>

static void assert_refused(const char *name, const char *reason) {
    safetensors *file = NULL;
    err_fail(ERR_OK, "nothing");
    err e = safetensors_open(&file, in_folder(name));
    if (e != ERR_INPUT) {
        safetensors_close(file);
        fail_msg("opened a file that should be refused for '%s' (%d)", reason, e);
    }
    assert_null(file);
    assert_told(name, reason);
}

/* A file of this header and as many bytes of values, 0x3f each. */
static void put_tensors(const char *name, const char *header, size_t header_length, size_t values) {
    size_t length = 8 + header_length + values;
    uint8_t *bytes = malloc(length);
    assert_non_null(bytes);
    byte_put_u64_le(bytes, header_length);
    memcpy(bytes + 8, header, header_length);
    memset(bytes + 8 + header_length, 0x3f, values);
    put(name, bytes, length);
    free(bytes);
}

/* Writing. */

static const float matrix[6] = {1, -2.5f, 3e-40f, -3.4e38f, -0.0f, 1e38f}, vector[3] = {7, 8, 9}, scalar[1] = {42};
static const uint32_t matrix_shape[] = {2, 3}, vector_shape[] = {3}, empty_shape[] = {0, 5};

static void write_small(const char *name, uint8_t digest[SHA256_BYTES]) {
    const safetensors_entry entries[] = {
        {"layer.0.weight", 2, matrix_shape, matrix},
        {"layer.0.bias", 1, vector_shape, vector},
        {"empty", 2, empty_shape, NULL},
        {"scalar \"quoted\" \xc3\xbc", 0, NULL, scalar},
    };
    const safetensors_pair pairs[] = {{"format", "test"}, {"note", "tab\tquote\" \xe2\x82\xac"}};
    assert_int_equal(safetensors_write(in_folder(name), entries, 4, pairs, 2, digest), ERR_OK);
}

static void reads_what_was_written(void **state) {
    (void)state;
    uint8_t digest[SHA256_BYTES], of_bytes[SHA256_BYTES];
    write_small("small", digest);
    size_t length;
    uint8_t *bytes = bytes_of("small", &length);
    assert_int_equal(sha256_bytes(bytes, length, of_bytes), ERR_OK);
    free(bytes);
    assert_memory_equal(digest, of_bytes, sizeof digest);
    safetensors *file;
    assert_int_equal(safetensors_open(&file, in_folder("small")), ERR_OK);
    assert_int_equal(safetensors_digest(file, of_bytes), ERR_OK);
    assert_memory_equal(of_bytes, digest, sizeof digest);
    assert_int_equal(safetensors_count(file), 4);
    assert_string_equal(safetensors_metadata(file, "format"), "test");
    assert_string_equal(safetensors_metadata(file, "note"), "tab\tquote\" \xe2\x82\xac");
    assert_null(safetensors_metadata(file, "absent"));
    float have[6];
    assert_int_equal(safetensors_copy(file, "layer.0.weight", 2, matrix_shape, have), ERR_OK);
    assert_memory_equal(have, matrix, sizeof matrix);
    assert_int_equal(safetensors_copy(file, "layer.0.bias", 1, vector_shape, have), ERR_OK);
    assert_memory_equal(have, vector, sizeof vector);
    assert_int_equal(safetensors_copy(file, "empty", 2, empty_shape, have), ERR_OK);
    assert_int_equal(safetensors_copy(file, "scalar \"quoted\" \xc3\xbc", 0, vector_shape, have), ERR_OK);
    assert_true(have[0] == 42.0f);
    safetensors_close(file);
}

/* The number behind `key` in a header, from `at` on. */
static unsigned long number_behind(const char *at, const char *key) {
    const char *found = strstr(at, key);
    assert_non_null(found);
    return strtoul(found + strlen(key), NULL, 10);
}

/* By hand, as another reader would: the length, the names in the text, the offsets from the end of the header. */
static void others_can_read_it(void **state) {
    (void)state;
    write_small("small", NULL);
    size_t length;
    uint8_t *bytes = bytes_of("small", &length);
    uint64_t header = 0;
    for (int i = 0; i < 8; i++) {
        header |= (uint64_t)bytes[i] << (8 * i);
    }
    assert_int_equal(header % 8, 0); /* so that the values are aligned */
    assert_int_equal(8 + header + sizeof matrix + sizeof vector + sizeof scalar, length);
    char *text = strndup((const char *)bytes + 8, (size_t)header);
    assert_non_null(text);
    assert_int_equal(text[0], '{');
    const char *weight = strstr(text, "\"layer.0.weight\":{"), *bias = strstr(text, "\"layer.0.bias\":{");
    assert_true(weight && bias);
    assert_ptr_equal(strstr(weight, "\"dtype\":\"F32\""), weight + strlen("\"layer.0.weight\":{"));
    assert_int_equal(number_behind(weight, "\"shape\":["), 2);
    assert_int_equal(number_behind(weight, "\"shape\":[2,"), 3);
    assert_int_equal(number_behind(weight, "\"data_offsets\":["), 0);
    assert_int_equal(number_behind(weight, "\"data_offsets\":[0,"), sizeof matrix);
    assert_int_equal(number_behind(bias, "\"shape\":["), 3);
    assert_int_equal(number_behind(bias, "\"data_offsets\":["), sizeof matrix);
    assert_non_null(strstr(text, "\"__metadata__\":{\"format\":\"test\""));
    assert_memory_equal(bytes + 8 + header, matrix, sizeof matrix);
    assert_memory_equal(bytes + 8 + header + sizeof matrix, vector, sizeof vector);
    free(text);
    free(bytes);
}

static void the_same_arguments_give_the_same_bytes(void **state) {
    (void)state;
    uint8_t first[SHA256_BYTES], second[SHA256_BYTES];
    write_small("first", first);
    write_small("second", second);
    assert_memory_equal(first, second, sizeof first);
    write_small("second", second); /* over an older one */
    assert_memory_equal(first, second, sizeof first);
    assert_int_equal(files_in_folder(), 2);
}

/* A file as others write it: keys in any order, spaces, no metadata. */
static void reads_what_others_write(void **state) {
    (void)state;
    static const char header[] = "{ \"b\" : {\"shape\":[1,2], \"data_offsets\":[4,12], \"dtype\":\"F32\"},\n"
                                 "\"a\":{\"data_offsets\":[0,4],\"dtype\":\"F32\",\"shape\":[]}}     ";
    put_tensors("others", header, sizeof header - 1, 12);
    safetensors *file;
    assert_int_equal(safetensors_open(&file, in_folder("others")), ERR_OK);
    assert_int_equal(safetensors_count(file), 2);
    assert_null(safetensors_metadata(file, "format"));
    float have[2] = {0};
    assert_int_equal(safetensors_copy(file, "b", 2, (const uint32_t[]){1, 2}, have), ERR_OK);
    assert_memory_equal(have, "\x3f\x3f\x3f\x3f\x3f\x3f\x3f\x3f", 8);
    safetensors_close(file);
    put_tensors("others", "{}", 2, 0);
    assert_int_equal(safetensors_open(&file, in_folder("others")), ERR_OK);
    assert_int_equal(safetensors_count(file), 0);
    safetensors_close(file);
}

/* Refusals. */

static void refuses_every_truncation(void **state) {
    (void)state;
    write_small("whole", NULL);
    size_t length;
    uint8_t *bytes = bytes_of("whole", &length);
    uint64_t header = bytes[0] + ((uint64_t)bytes[1] << 8);
    for (size_t kept = 0; kept < length; kept++) {
        put("cut", bytes, kept);
        assert_refused("cut", kept < 8            ? "are too few for a safetensors file"
                              : kept < 8 + header ? "the header claims"
                                                  : "tensor '");
    }
    bytes = realloc(bytes, length + 1);
    assert_non_null(bytes);
    bytes[length] = 0;
    put("longer", bytes, length + 1);
    assert_refused("longer", "its tensors cover 40");
    free(bytes);
}

static void refuses_lying_header_lengths(void **state) {
    (void)state;
    static const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    const uint64_t lies[] = {sizeof header + 4, 1 << 19, (1 << 20) + 1, UINT32_MAX, (uint64_t)1 << 63, UINT64_MAX};
    uint8_t bytes[8 + sizeof header + 3];
    memcpy(bytes + 8, header, sizeof header - 1);
    memset(bytes + 8 + sizeof header - 1, 0, 4);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        byte_put_u64_le(bytes, lies[i]);
        put("lies", bytes, sizeof bytes);
        assert_refused("lies", "the header claims");
    }
    for (uint64_t less = 0; less < sizeof header - 1; less++) {
        byte_put_u64_le(bytes, less);
        put("lies", bytes, sizeof bytes);
        assert_refused("lies", "the header is no JSON object");
    }
}

/* A header of a MiB is read, one byte more is not, however long the file. */
static void refuses_headers_over_the_cap(void **state) {
    (void)state;
    char *header = malloc(SAFETENSORS_HEADER_MAX + 1);
    assert_non_null(header);
    memset(header, ' ', SAFETENSORS_HEADER_MAX + 1);
    memcpy(header, "{}", 2);
    put_tensors("large", header, SAFETENSORS_HEADER_MAX, 0);
    safetensors *file;
    assert_int_equal(safetensors_open(&file, in_folder("large")), ERR_OK);
    safetensors_close(file);
    put_tensors("large", header, SAFETENSORS_HEADER_MAX + 1, 0);
    assert_refused("large", "1048576 allowed");
    free(header);
}

typedef struct lie {
    const char *header;
    size_t values;
    const char *reason;
} lie;

static void assert_lies_refused(const lie *lies, size_t count) {
    for (size_t i = 0; i < count; i++) {
        put_tensors("liar", lies[i].header, strlen(lies[i].header), lies[i].values);
        assert_refused("liar", lies[i].reason);
    }
}

#define LIES_REFUSED(lies) assert_lies_refused(lies, sizeof(lies) / sizeof((lies)[0]))

static void refuses_headers_that_are_no_objects(void **state) {
    (void)state;
    static const char why[] = "the header is no JSON object";
    const lie lies[] = {
        {"", 4, why},
        {"    ", 4, why},
        {"[]", 0, why},
        {"[{}]", 0, why},
        {"17", 0, why},
        {"null", 0, why},
        {"\"a\"", 0, why},
        {"{", 0, why},
        {" {}", 0, why}, /* the format has the brace first */
        {"\n{}", 0, why},
        {"{} {}", 0, why},
        {"{}x", 0, why},
        {"{a:1}", 0, why},
        {"{'a':1}", 0, why},
        {"{\"a\":1,}", 0, why},
        {"{\"\xff\xfe\":1}", 0, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", 4, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1e999],\"data_offsets\":[0,4]}}", 4, why},
    };
    LIES_REFUSED(lies);
    put_tensors("liar", "{}\0", 3, 0);
    assert_refused("liar", why);
    char deep[10000];
    memset(deep, '[', sizeof deep);
    memcpy(deep, "{\"a\":", 5);
    put_tensors("liar", deep, sizeof deep, 0);
    assert_refused("liar", why);
}

static void refuses_duplicate_keys(void **state) {
    (void)state;
    const lie lies[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         4, "duplicate"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "duplicate"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate"},
    };
    LIES_REFUSED(lies);
}

static void refuses_incomplete_entries(void **state) {
    (void)state;
    static const char why[] = "tensor 'a' lacks dtype, shape or data_offsets";
    const lie lies[] = {
        {"{\"a\":1}", 0, why},
        {"{\"a\":null}", 0, why},
        {"{\"a\":[]}", 0, why},
        {"{\"a\":{}}", 0, why},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, why},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, why},
        {"{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":{\"0\":1},\"data_offsets\":[0,4]}}", 4, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":4}}", 4, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4]}}", 4, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, why},
    };
    LIES_REFUSED(lies);
}

/* Types by their bits, as the format has them; 0: none that is known, which may be any day. */
static const struct {
    const char *name;
    uint32_t bits;
} types[] = {
    {"BOOL", 8}, {"U8", 8},   {"I8", 8},      {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"U16", 16},
    {"I16", 16}, {"F16", 16}, {"BF16", 16},   {"U32", 32},    {"I32", 32},    {"U64", 64},    {"I64", 64},
    {"F64", 64}, {"C64", 64}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},      {"F2_NEW", 0},  {"X", 0},
};

/* A file holds a tensor of another type, of each rank from 0 to 6, before one of F32 and behind it: it opens, the F32
 * one is read, and the other one is refused by name when it is asked for. Cut by a byte, or a value longer than its
 * type's bits say, it does not open. */
static void other_types_may_lie_in_a_file(void **state) {
    (void)state;
    static const uint32_t sizes[] = {1, 8, 48, 8, 8, 24, 8};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        for (uint32_t rank = 0; rank < sizeof sizes / sizeof sizes[0]; rank++) {
            char shape[64] = "", header[400];
            uint32_t bytes = types[i].bits ? sizes[rank] * types[i].bits / 8 : 13;
            bool is_whole = sizes[rank] * types[i].bits % 8 == 0;
            for (uint32_t d = 0; d < rank; d++) {
                snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%s%u", d ? "," : "",
                         d == 0 ? sizes[rank] : 1);
            }
            for (int is_first = 0; is_first < 2; is_first++) {
                uint32_t at = is_first ? 0 : 4, f32_at = is_first ? bytes : 0;
                snprintf(header, sizeof header,
                         "{\"x\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%u,%u]},"
                         "\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%u,%u]}}",
                         types[i].name, shape, at, at + bytes, f32_at, f32_at + 4);
                put_tensors("mixed", header, strlen(header), bytes + 4);
                if (!is_whole) {
                    assert_refused("mixed", "tensor 'x' has an impossible shape");
                    continue;
                }
                safetensors *file;
                float have[64] = {0};
                if (safetensors_open(&file, in_folder("mixed"))) {
                    fail_msg("%s", err_text());
                }
                assert_int_equal(safetensors_count(file), 2);
                assert_int_equal(safetensors_copy(file, "w", 1, (const uint32_t[]){1}, have), ERR_OK);
                assert_memory_equal(have, "\x3f\x3f\x3f\x3f", 4);
                assert_true(safetensors_has(file, "x") && !safetensors_has(file, "y"));
                assert_int_equal(safetensors_copy(file, "x", 1, (const uint32_t[]){1}, have), ERR_INPUT);
                assert_told("mixed", "tensor 'x' is ");
                assert_told(types[i].name, ", not F32");
                safetensors_close(file);
                put_tensors("mixed", header, strlen(header), bytes + 3);
                assert_refused("mixed", "bytes");
            }
        }
    }
}

/* Values that are not finite are named, wherever they stand: when they are to be written and when they are read. */
static void refuses_values_that_are_not_finite(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        for (size_t at = 0; at < 6; at++) {
            float values[6] = {1, 2, 3, 4, 5, 6}, have[6];
            const safetensors_entry entries[] = {{"good", 1, vector_shape, vector}, {"bad", 2, matrix_shape, values}};
            assert_int_equal(safetensors_write(in_folder("finite"), entries, 2, NULL, 0, NULL), ERR_OK);
            size_t length;
            uint8_t *bytes = bytes_of("finite", &length);
            memcpy(bytes + length - sizeof values + at * sizeof *values, &bad[i], sizeof *values);
            put("finite", bytes, length);
            free(bytes);
            safetensors *file;
            char reason[64];
            snprintf(reason, sizeof reason, "value %zu of tensor 'bad' is %f", at, (double)bad[i]);
            assert_int_equal(safetensors_open(&file, in_folder("finite")), ERR_OK);
            assert_int_equal(safetensors_copy(file, "good", 1, vector_shape, have), ERR_OK);
            assert_int_equal(safetensors_copy(file, "bad", 2, matrix_shape, have), ERR_INPUT);
            assert_told("finite", reason);
            safetensors_close(file);
            values[at] = bad[i];
            assert_int_equal(safetensors_write(in_folder("other"), entries, 2, NULL, 0, NULL), ERR_INPUT);
            assert_told("other", reason);
            assert_false(file_exists(in_folder("other")));
        }
    }
}

/* Places beyond 4 GiB, in a file with a hole in place of most of it. */
static void reads_beyond_4_gib(void **state) {
    (void)state;
    static const uint64_t places[] = {4294967292, 4294967296, 4294967300, 12884901888};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char header[300];
        unsigned long long at = places[i];
        snprintf(header, sizeof header,
                 "{\"pad\":{\"dtype\":\"U8\",\"shape\":[%llu],\"data_offsets\":[0,%llu]},"
                 "\"w\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[%llu,%llu]}}",
                 at, at, at, at + 12);
        put_tensors("long", header, strlen(header), 0);
        off_t values_at = (off_t)(8 + strlen(header) + at);
        FILE *stream = fopen(in_folder("long"), "r+b");
        assert_non_null(stream);
        assert_int_equal(fseeko(stream, values_at, SEEK_SET), 0);
        assert_int_equal(fwrite(vector, sizeof vector, 1, stream), 1);
        assert_int_equal(fclose(stream), 0);
        safetensors *file;
        float have[3];
        if (safetensors_open(&file, in_folder("long"))) {
            fail_msg("%s", err_text());
        }
        assert_int_equal(safetensors_copy(file, "w", 1, vector_shape, have), ERR_OK);
        assert_memory_equal(have, vector, sizeof vector);
        safetensors_close(file);
        assert_int_equal(truncate(in_folder("long"), values_at + 11), 0);
        assert_refused("long", "tensor 'w' lies at");
    }
}

static void refuses_types_without_a_name(void **state) {
    (void)state;
    const lie lies[] = {
        {"{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor 'a' has the dtype 'f32'"},
        {"{\"a\":{\"dtype\":\"\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor 'a' has the dtype ''"},
        {"{\"a\":{\"dtype\":\"F 32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor 'a' has the dtype 'F 32'"},
    };
    LIES_REFUSED(lies);
}

static void refuses_impossible_shapes(void **state) {
    (void)state;
    static const char why[] = "tensor 'a' has an impossible shape";
    const lie lies[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]}}", 4, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[true],\"data_offsets\":[0,4]}}", 4, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[[1]],\"data_offsets\":[0,4]}}", 4, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296],\"data_offsets\":[0,4]}}", 4, "its shape needs 17179869184"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967297,1],\"data_offsets\":[0,4]}}", 4, "its shape needs"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[65536,65536],\"data_offsets\":[0,0]}}", 0, "its shape needs"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905],\"data_offsets\":[0,4]}}", 4, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[65536,65536,65536,65536],\"data_offsets\":[0,0]}}", 0, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967295,4294967295,4294967295,4294967295],\"data_offsets\":[0,4]}}",
         4, why},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1073741825],\"data_offsets\":[0,4]}}", 4, "its shape needs 4294967300"},
    };
    LIES_REFUSED(lies);
}

/* What a shape needs and the offsets give must agree, and lie within the file. */
static void refuses_offsets_outside(void **state) {
    (void)state;
    const lie lies[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, "its shape needs 4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "its shape needs 8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "lies at 0 to 8 of 7 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 4, "lies at 4 to 8 of 4 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "lies at 4 to 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "lies at -4 to 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[-4,-4]}}", 0, "lies at -4 to -4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9223372036854775804,9223372036854775807]}}", 4,
         "lies at 9223372036854775804"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-9223372036854775808,9223372036854775807]}}", 4,
         "lies at -9223372036854775808"},
    };
    LIES_REFUSED(lies);
}

/* An offset that is no whole number must not count as 0. */
static void refuses_offsets_that_are_no_numbers(void **state) {
    (void)state;
    const lie lies[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[\"0\",4]}}", 4, "tensor 'a'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[null,4]}}", 4, "tensor 'a'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0.5,4]}}", 4, "tensor 'a'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,1e3]}}", 0, "tensor 'a'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[false,{}]}}", 0, "tensor 'a'"},
    };
    LIES_REFUSED(lies);
}

static void refuses_overlaps_and_gaps(void **state) {
    (void)state;
    const lie lies[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
         12, "overlap or leave a gap at byte 8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         4, "overlap or leave a gap at byte 4"},
        {"{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         12, "overlap or leave a gap at byte 4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "overlap or leave a gap at byte 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[2,2]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         4, "overlap or leave a gap at byte 4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5,
         "5 bytes of values, its tensors cover 4"},
        {"{}", 1, "1 bytes of values, its tensors cover 0"},
        {"{\"__metadata__\":{\"a\":\"b\"}}", 4, "4 bytes of values, its tensors cover 0"},
    };
    LIES_REFUSED(lies);
}

static void refuses_metadata_of_other_types(void **state) {
    (void)state;
    static const char why[] = "its __metadata__ is no object of strings";
    const lie lies[] = {
        {"{\"__metadata__\":1}", 0, why},
        {"{\"__metadata__\":[\"format\"]}", 0, why},
        {"{\"__metadata__\":{\"format\":1}}", 0, why},
        {"{\"__metadata__\":{\"a\":\"b\",\"format\":{}}}", 0, why},
    };
    LIES_REFUSED(lies);
}

static void refuses_other_shapes_than_asked_for(void **state) {
    (void)state;
    write_small("small", NULL);
    safetensors *file;
    assert_int_equal(safetensors_open(&file, in_folder("small")), ERR_OK);
    float have[6] = {5, 5, 5, 5, 5, 5};
    const uint32_t turned[] = {3, 2}, flat[] = {6}, deep[] = {1, 2, 3};
    assert_int_equal(safetensors_copy(file, "absent", 2, matrix_shape, have), ERR_INPUT);
    assert_told("small", "no tensor 'absent'");
    assert_int_equal(safetensors_copy(file, "__metadata__", 0, flat, have), ERR_INPUT);
    assert_told("small", "'__metadata__'");
    assert_int_equal(safetensors_copy(file, "layer.0.weight", 2, turned, have), ERR_INPUT);
    assert_told("small", "tensor 'layer.0.weight' has shape [2, 3], not [3, 2]");
    assert_int_equal(safetensors_copy(file, "layer.0.weight", 1, flat, have), ERR_INPUT);
    assert_told("small", "tensor 'layer.0.weight' has shape [2, 3], not [6]");
    assert_int_equal(safetensors_copy(file, "layer.0.weight", 3, deep, have), ERR_INPUT);
    assert_told("small", "has shape [2, 3], not [1, 2, 3]");
    assert_int_equal(safetensors_copy(file, "layer.0.weight", 0, flat, have), ERR_INPUT);
    assert_told("small", "has shape [2, 3], not []");
    assert_true(have[0] == 5.0f && have[5] == 5.0f);
    safetensors_close(file);
}

static void names_what_is_no_file(void **state) {
    (void)state;
    safetensors *file = NULL;
    assert_int_equal(safetensors_open(&file, in_folder("absent")), ERR_NOT_FOUND);
    assert_told("absent", "cannot open");
    assert_int_equal(file_make_folders(in_folder("inner")), ERR_OK);
    assert_refused("inner", "not a regular file");
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    int both = open(in_folder("pipe"), O_RDWR); /* so that opening it for reading cannot block */
    assert_true(both >= 0);
    assert_refused("pipe", "not a regular file");
    close(both);
    char longest[2 * FILE_PATH_MAX];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(safetensors_open(&file, longest), ERR_INPUT);
    assert_told("aaaa", "too long");
    assert_null(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(reads_what_was_written),
        IN_FOLDER(others_can_read_it),
        IN_FOLDER(the_same_arguments_give_the_same_bytes),
        IN_FOLDER(reads_what_others_write),
        IN_FOLDER(refuses_every_truncation),
        IN_FOLDER(refuses_lying_header_lengths),
        IN_FOLDER(refuses_headers_over_the_cap),
        IN_FOLDER(refuses_headers_that_are_no_objects),
        IN_FOLDER(refuses_duplicate_keys),
        IN_FOLDER(refuses_incomplete_entries),
        IN_FOLDER(other_types_may_lie_in_a_file),
        IN_FOLDER(refuses_types_without_a_name),
        IN_FOLDER(refuses_values_that_are_not_finite),
        IN_FOLDER(reads_beyond_4_gib),
        IN_FOLDER(refuses_impossible_shapes),
        IN_FOLDER(refuses_offsets_outside),
        IN_FOLDER(refuses_offsets_that_are_no_numbers),
        IN_FOLDER(refuses_overlaps_and_gaps),
        IN_FOLDER(refuses_metadata_of_other_types),
        IN_FOLDER(refuses_other_shapes_than_asked_for),
        IN_FOLDER(names_what_is_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
