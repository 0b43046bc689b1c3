#include "cli/portion_form.h"

#include "base/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void portion_form_begin(char type[PORTION_FORM_TYPE_MAX]) {
    uint64_t random[2] = {0};
    (void)!getrandom(random, sizeof random, 0);
    snprintf(type, PORTION_FORM_TYPE_MAX, "multipart/form-data; boundary=fewbit-%016" PRIx64 "%016" PRIx64, random[0],
             random[1]);
}

static const char *boundary_of(const char *type) {
    return strchr(type, '=') + 1;
}

void portion_form_begin_part(dynbuf *to, const char *type, const char *name, int name_length, const char *of) {
    dynbuf_printf(to, "--%s\r\nContent-Disposition: form-data; name=\"%.*s\"\r\nContent-Type: %s\r\n\r\n",
                  boundary_of(type), name_length, name, of);
}

void portion_form_end_part(dynbuf *to) {
    dynbuf_add_text(to, "\r\n");
}

void portion_form_end(dynbuf *to, const char *type) {
    dynbuf_printf(to, "--%s--\r\n", boundary_of(type));
}

static const char *type_of(const char *path) {
    static const char *const known[][2] = {
        {".csv", "text/csv"}, {".json", "application/json"}, {".npy", "application/x-npy"}};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof known / sizeof known[0]; i++) {
        if (strcasecmp(dot, known[i][0]) == 0) {
            return known[i][1];
        }
    }
    return "application/octet-stream";
}

err portion_form_add_file(dynbuf *to, const char *type, const char *portion) {
    const char *equals = strchr(portion, '=');
    if (!equals || equals == portion || equals[1] == '\0' || strcspn(portion, "\"\r\n") < (size_t)(equals - portion)) {
        return err_fail(ERR_USAGE, "--portion: '%s' is not NAME=FILE", portion);
    }
    uint8_t *bytes = NULL;
    size_t length = 0;
    err e = file_read(equals + 1, PORTION_FORM_BYTES_MAX, &bytes, &length);
    if (!e) {
        portion_form_begin_part(to, type, portion, (int)(equals - portion), type_of(equals + 1));
        dynbuf_add(to, bytes, length);
        portion_form_end_part(to);
        free(bytes);
    }
    return e;
}
