/* Images of requests: a PNG or a JPEG fills exactly one sample, or is refused. Input: the picture. */
#include "image/image.h"

#include "tests/lib/fuzz/replay.h"

static const image_shape shapes[] = {{1, 28, 28}, {3, 32, 32}, {2, 2, 2}};

static const image_type types[] = {IMAGE_OTHER, IMAGE_PNG, IMAGE_JPEG, IMAGE_PICTURE, IMAGE_RAW};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bool is_picture = size >= 3 && (data[0] == 0x89 || data[0] == 0xff);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const image_shape *s = &shapes[i];
        size_t elements = image_shape_elements(s);
        uint8_t *sample = malloc(elements); /* exactly, so that a sanitizer sees a pixel too many */
        FUZZ_CHECK(sample, "no memory");
        for (size_t k = 0; k < sizeof types / sizeof types[0]; k++) {
            err e = image_read(types[k], data, size, s, sample);
            fuzz_check_told(e);
            bool may_be_raw = size == elements && (types[k] == IMAGE_OTHER || types[k] == IMAGE_RAW);
            FUZZ_CHECK(e == ERR_OK || e == ERR_INPUT || e == ERR_REFUSED, "error %d", (int)e);
            FUZZ_CHECK(e || may_be_raw || (is_picture && s->channels != 2), "what is no picture is taken");
            FUZZ_CHECK(!may_be_raw || is_picture || !e, "%zu raw bytes: error %d", size, (int)e);
            FUZZ_CHECK(e != ERR_REFUSED || types[k] == IMAGE_OTHER || types[k] == IMAGE_PICTURE, "no hint is used");
        }
        free(sample);
    }
    return 0;
}
