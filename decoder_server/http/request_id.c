#include "decoder_server/http/request_id.h"

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

/* At least `digits` of them; their end. */
static char *put_hex(char *to, uint64_t value, unsigned digits) {
    while (digits < 16 && value >> 4 * digits) {
        digits++;
    }
    for (unsigned i = 0; i < digits; i++) {
        to[i] = hex[value >> 4 * (digits - 1 - i) & 15];
    }
    return to + digits;
}

void request_id_choose(span offered, uint64_t number, char id[REQUEST_ID_MAX + 1]) {
    if (offered.length <= REQUEST_ID_MAX && span_has_only(offered, safe)) {
        memcpy(id, offered.at, offered.length);
        id[offered.length] = '\0';
        return;
    }
    char *end = put_hex(id, process_mark(), 8);
    *end++ = '-';
    *put_hex(end, number, 1) = '\0';
}

static bool is_zero(span s) {
    return span_has_only(s, "0");
}

bool request_id_trace(span offered, char trace[REQUEST_ID_TRACE_LENGTH + 1], bool *is_sampled) {
    enum { TRACE_AT = 3, TRACE_HEX = 32, PARENT_AT = 36, PARENT_HEX = 16, FLAGS_AT = 53, FLAGS_HEX = 2 };
    trace[0] = '\0';
    *is_sampled = false;
    if (offered.length != REQUEST_ID_TRACE_LENGTH || memcmp(offered.at, "00-", TRACE_AT) != 0 ||
        offered.at[PARENT_AT - 1] != '-' || offered.at[FLAGS_AT - 1] != '-') {
        return false;
    }
    const span id = {offered.at + TRACE_AT, TRACE_HEX}, parent = {offered.at + PARENT_AT, PARENT_HEX};
    const span flags = {offered.at + FLAGS_AT, FLAGS_HEX};
    if (!span_has_only(id, hex) || !span_has_only(parent, hex) || !span_has_only(flags, hex) || is_zero(id) ||
        is_zero(parent)) {
        return false;
    }
    memcpy(trace, offered.at, REQUEST_ID_TRACE_LENGTH);
    trace[REQUEST_ID_TRACE_LENGTH] = '\0';
    *is_sampled = (strchr(hex, flags.at[1]) - hex) & 1;
    return true;
}
