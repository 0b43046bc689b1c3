/* NumPy files. Input: 0 to read bytes, 1 to read floats; the file.
 *
 * The cap is far above what an input can hold, so a header that is believed shows as an allocation too large. */
#include "data/npy.h"

#include "tests/lib/fuzz/replay.h"

#include <math.h>

enum { MOST = 1 << 28, INPUT_MAX = 1 << 15 };

static void check_read(const npy_array *a, const char *copy) {
    size_t product = 1, bytes = a->type == PORTION_F32 ? sizeof(float) : 1;
    npy_array again;
    FUZZ_CHECK(a->rank >= 1 && a->rank <= NPY_RANK_MAX, "rank %u", a->rank);
    for (uint32_t i = 0; i < a->rank; i++) {
        product *= a->dims[i];
    }
    FUZZ_CHECK(a->elements == product && product > 0, "%zu elements of %zu", a->elements, product);
    for (size_t i = 0; a->type == PORTION_F32 && i < product; i++) {
        FUZZ_CHECK(isfinite(((const float *)a->values)[i]), "element %zu is not finite", i);
    }
    FUZZ_CHECK(npy_write(copy, a->type, a->rank, a->dims, a->values) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(npy_read(copy, a->type, product, &again) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(again.rank == a->rank && memcmp(again.dims, a->dims, sizeof a->dims) == 0 &&
                   memcmp(again.values, a->values, product * bytes) == 0,
               "what was written is not what was read");
    npy_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_path("array.npy"), *copy = fuzz_path("copy.npy");
    npy_array array, from_memory;
    if (size == 0 || size > INPUT_MAX) {
        return 0;
    }
    portion_type type = data[0] % 2 ? PORTION_F32 : PORTION_U8;
    fuzz_write(path, data + 1, size - 1);
    err e = npy_read(path, type, MOST, &array);
    fuzz_check_told(e);
    FUZZ_CHECK(!e || strstr(err_text(), path), "'%s' does not name the file", err_text());
    FUZZ_CHECK(npy_parse(path, data + 1, size - 1, type, MOST, &from_memory) == e, "memory says %s", err_text());
    FUZZ_CHECK(!e || (!array.values && !from_memory.values), "something is left after an error");
    if (!e) {
        check_read(&array, copy);
    }
    npy_free(&array);
    npy_free(&from_memory);
    return 0;
}
