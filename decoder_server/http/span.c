#include "decoder_server/http/span.h"

#include <string.h>
#include <strings.h>

span span_of(const char *text) {
    return (span){text, text ? strlen(text) : 0};
}

bool span_equals(span s, const char *text) {
    return s.length == strlen(text) && memcmp(s.at, text, s.length) == 0;
}

bool span_is(span s, const char *text) {
    return s.length == strlen(text) && strncasecmp(s.at, text, s.length) == 0;
}

bool span_has_only(span s, const char *set) {
    for (size_t i = 0; i < s.length; i++) {
        if (s.at[i] == '\0' || !strchr(set, s.at[i])) {
            return false;
        }
    }
    return s.length > 0;
}

bool span_is_token(span s) {
    static const bool is_in_token[256] = {['!'] = true,         ['#' ... '\''] = true, ['*' ... '+'] = true,
                                          ['-' ... '.'] = true, ['0' ... '9'] = true,  ['A' ... 'Z'] = true,
                                          ['^' ... 'z'] = true, ['|'] = true,          ['~'] = true};
    for (size_t i = 0; i < s.length; i++) {
        if (!is_in_token[(unsigned char)s.at[i]]) {
            return false;
        }
    }
    return s.length > 0;
}

int span_hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

span span_trim(span s) {
    while (s.length > 0 && is_blank(s.at[0])) {
        s.at++;
        s.length--;
    }
    while (s.length > 0 && is_blank(s.at[s.length - 1])) {
        s.length--;
    }
    return s;
}

bool span_take(span *s, char mark, span *piece) {
    if (s->length == 0) {
        return false;
    }
    bool is_quoted = false;
    size_t i = 0;
    for (; i < s->length && (is_quoted || s->at[i] != mark); i++) {
        if (is_quoted && s->at[i] == '\\' && i + 1 < s->length) {
            i++;
        } else if (s->at[i] == '"') {
            is_quoted = !is_quoted;
        }
    }
    *piece = span_trim((span){s->at, i});
    size_t taken = i < s->length ? i + 1 : i;
    s->at += taken;
    s->length -= taken;
    return true;
}
