#include "decoder_server/serve/results.h"

#include "base/log.h"
#include "bits/pack.h"
#include "decoder_server/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_BYTES = 1 << 18, LINE_MAX_BYTES = 5 * 1024 };

struct results {
    FILE *file; /* NULL: none */
    const dataset *set;
    uint32_t portions, bits;
    bool is_pending; /* something was written since the last flush */
    bool has_failed;
    feed *feed; /* NULL: none */
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

/* One result as a line without its end; its length. */
static size_t write_line(const results *r, const result *one, char line[LINE_MAX_BYTES]) {
    char codes[SPLIT_PORTIONS_MAX * (PACK_CODE_BITS_MAX + 3) + 1], *at = codes;
    for (uint32_t k = 0; k < r->portions; k++) {
        at = k ? put_text(at, ",") : at;
        at = one->sample->have >> k & 1 ? put_bits(at, one->sample->codes[k], r->bits) : put_text(at, "null");
    }
    *at = '\0';
    int length = snprintf(line, LINE_MAX_BYTES,
                          "{\"id\":%" PRIu64 ",\"from\":\"%s\",\"class\":%u,\"label\":\"%s\",\"probability\":%.6f,"
                          "\"bits\":[%s],\"degraded\":%s,\"ms\":%.3f}",
                          one->sample->id, one->from, one->class, r->set->class_names[one->class],
                          (double)one->probability, codes, one->degraded ? "true" : "false", one->ms);
    return length > 0 ? (size_t)length : 0;
}

void results_set_feed(results *r, struct feed *f) {
    r->feed = f;
}

void results_write(results *r, const result *one) {
    bool is_heard = feed_is_wanted(r->feed);
    if (!r->file && !is_heard) {
        return;
    }
    char line[LINE_MAX_BYTES];
    size_t length = write_line(r, one, line);
    if (is_heard) {
        feed_put(r->feed, "result", line, length);
    }
    if (r->file) {
        r->is_pending = true;
        line[length] = '\n'; /* in place of its zero */
        fwrite_unlocked(line, 1, length + 1, r->file);
    }
}

void results_flush(results *r) {
    if (r->feed) {
        feed_flush(r->feed);
    }
    if (!r->is_pending) {
        return;
    }
    r->is_pending = false;
    if ((fflush(r->file) != 0 || ferror(r->file)) && !r->has_failed) {
        r->has_failed = true;
        log_error("results cannot be written: %s", strerror(errno));
    }
}
