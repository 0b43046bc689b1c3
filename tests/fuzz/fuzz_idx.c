/* IDX files, plain and gzipped. Input: the file.
 *
 * The cap is far above what an input can hold, so a header that is believed shows as an allocation too large. */
#include "tests/lib/idx_write.h"

#include "tests/lib/fuzz/replay.h"

enum { CAP = 1 << 28, INPUT_MAX = 1 << 15 };

static size_t product(const idx_array *a) {
    size_t all = 1;
    for (uint32_t i = 0; i < a->rank; i++) {
        all *= a->dims[i];
    }
    return all;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_path("array.idx"), *copy = fuzz_path("copy.idx");
    idx_array array, again;
    if (size > INPUT_MAX) {
        return 0;
    }
    fuzz_write(path, data, size);
    err e = idx_read(path, CAP, &array);
    fuzz_check_told(e);
    if (e) {
        FUZZ_CHECK(!array.bytes && array.length == 0, "something is left after an error");
        FUZZ_CHECK(strstr(err_text(), path), "'%s' does not name the file", err_text());
        return 0;
    }
    FUZZ_CHECK(array.rank >= 1 && array.rank <= IDX_RANK_MAX, "rank %u", array.rank);
    FUZZ_CHECK(array.length == product(&array) && array.length <= CAP, "length %zu", array.length);
    FUZZ_CHECK(idx_write(copy, array.bytes, array.rank, array.dims) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(idx_read(copy, array.length, &again) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(again.rank == array.rank && memcmp(again.dims, array.dims, array.rank * sizeof array.dims[0]) == 0 &&
                   memcmp(again.bytes, array.bytes, array.length) == 0,
               "what was written is not what was read");
    idx_free(&array);
    idx_free(&again);
    return 0;
}
