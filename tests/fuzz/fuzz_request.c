/* An HTTP request: its head, its path, its chunked body, its parts. Input: what came on a connection. */
#include "decoder_server/http/chunked.h"
#include "decoder_server/http/multipart.h"
#include "decoder_server/http/request_head.h"
#include "decoder_server/http/request_origin.h"

#include "tests/lib/fuzz/replay.h"

enum { PARTS = 8 };

static void check_path(const request_head *h) {
    char path[REQUEST_PATH_MAX + 1];
    if (h->target.path.at && request_path_read(h->target.path, path)) {
        FUZZ_CHECK(strlen(path) <= REQUEST_PATH_MAX && !strstr(path, "/../") && !strstr(path, "/./"), "path %s", path);
    }
}

/* The body in pieces of `piece` bytes gives as much as all at once. */
static chunked_state take_body(const char *at, size_t length, size_t piece, size_t *data) {
    chunked c = {0};
    chunked_state state = CHUNKED_MORE;
    *data = 0;
    while (length > 0 && state == CHUNKED_MORE) {
        span rest = {at, length < piece ? length : piece}, got;
        size_t before = rest.length;
        while ((state = chunked_take(&c, &rest, &got)) == CHUNKED_PIECE) {
            FUZZ_CHECK(got.length > 0, "an empty piece");
            *data += got.length;
        }
        at += before - rest.length;
        length -= before - rest.length;
    }
    return state;
}

static void check_chunks(const char *body, size_t length) {
    size_t all, pieces;
    chunked_state whole = take_body(body, length, SIZE_MAX, &all);
    for (size_t piece = 1; piece < 4; piece++) {
        FUZZ_CHECK(take_body(body, length, piece, &pieces) == whole && pieces == all, "in pieces it is another body");
    }
}

static void check_parts(const request_head *h, const uint8_t *body, size_t length) {
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    multipart_part parts[PARTS];
    uint32_t count;
    if (multipart_boundary(h->fields[REQUEST_FIELD_CONTENT_TYPE], boundary)) {
        return;
    }
    err e = multipart_read(body, length, boundary, parts, PARTS, &count);
    fuzz_check_told(e);
    for (uint32_t i = 0; i < count && !e; i++) {
        FUZZ_CHECK(parts[i].from <= length && parts[i].length <= length - parts[i].from, "a part lies outside");
        FUZZ_CHECK(i == 0 || parts[i].from >= parts[i - 1].from + parts[i - 1].length, "parts overlap");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    request_head h, part;
    request_head_state state = request_head_read(&h, data, size);
    for (size_t length = 0; length < size && length < 256; length++) {
        request_head_state before = request_head_read(&part, data, length);
        FUZZ_CHECK(before == REQUEST_HEAD_MORE || (before == state && part.problem == h.problem),
                   "told otherwise with %zu bytes", length);
    }
    if (state == REQUEST_HEAD_BAD) {
        FUZZ_CHECK(h.problem && h.problem->status >= 400 && h.problem->code && h.problem->message, "no words");
    }
    if (state == REQUEST_HEAD_WHOLE) {
        FUZZ_CHECK(h.length <= size && request_host_is_good(h.host), "the head is no good");
        check_path(&h);
        check_chunks((const char *)data + h.length, size - h.length);
        check_parts(&h, data + h.length, size - h.length);
        (void)request_origin_is_foreign(&h);
    }
    return 0;
}
