#include "cli/portion_form.h"

#include "base/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static const char content_type[] = "multipart/form-data; boundary=";

static const char *boundary_of(const portion_form *f) {
    return f->type + strlen(content_type);
}

void portion_form_begin(portion_form *f) {
    uint64_t random[2] = {0};
    (void)!getrandom(random, sizeof random, 0);
    f->body = dynbuf_make(PORTION_FORM_BYTES_MAX + 4096);
    snprintf(f->type, sizeof f->type, "%sfewbit-%016" PRIx64 "%016" PRIx64, content_type, random[0], random[1]);
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

err portion_form_add(portion_form *f, const char *portion) {
    const char *equals = strchr(portion, '=');
    if (!equals || equals == portion || equals[1] == '\0' || strcspn(portion, "\"\r\n") < (size_t)(equals - portion)) {
        return err_fail(ERR_USAGE, "--portion: '%s' is not NAME=FILE", portion);
    }
    uint8_t *bytes = NULL;
    size_t length = 0;
    err e = file_read(equals + 1, PORTION_FORM_BYTES_MAX, &bytes, &length);
    if (!e) {
        dynbuf_printf(&f->body, "--%s\r\nContent-Disposition: form-data; name=\"%.*s\"\r\nContent-Type: %s\r\n\r\n",
                      boundary_of(f), (int)(equals - portion), portion, type_of(equals + 1));
        dynbuf_add(&f->body, bytes, length);
        dynbuf_add_text(&f->body, "\r\n");
        free(bytes);
    }
    return e;
}

err portion_form_end(portion_form *f, http_client_body *body) {
    dynbuf_printf(&f->body, "--%s--\r\n", boundary_of(f));
    *body = (http_client_body){f->body.bytes, f->body.length, f->type};
    return dynbuf_check(&f->body, "the portions, which may have 1 MiB together");
}
