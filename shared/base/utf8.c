#include "base/utf8.h"

#include <string.h>

size_t utf8_take(const char *text, uint32_t *point) {
    const unsigned char *t = (const unsigned char *)text;
    size_t length = t[0] < 0x80 ? 1 : t[0] < 0xc2 ? 0 : t[0] < 0xe0 ? 2 : t[0] < 0xf0 ? 3 : t[0] < 0xf5 ? 4 : 0;
    *point = length < 2 ? t[0] : t[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        unsigned char low = 0x80, high = 0xbf;
        if (i == 1) {
            low = t[0] == 0xe0 ? 0xa0 : t[0] == 0xf0 ? 0x90 : low;
            high = t[0] == 0xed ? 0x9f : t[0] == 0xf4 ? 0x8f : high;
        }
        if (t[i] < low || t[i] > high) {
            return 0;
        }
        *point = *point << 6 | (t[i] & 0x3f);
    }
    return length;
}

bool utf8_is_control(uint32_t point) {
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || (point >= 0x2028 && point <= 0x202e) ||
           (point >= 0x2066 && point <= 0x2069);
}

bool utf8_is_plain(const char *text) {
    uint32_t point;
    for (size_t length; *text; text += length) {
        length = utf8_take(text, &point);
        if (length == 0 || utf8_is_control(point)) {
            return false;
        }
    }
    return true;
}

void utf8_make_plain(char *text) {
    char *to = text;
    uint32_t point;
    for (size_t length; *text; text += length ? length : 1) {
        length = utf8_take(text, &point);
        if (length > 0 && !utf8_is_control(point)) {
            memmove(to, text, length);
            to += length;
        } else {
            *to++ = length == 1 ? ' ' : '?';
        }
    }
    *to = '\0';
}

size_t utf8_mark(const char *text, size_t length) {
    static const char mark[3] = "\xef\xbb\xbf";
    return length >= sizeof mark && memcmp(text, mark, sizeof mark) == 0 ? sizeof mark : 0;
}
