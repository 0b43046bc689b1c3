#include "decoder_server/serve/results.h"

#include "base/log.h"
#include "bits/pack.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_BYTES = 1 << 18 };

struct results {
    FILE *file; /* NULL: none */
    const dataset *set;
    uint32_t portions, bits;
    bool is_pending; /* something was written since the last flush */
    bool has_failed;
};

err results_open(results **out, const char *path, const dataset *set, uint32_t portions, uint32_t bits) {
    results *r = calloc(1, sizeof *r);
    if (!r) {
        return err_fail(ERR_MEMORY, "no memory for the results");
    }
    *r = (results){.set = set, .portions = portions, .bits = bits};
    if (strcmp(path, "none") != 0) {
        r->file = strcmp(path, "-") == 0 ? stdout : fopen(path, "ae");
        if (!r->file) {
            free(r);
            return err_system(ERR_IO, "%s: cannot open", path);
        }
        setvbuf(r->file, NULL, _IOFBF, BUFFER_BYTES);
    }
    *out = r;
    return ERR_OK;
}

void results_close(results *r) {
    if (!r) {
        return;
    }
    results_flush(r);
    if (r->file && r->file != stdout) {
        fclose(r->file);
    }
    free(r);
}

static char *put_bits(char *to, uint64_t code, uint32_t bits) {
    *to++ = '"';
    for (uint32_t b = 0; b < bits; b++) {
        *to++ = code >> b & 1 ? '1' : '0';
    }
    *to++ = '"';
    return to;
}

static char *put_text(char *to, const char *text) {
    size_t length = strlen(text);
    memcpy(to, text, length);
    return to + length;
}

void results_write(results *r, const result *one) {
    if (!r->file) {
        return;
    }
    char codes[SPLIT_PORTIONS_MAX * (PACK_CODE_BITS_MAX + 3) + 1], *at = codes;
    for (uint32_t k = 0; k < r->portions; k++) {
        at = k ? put_text(at, ",") : at;
        at = one->sample->have >> k & 1 ? put_bits(at, one->sample->codes[k], r->bits) : put_text(at, "null");
    }
    *at = '\0';
    r->is_pending = true;
    fprintf(r->file,
            "{\"id\":%" PRIu64 ",\"from\":\"%s\",\"class\":%u,\"label\":\"%s\",\"probability\":%.6f,\"bits\":[%s],"
            "\"degraded\":%s,\"ms\":%.3f}\n",
            one->sample->id, one->from, one->class, r->set->class_names[one->class], (double)one->probability, codes,
            one->degraded ? "true" : "false", one->ms);
}

void results_flush(results *r) {
    if (!r->is_pending) {
        return;
    }
    r->is_pending = false;
    if ((fflush(r->file) != 0 || ferror(r->file)) && !r->has_failed) {
        r->has_failed = true;
        log_error("results cannot be written: %s", strerror(errno));
    }
}
