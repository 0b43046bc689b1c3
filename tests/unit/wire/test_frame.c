/* Frames cut out of a byte stream, however it comes in pieces. */
#include "wire/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The frame reader's first capacity, which no header names: it may always have this much. */
enum { SMALL_CAPACITY = 2048 };

static void assert_told(const char *reason) {
    if (!strstr(err_text(), reason)) {
        fail_msg("'%s' does not tell '%s'", err_text(), reason);
    }
}

typedef struct stream {
    uint8_t *bytes;
    size_t length;
} stream;

static void add_frame(stream *s, uint8_t type, size_t length) {
    s->bytes = realloc(s->bytes, s->length + FRAME_HEADER + length);
    assert_non_null(s->bytes);
    frame_put_header(s->bytes + s->length, type, length);
    for (size_t i = 0; i < length; i++) {
        s->bytes[s->length + FRAME_HEADER + i] = (uint8_t)(i * 31 + type);
    }
    s->length += FRAME_HEADER + length;
}

/* Gives the reader as many of the bytes as it has room for. */
static size_t feed(frame_reader *r, const uint8_t *bytes, size_t length) {
    uint8_t *to;
    size_t room;
    assert_int_equal(frame_reader_room(r, &to, &room), ERR_OK);
    assert_true(room > 0);
    size_t taken = length < room ? length : room;
    memcpy(to, bytes, taken);
    frame_reader_fed(r, taken);
    return taken;
}

/* Takes every whole frame, each of which must be the next one of the stream. */
static void take_frames(frame_reader *r, const stream *s, size_t *taken) {
    frame f;
    bool have = true;
    for (;;) {
        assert_int_equal(frame_reader_next(r, &f, &have), ERR_OK);
        if (!have) {
            return;
        }
        const uint8_t *expected = s->bytes + *taken;
        uint8_t header[FRAME_HEADER];
        frame_put_header(header, f.type, f.length);
        assert_memory_equal(header, expected, FRAME_HEADER);
        assert_memory_equal(f.payload, expected + FRAME_HEADER, f.length);
        *taken += FRAME_HEADER + f.length;
    }
}

static void read_in_pieces(const stream *s, size_t first_piece, size_t piece) {
    frame_reader r;
    frame_reader_init(&r, 5000);
    size_t fed = 0, taken = 0, want = first_piece;
    while (fed < s->length) {
        size_t left = want < s->length - fed ? want : s->length - fed;
        while (left > 0) {
            size_t now = feed(&r, s->bytes + fed, left);
            fed += now;
            left -= now;
            take_frames(&r, s, &taken);
            assert_true(fed - taken < FRAME_HEADER + 5000);
        }
        want = piece;
    }
    assert_int_equal(taken, s->length);
    assert_true(r.capacity <= FRAME_HEADER + 5000);
    frame_reader_free(&r);
    assert_null(r.bytes);
}

static void frames_are_cut_from_any_pieces(void **state) {
    (void)state;
    static const size_t lengths[] = {0, 1, 0, 255, 256, 2043, 2044, 2045, 3, 5000, 0, 7, 4096, 1};
    stream s = {0};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        add_frame(&s, (uint8_t)(i * 19), lengths[i]);
    }
    static const size_t pieces[] = {1, 2, 3, 4, 5, 7, 64, 1000, 2048, 2049, 6000, SIZE_MAX};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        read_in_pieces(&s, pieces[i], pieces[i]);
    }
    free(s.bytes);
}

static void frames_are_cut_at_every_place(void **state) {
    (void)state;
    stream s = {0};
    add_frame(&s, 1, 3);
    add_frame(&s, 255, 0);
    add_frame(&s, 9, 300);
    add_frame(&s, 16, 0);
    for (size_t cut = 1; cut <= s.length; cut++) {
        read_in_pieces(&s, cut, SIZE_MAX);
    }
    free(s.bytes);
}

static void frames_carry_their_length_little_endian(void **state) {
    (void)state;
    uint8_t header[FRAME_HEADER];
    frame_put_header(header, 0xab, 0x010203);
    const uint8_t expected[FRAME_HEADER] = {3, 2, 1, 0xab};
    assert_memory_equal(header, expected, FRAME_HEADER);
}

