/* Checkpoint files: every tensor of a file that opens can be copied at its shape, and at no other. Input: the
 * file. */
#include "model/safetensors.h"

#include "tests/fuzz/replay.h"

#include <jansson.h>

/* Copies one tensor as the header describes it, into exactly as many bytes. Returns how many. */
static size_t copy_tensor(const safetensors *file, const char *name, const json_t *entry) {
    const json_t *sizes = json_object_get(entry, "shape");
    uint32_t rank = (uint32_t)json_array_size(sizes), shape[SAFETENSORS_RANK_MAX + 1] = {0};
    FUZZ_CHECK(rank <= SAFETENSORS_RANK_MAX, "rank %u", rank);
    size_t count = 1;
    for (uint32_t i = 0; i < rank; i++) {
        shape[i] = (uint32_t)json_integer_value(json_array_get(sizes, i));
        count *= shape[i];
    }
    float *values = malloc(count * sizeof *values + 1);
    FUZZ_CHECK(values, "no memory");
    FUZZ_CHECK(safetensors_copy(file, name, rank, shape, values) == ERR_OK, "%s", err_text());
    free(values);
    float one;
    shape[0]++;
    FUZZ_CHECK(safetensors_copy(file, name, rank ? rank : 1, shape, &one) == ERR_INPUT, "copied at a wrong shape");
    return count * sizeof *values;
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
            bytes += copy_tensor(file, name, entry);
            tensors++;
        }
    }
    FUZZ_CHECK(tensors == safetensors_count(file), "%zu tensors, not %zu", tensors, safetensors_count(file));
    FUZZ_CHECK(bytes == size - 8 - length, "%zu bytes of values, %zu of tensors", size - 8 - length, bytes);
    uint8_t digest[DIGEST_BYTES];
    FUZZ_CHECK(digest_bytes(data, size, digest) == ERR_OK &&
                   memcmp(digest, safetensors_digest(file), DIGEST_BYTES) == 0,
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
