/* The frame reader: a stream cut anywhere gives the frames that it holds, and nothing past the limit is
 * stored.
 *
 * Input: the limit (an index), how many cuts, their lengths (used over and over), the stream. */
#include "wire/frame.h"

#include "tests/lib/fuzz/replay.h"

static const size_t limits[] = {0, 1, 16, 300, FRAME_FIRST_MAX, 65536, FRAME_PAYLOAD_MAX};

enum { LIMITS = sizeof limits / sizeof limits[0], SMALLEST_BUFFER = 2048 };

typedef struct walk {
    const uint8_t *stream;
    size_t length, at, limit;
} walk;

/* The next frame of the whole stream, found the simple way; 1: there, 0: not whole, -1: too long. */
static int walk_next(walk *w, frame *f) {
    if (w->length - w->at < FRAME_HEADER) {
        return 0;
    }
    const uint8_t *head = w->stream + w->at;
    size_t length = (size_t)(head[0] + 256 * head[1] + 65536 * head[2]);
    if (length > w->limit) {
        return -1;
    }
    if (length > w->length - w->at - FRAME_HEADER) {
        return 0;
    }
    *f = (frame){head[3], head + FRAME_HEADER, length};
    w->at += FRAME_HEADER + length;
    return 1;
}

/* Takes every frame the reader has, each one the next of the walk; false once the stream is refused. */
static bool take_frames(frame_reader *r, walk *w) {
    for (;;) {
        frame got, expected;
        bool have;
        if (frame_reader_next(r, &got, &have)) {
            FUZZ_CHECK(walk_next(w, &expected) == -1, "refused without need: %s", err_text());
            return false;
        }
        if (!have) {
            return true;
        }
        FUZZ_CHECK(walk_next(w, &expected) == 1, "a frame that is not there");
        FUZZ_CHECK(got.type == expected.type && got.length == expected.length &&
                       memcmp(got.payload, expected.payload, got.length) == 0,
                   "frame of type %u, %zu bytes, is not the one sent", got.type, got.length);
    }
}

static bool feed(frame_reader *r, const uint8_t *bytes, size_t length, walk *w) {
    while (length > 0) {
        uint8_t *to;
        size_t room;
        FUZZ_CHECK(frame_reader_room(r, &to, &room) == ERR_OK, "%s", err_text());
        FUZZ_CHECK(room > 0, "no room");
        size_t most = FRAME_HEADER + r->limit;
        FUZZ_CHECK(r->capacity <= (most > SMALLEST_BUFFER ? most : SMALLEST_BUFFER), "%zu bytes for a limit of %zu",
                   r->capacity, r->limit);
        size_t now = length < room ? length : room;
        memcpy(to, bytes, now);
        frame_reader_fed(r, now);
        bytes += now;
        length -= now;
        if (!take_frames(r, w)) {
            return false;
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size - 2 < data[1]) {
        return 0;
    }
    const uint8_t *cuts = data + 2, *stream = cuts + data[1];
    size_t cut_count = data[1], length = size - 2 - cut_count, limit = limits[data[0] % LIMITS];
    walk w = {stream, length, 0, limit};
    frame_reader r;
    frame_reader_init(&r, limit);
    bool good = true;
    for (size_t at = 0, i = 0; good && at < length; i++) {
        size_t piece = cut_count ? (size_t)cuts[i % cut_count] + 1 : length;
        piece = piece < length - at ? piece : length - at;
        good = feed(&r, stream + at, piece, &w);
        at += piece;
    }
    frame rest;
    FUZZ_CHECK(!good || walk_next(&w, &rest) == 0, "the reader missed what stands at byte %zu", w.at);
    frame_reader_free(&r);
    return 0;
}
