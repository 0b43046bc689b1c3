#include "decoder_server/http/identity.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
static const char hex[] = "0123456789abcdef";

/* Drawn once a process. */
static uint32_t process_mark(void) {
    static uint32_t mark;
    while (mark == 0) {
        if (getrandom(&mark, sizeof mark, GRND_NONBLOCK) != (ssize_t)sizeof mark) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            mark = (uint32_t)now.tv_nsec | 1;
        }
    }
    return mark;
}

void identity_choose(const char *offered, uint64_t number, char id[IDENTITY_ID_MAX + 1]) {
    size_t length = offered ? strnlen(offered, IDENTITY_ID_MAX + 1) : 0;
    if (length > 0 && length <= IDENTITY_ID_MAX && strspn(offered, safe) == length) {
        memcpy(id, offered, length + 1);
        return;
    }
    snprintf(id, IDENTITY_ID_MAX + 1, "%08" PRIx32 "-%" PRIx64, process_mark(), number);
}

static bool is_hex(const char *at, size_t length) {
    return strspn(at, hex) >= length;
}

static bool is_zero(const char *at, size_t length) {
    return strspn(at, "0") >= length;
}

bool identity_trace(const char *offered, char trace[IDENTITY_TRACE_LENGTH + 1], bool *is_sampled) {
    enum { TRACE_AT = 3, TRACE_HEX = 32, PARENT_AT = 36, PARENT_HEX = 16, FLAGS_AT = 53, FLAGS_HEX = 2 };
    trace[0] = '\0';
    *is_sampled = false;
    if (!offered || strnlen(offered, IDENTITY_TRACE_LENGTH + 1) != IDENTITY_TRACE_LENGTH ||
        strncmp(offered, "00-", TRACE_AT) != 0 || offered[PARENT_AT - 1] != '-' || offered[FLAGS_AT - 1] != '-' ||
        !is_hex(offered + TRACE_AT, TRACE_HEX) || !is_hex(offered + PARENT_AT, PARENT_HEX) ||
        !is_hex(offered + FLAGS_AT, FLAGS_HEX) || is_zero(offered + TRACE_AT, TRACE_HEX) ||
        is_zero(offered + PARENT_AT, PARENT_HEX)) {
        return false;
    }
    memcpy(trace, offered, IDENTITY_TRACE_LENGTH + 1);
    *is_sampled = (strchr(hex, offered[FLAGS_AT + 1]) - hex) & 1;
    return true;
}
