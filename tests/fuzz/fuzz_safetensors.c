/* Checkpoint files: every tensor of a file that opens can be copied at its shape, and at no other, if it is F32 and
 * finite. Input: the file. */
#include "model/safetensors.h"

#include "tests/lib/fuzz/replay.h"

#include <jansson.h>
#include <math.h>

enum { RANK_MAX = 64 };

static bool are_finite(const uint8_t *bytes, size_t count) {
    bool finite = true;
    for (size_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, bytes + i * sizeof value, sizeof value);
        finite = finite && isfinite(value);
    }
    return finite;
}

/* Copies one tensor as the header describes it, into exactly as many bytes; what must not be copied is refused.
 * Returns how many bytes it has. */
static size_t copy_tensor(const safetensors *file, const char *name, const json_t *entry, const uint8_t *all) {
    const json_t *sizes = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
    size_t begin = (size_t)json_integer_value(json_array_get(offsets, 0));
    size_t length = (size_t)json_integer_value(json_array_get(offsets, 1)) - begin, rank = json_array_size(sizes);
    uint32_t shape[RANK_MAX + 1] = {0};
    bool fits = rank <= RANK_MAX && strcmp(json_string_value(json_object_get(entry, "dtype")), "F32") == 0;
    for (size_t i = 0; i < rank && rank <= RANK_MAX; i++) {
        json_int_t one = json_integer_value(json_array_get(sizes, i));
        fits = fits && one <= UINT32_MAX;
        shape[i] = (uint32_t)one;
    }
    fits = fits && are_finite(all + begin, length / sizeof(float));
    float *values = malloc(length + 1);
    FUZZ_CHECK(values, "no memory");
    err e = safetensors_copy(file, name, rank <= RANK_MAX ? (uint32_t)rank : 0, shape, values);
    FUZZ_CHECK(e == (fits ? ERR_OK : ERR_INPUT), "%d: %s", e, err_text());
    free(values);
    float one;
    shape[0]++;
    FUZZ_CHECK(safetensors_copy(file, name, rank && rank <= RANK_MAX ? (uint32_t)rank : 1, shape, &one) == ERR_INPUT,
               "copied at a wrong shape");
    return length;
}

static void check_opened(const safetensors *file, const uint8_t *data, size_t size) {
    size_t length = 0;
    for (int i = 7; i >= 0; i--) {
        length = length << 8 | data[i];
    }
    FUZZ_CHECK(length <= size - 8, "a header of %zu bytes in a file of %zu", length, size);
    json_t *header = json_loadb((const char *)data + 8, length, 0, NULL), *entry;
    const char *name;
    size_t tensors = 0, bytes = 0;
    json_object_foreach(header, name, entry) {
        if (strcmp(name, "__metadata__") != 0) {
            bytes += copy_tensor(file, name, entry, data + 8 + length);
            tensors++;
        }
    }
    FUZZ_CHECK(tensors == safetensors_count(file), "%zu tensors, not %zu", tensors, safetensors_count(file));
    FUZZ_CHECK(bytes == size - 8 - length, "%zu bytes of values, %zu of tensors", size - 8 - length, bytes);
    uint8_t digest[SHA256_BYTES], of_file[SHA256_BYTES];
    FUZZ_CHECK(sha256_bytes(data, size, digest) == ERR_OK && safetensors_digest(file, of_file) == ERR_OK &&
                   memcmp(digest, of_file, SHA256_BYTES) == 0,
               "the digest is not that of the file");
    safetensors_metadata(file, "format");
    json_decref(header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_path("model.safetensors");
    fuzz_write(path, data, size);
    safetensors *file;
    err e = safetensors_open(&file, path);
    fuzz_check_told(e);
    if (e) {
        FUZZ_CHECK(strstr(err_text(), path), "'%s' does not name the file", err_text());
        return 0;
    }
    check_opened(file, data, size);
    safetensors_close(file);
    return 0;
}