/* A reader that holds the header of a frame with this payload length. */
static frame_reader with_header(size_t limit, size_t length) {
    uint8_t header[FRAME_HEADER];
    frame_reader r;
    frame_reader_init(&r, limit);
    frame_put_header(header, 7, length);
    assert_int_equal(feed(&r, header, FRAME_HEADER), FRAME_HEADER);
    return r;
}

static void frames_above_the_limit_are_refused_before_they_are_stored(void **state) {
    (void)state;
    static const struct {
        size_t limit, length;
    } cases[] = {{100, 101}, {0, 1}, {FRAME_FIRST_MAX, FRAME_FIRST_MAX + 1}, {FRAME_PAYLOAD_MAX, 0xffffff}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        frame_reader r = with_header(cases[i].limit, cases[i].length);
        frame f;
        bool have = true;
        for (int again = 0; again < 2; again++) { /* the stream stays useless */
            assert_int_equal(frame_reader_next(&r, &f, &have), ERR_INPUT);
            assert_false(have);
            assert_told("of type 7 claims");
        }
        assert_true(r.capacity <= SMALL_CAPACITY);
        frame_reader_free(&r);
        r = with_header(cases[i].limit, cases[i].limit);
        assert_int_equal(frame_reader_next(&r, &f, &have), ERR_OK);
        assert_int_equal(have, cases[i].limit == 0);
        frame_reader_free(&r);
    }
}

/* Even where somebody asks for room before looking at the frames. */
static void the_buffer_never_grows_past_the_limit(void **state) {
    (void)state;
    frame_reader r = with_header(5000, 0xffffff);
    uint8_t *to;
    size_t room;
    (void)frame_reader_room(&r, &to, &room);
    assert_true(r.capacity <= FRAME_HEADER + 5000);
    frame_reader_free(&r);
}

static void the_limit_can_be_raised_between_frames(void **state) {
    (void)state;
    stream s = {0};
    add_frame(&s, 1, 10);
    add_frame(&s, 2, 11);
    frame_reader r;
    frame f;
    bool have;
    frame_reader_init(&r, 10);
    assert_int_equal(feed(&r, s.bytes, s.length), s.length);
    assert_int_equal(frame_reader_next(&r, &f, &have), ERR_OK);
    assert_true(have);
    r.limit = 11;
    assert_int_equal(frame_reader_next(&r, &f, &have), ERR_OK);
    assert_true(have);
    assert_int_equal(f.length, 11);
    frame_reader_free(&r);
    free(s.bytes);
}

static void the_buffer_grows_to_the_largest_frame(void **state) {
    (void)state;
    stream s = {0};
    add_frame(&s, 1, 0);
    add_frame(&s, 2, FRAME_PAYLOAD_MAX);
    add_frame(&s, 3, 100000);
    frame_reader r;
    frame_reader_init(&r, FRAME_PAYLOAD_MAX);
    size_t fed = 0, taken = 0;
    while (fed < s.length) {
        fed += feed(&r, s.bytes + fed, s.length - fed < 300000 ? s.length - fed : 300000);
        assert_true(r.capacity <= SMALL_CAPACITY || taken >= FRAME_HEADER);
        take_frames(&r, &s, &taken);
    }
    assert_int_equal(taken, s.length);
    assert_int_equal(r.capacity, FRAME_HEADER + FRAME_PAYLOAD_MAX);
    frame_reader_free(&r);
    free(s.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_cut_from_any_pieces),
        cmocka_unit_test(frames_are_cut_at_every_place),
        cmocka_unit_test(frames_carry_their_length_little_endian),
        cmocka_unit_test(frames_above_the_limit_are_refused_before_they_are_stored),
        cmocka_unit_test(the_buffer_never_grows_past_the_limit),
        cmocka_unit_test(the_limit_can_be_raised_between_frames),
        cmocka_unit_test(the_buffer_grows_to_the_largest_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
