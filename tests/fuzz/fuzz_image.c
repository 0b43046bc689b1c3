/* Images of requests: a PNG or a JPEG fills exactly one sample, or is refused. Input: the picture. */
#include "decoder_server/http/image.h"

#include "tests/fuzz/replay.h"

static const split shapes[] = {{SPLIT_RUNS, 4, 1, 28, 28}, {SPLIT_RUNS, 4, 3, 32, 32}, {SPLIT_RUNS, 1, 2, 2, 2}};

enum { IHDR_WIDTH = 16, IHDR_HEIGHT = 20 };

static uint32_t number_at(const uint8_t *data) {
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const split *s = &shapes[i];
        size_t elements = split_sample_elements(s);
        uint8_t *sample = malloc(elements); /* exactly, so that a sanitizer sees a pixel too many */
        FUZZ_CHECK(sample, "no memory");
        err e = image_from_png(data, size, s, sample);
        fuzz_check_told(e);
        FUZZ_CHECK(e == ERR_OK || e == ERR_INPUT, "error %d", (int)e);
        FUZZ_CHECK(e || (size > 24 && number_at(data + IHDR_WIDTH) == s->width &&
                         number_at(data + IHDR_HEIGHT) == s->height && s->channels != 2),
                   "an image of another size is taken");
        e = image_from_jpeg(data, size, s, sample);
        fuzz_check_told(e);
        FUZZ_CHECK(e == ERR_OK || e == ERR_INPUT, "error %d", (int)e);
        FUZZ_CHECK(e || (size > 3 && data[0] == 0xff && s->channels != 2), "what is no JPEG is taken");
        e = image_from_raw(data, size, s, sample);
        FUZZ_CHECK((e == ERR_OK) == (size == elements), "%zu raw bytes: error %d", size, (int)e);
        free(sample);
    }
    return 0;
}
