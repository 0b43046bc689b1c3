#include "cli/class_label.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

/* The text's first bytes, of so many code points. */
static size_t bytes_of(const char *text, int points) {
    size_t used = 0;
    while (text[used] && points > 0) {
        uint32_t point;
        size_t taken = utf8_take(text + used, &point);
        used += taken ? taken : 1;
        points--;
    }
    return used;
}

static int points_of(const char *text) {
    int points = 0;
    for (; *text; text++) {
        points += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return points;
}

int class_label(char to[CLASS_LABEL_MAX], size_t class, const json_t *names) {
    const char *name = json_string_value(json_array_get(names, class));
    char number[24], text[4 * CLASS_LABEL_WIDTH + 1];
    int room = CLASS_LABEL_WIDTH - 1 - snprintf(number, sizeof number, "%zu", class);
    if (!name || strcmp(name, number) == 0) {
        return snprintf(to, CLASS_LABEL_MAX, "%s", number);
    }
    bool is_cut = strlen(name) > bytes_of(name, room);
    snprintf(text, sizeof text, "%.*s", (int)bytes_of(name, is_cut ? room - 1 : room), name);
    utf8_make_plain(text);
    snprintf(to, CLASS_LABEL_MAX, "%s %s%s", number, text, is_cut ? "…" : "");
    return points_of(to);
}
