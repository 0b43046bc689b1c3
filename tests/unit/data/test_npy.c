/* NumPy's files: every header is read or refused by name, whatever was cut off or added. (Values: tests/parity.) */
#include "data/npy.h"
#include "tests/lib/folder.h"

#include <math.h>

enum { MOST = 1 << 16 };

static const float floats[] = {1.5f, -2, 0, 1e30f, -0.25f, 7};

static void write_small(void) {
    const uint32_t dims[] = {2, 3};
    assert_int_equal(npy_write(in_folder("small.npy"), PORTION_F32, 2, dims, floats), ERR_OK);
}

/* A file of this header, with so many bytes behind it. */
static void put_array(uint8_t major, const char *header, size_t length) {
    uint8_t file[1024] = {0x93, 'N', 'U', 'M', 'P', 'Y', major, 0};
    size_t text = strlen(header), at = 8;
    file[at++] = (uint8_t)text;
    file[at++] = (uint8_t)(text >> 8);
    at += major > 1 ? 2 : 0;
    memcpy(file + at, header, text);
    put("array.npy", file, at + text + length);
}

static void assert_refused(portion_type type, const char *reason) {
    npy_array a;
    assert_int_equal(npy_read(in_folder("array.npy"), type, MOST, &a), ERR_INPUT);
    assert_null(a.values);
    assert_told("array.npy", reason);
}

static void what_was_written_is_read(void **state) {
    (void)state;
    for (uint32_t rank = 1; rank <= NPY_RANK_MAX; rank++) {
        const uint32_t dims[NPY_RANK_MAX] = {3, 2, 1, 1};
        size_t elements = rank == 1 ? 3 : 6;
        for (int type = PORTION_U8; type <= PORTION_F32; type++) {
            npy_array a, b, none;
            npy_header h;
            size_t length;
            assert_int_equal(npy_write(in_folder("a.npy"), (portion_type)type, rank, dims, floats), ERR_OK);
            assert_int_equal(npy_read(in_folder("a.npy"), (portion_type)type, elements, &a), ERR_OK);
            assert_int_equal(a.rank, rank);
            assert_int_equal(a.elements, elements);
            assert_memory_equal(a.dims, dims, rank * sizeof *dims);
            assert_memory_equal(a.values, floats, elements * (type == PORTION_F32 ? 4 : 1));
            uint8_t *bytes = bytes_of("a.npy", &length);
            assert_int_equal(npy_parse("a message", bytes, length, (portion_type)type, elements, &b), ERR_OK);
            assert_memory_equal(b.values, a.values, elements * (type == PORTION_F32 ? 4 : 1));
            assert_int_equal(npy_header_parse("a.npy", bytes, length, &h), ERR_OK);
            assert_string_equal(h.descr, type == PORTION_F32 ? "<f4" : "|u1");
            assert_int_equal(h.offset % 64, 0);
            assert_int_equal(npy_read(in_folder("a.npy"), (portion_type)type, elements - 1, &none), ERR_INPUT);
            npy_free(&a);
            npy_free(&b);
            free(bytes);
        }
    }
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    write_small();
    size_t length;
    uint8_t *bytes = bytes_of("small.npy", &length);
    for (size_t cut = 0; cut < length; cut++) {
        npy_array a;
        put("array.npy", bytes, cut);
        assert_refused(PORTION_F32, "");
        assert_int_equal(npy_parse("a message", bytes, cut, PORTION_F32, MOST, &a), ERR_INPUT);
        assert_told("a message", "");
    }
    char longer[1024] = {0};
    memcpy(longer, bytes, length);
    put("array.npy", longer, length + 1);
    assert_refused(PORTION_F32, "has bytes after its last element");
    free(bytes);
}

static void headers_are_read_as_python_writes_them(void **state) {
    (void)state;
    static const char *const good[] = {
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }\n",
        "{'descr':'|u1','fortran_order':False,'shape':(2,3)}",
        "{ \"shape\" : ( 2 , 3 , ) , \"descr\" : \"<u1\" , \"fortran_order\" : False }   \n",
        "\n{\t'fortran_order': False, 'shape': (6,), 'descr': '>i1'\r\n}",
        "{'descr': '|u1', 'fortran_order': True, 'shape': (6,), }",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        for (uint8_t major = 1; major <= 3; major++) {
            npy_array a;
            put_array(major, good[i], 6);
            assert_int_equal(npy_read(in_folder("array.npy"), PORTION_U8, MOST, &a), ERR_OK);
            assert_int_equal(a.elements, 6);
            npy_free(&a);
        }
    }
}

static void what_is_no_header_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *header, *reason;
    } cases[] = {
        {"", "its header is not"},
        {"{}", "its header is not"},
        {"{'descr': '|u1', 'fortran_order': False}", "its header is not"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (6,)} x", "its header is not"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (6,), 'more': 1}", "its header is not"},
        {"{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (6,)}", "its header is not"},
        {"{'descr': '|u1' 'fortran_order': False, 'shape': (6,)}", "its header is not"},
        {"{'descr': '|u1', 'fortran_order': 0, 'shape': (6,)}", "its header is not"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': [6]}", "its header is not"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (6", "its header is not"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (2 3)}", "its header is not"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (-6,)}", "its header is not"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': ()}", "is a single number"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1, 1, 6)}", "1 to 4 dimensions"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (6, 0)}", "each with elements"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296,)}", "1 to 4 dimensions"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (4294967295, 4294967295, 4294967295)}", "1 to 4"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (65537,)}", "more than the 65536 allowed"},
        {"{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3)}", "Fortran order"},
        {"{'descr': '|b1', 'fortran_order': False, 'shape': (6,)}", "its elements are '|b1'"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (6,)}", "its elements are '|O'"},
        {"{'descr': '<f16', 'fortran_order': False, 'shape': (6,)}", "its elements are '<f16'"},
        {"{'descr': 'u1', 'fortran_order': False, 'shape': (6,)}", "its elements are 'u1'"},
        {"{'descr': '', 'fortran_order': False, 'shape': (6,)}", "its elements are ''"},
        {"{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (6,)}", "no plain numbers"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_array(1, cases[i].header, 6);
        assert_refused(PORTION_U8, cases[i].reason);
    }
    put_array(4, "{'descr': '|u1', 'fortran_order': False, 'shape': (6,)}", 6);
    assert_refused(PORTION_U8, "version 4.0");
    put("array.npy", "\x93NUMPY\x02\x00\xff\xff\xff\xff {", 14);
    assert_refused(PORTION_U8, "longer than 10000");
    put("array.npy", "\0\0\x08\1\0\0\0\2ab", 10);
    assert_refused(PORTION_U8, "not a NumPy file");
}

static void values_that_do_not_fit_are_named(void **state) {
    (void)state;
    const uint32_t dims[] = {2, 3};
    float bad[] = {0, 1, 2, 3, 4, NAN};
    assert_int_equal(npy_write(in_folder("bad.npy"), PORTION_F32, 2, dims, bad), ERR_INPUT);
    assert_told("bad.npy", "row 1, element 2: is not finite");
    assert_false(file_exists(in_folder("bad.npy")));
    bad[5] = 255.5f;
    assert_int_equal(npy_write(in_folder("array.npy"), PORTION_F32, 2, dims, bad), ERR_OK);
    assert_refused(PORTION_U8, "row 1, element 2: is no whole number from 0 to 255");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(what_was_written_is_read),
        IN_FOLDER(every_truncation_is_refused),
        IN_FOLDER(headers_are_read_as_python_writes_them),
        IN_FOLDER(what_is_no_header_is_refused),
        IN_FOLDER(values_that_do_not_fit_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
