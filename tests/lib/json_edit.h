/* Damages a JSON file of the test's folder: one piece of its text is replaced. */
#ifndef FEWBIT_TESTS_LIB_JSON_EDIT_H
#define FEWBIT_TESTS_LIB_JSON_EDIT_H

#include "tests/lib/folder.h"

typedef struct json_edit_case {
    const char *old, *new, *reason; /* reason: how the file is refused then */
} json_edit_case;

static inline void json_edit(const char *name, const json_edit_case *c) {
    uint8_t *text = NULL;
    size_t length = 0;
    assert_int_equal(file_read(in_folder(name), 1 << 16, &text, &length), ERR_OK);
    char *at = strstr((char *)text, c->old);
    if (!at) {
        fail_msg("'%s' is not in %s", c->old, (char *)text);
        return;
    }
    char edited[8192];
    int size = snprintf(edited, sizeof edited, "%.*s%s%s", (int)(at - (char *)text), (char *)text, c->new,
                        at + strlen(c->old));
    free(text);
    put(name, edited, (size_t)size);
}

#endif
