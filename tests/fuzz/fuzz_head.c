/* The head of an HTTP request, as far as it is looked at before libmicrohttpd. Input: what came on the connection. */
#include "decoder_server/http/head.h"

#include "tests/fuzz/replay.h"

static bool is_refusal(unsigned status) {
    return status == 400 || status == 414 || status == 431 || status == 505;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bool is_whole = head_is_whole(data, size);
    const head_problem *problem = head_check(data, size);
    FUZZ_CHECK(problem || is_whole, "a head without an end is good");
    if (problem) {
        FUZZ_CHECK(is_refusal(problem->status), "status %u", problem->status);
        FUZZ_CHECK(problem->reason && problem->code && problem->message, "a refusal without words");
    }
    for (size_t length = 0; length < size && length < 64; length++) {
        FUZZ_CHECK(is_whole || !head_is_whole(data, length), "whole with %zu bytes, not with more", length);
    }
    return 0;
}
