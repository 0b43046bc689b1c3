/* Messages: whatever unpacks packs again, to bytes that unpack to the same message.
 *
 * Input: the frame type, the payload. */
#include "wire/message.h"

#include "tests/lib/fuzz/replay.h"

static uint8_t *pack(const message *m, size_t *length) {
    *length = message_frame_size(m->body.any);
    uint8_t *to = malloc(*length); /* exactly what message_frame_size says */
    FUZZ_CHECK(to, "no memory");
    message_pack_frame(m->type, m->body.any, to);
    return to;
}

static void check_arena(const arena *a, size_t payload) {
    FUZZ_CHECK(a->used <= a->capacity, "the arena holds %zu of %zu bytes", a->used, a->capacity);
    FUZZ_CHECK(a->capacity <= arena_rounded(message_arena_size(payload)), "an arena of %zu bytes", a->capacity);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    arena first, second;
    message m, again;
    FUZZ_CHECK(arena_init(&first, message_arena_size(size - 1)) == ERR_OK, "%s", err_text());
    err e = message_unpack(data[0], data + 1, size - 1, &first, &m);
    check_arena(&first, size - 1);
    fuzz_check_told(e);
    FUZZ_CHECK(e == ERR_OK || e == ERR_INPUT, "error %d", (int)e);
    /* fields nobody knows are packed as they came, which protobuf-c does not always take again */
    if (e == ERR_OK && (!m.body.any || m.body.any->n_unknown_fields == 0)) {
        size_t length, length_again;
        uint8_t *frame = pack(&m, &length);
        FUZZ_CHECK(frame[3] == data[0], "the type has changed");
        /* packing may make a number longer (a negative one in five bytes takes ten) */
        FUZZ_CHECK(arena_init(&second, 2 * message_arena_size(length)) == ERR_OK, "%s", err_text());
        FUZZ_CHECK(message_unpack(frame[3], frame + FRAME_HEADER, length - FRAME_HEADER, &second, &again) == ERR_OK,
                   "%s", err_text());
        uint8_t *frame_again = pack(&again, &length_again);
        FUZZ_CHECK(length == length_again && memcmp(frame, frame_again, length) == 0, "%s is another message",
                   message_name(data[0]));
        free(frame_again);
        arena_free(&second);
        free(frame);
    }
    arena_free(&first);
    return 0;
}
