#include "decoder_server/serve/results.h"

#include "base/log.h"
#include "data/split.h"
#include "decoder_server/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a line needs at most: a code's bits are an experiment's, names and numbers are short. */
enum { BUFFER_BYTES = 1 << 18, LINE_BYTES_MAX = 8192 };

struct results {
    int file; /* -1: none */
    const dataset *set;
    uint32_t portions;
    size_t used;     /* of the buffer: whole lines */
    bool has_failed; /* said so */
    bool is_torn;    /* the file ends in a part of a line: another one begins with its end */
    char buffer[BUFFER_BYTES];
    feed *feed; /* NULL: none */
};

err results_open(results **out, const char *path, const dataset *set, uint32_t portions) {
    results *r = calloc(1, sizeof *r);
    if (!r) {
        return err_fail(ERR_MEMORY, "no memory for the results");
    }
    r->set = set;
    r->portions = portions;
    r->file = strcmp(path, "none") == 0 ? -1
              : strcmp(path, "-") == 0  ? STDOUT_FILENO
                                        : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (r->file < 0 && strcmp(path, "none") != 0) {
        free(r);
        return err_system(ERR_IO, "%s: cannot open", path);
    }
    *out = r;
    return ERR_OK;
}

void results_close(results *r) {
    if (!r) {
        return;
    }
    results_flush(r);
    if (r->file >= 0 && r->file != STDOUT_FILENO) {
        close(r->file);
    }
    free(r);
}

static char *put_text(char *to, const char *text) {
    size_t length = strlen(text);
    memcpy(to, text, length);
    return to + length;
}

#define PUT(to, literal) ((char *)memcpy(to, literal, sizeof(literal) - 1) + sizeof(literal) - 1)

static char *put_bits(char *to, uint64_t code, uint32_t bits) {
    *to++ = '"';
    for (uint32_t b = 0; b < bits; b++) {
        *to++ = (char)('0' + (code >> b & 1));
    }
    *to++ = '"';
    return to;
}

/* At least `digits` of them. */
static char *put_number(char *to, uint64_t number, int digits) {
    char reversed[20];
    int count = 0;
    while (number > 0 || count < digits) {
        reversed[count++] = (char)('0' + number % 10);
        number /= 10;
    }
    while (count > 0) {
        *to++ = reversed[--count];
    }
    return to;
}

/* With so many decimals; `scale` is 10 to that power. Nothing negative comes here. */
static char *put_decimal(char *to, double value, int decimals, uint64_t scale) {
    if (!(value >= 0 && value < 1e12)) {
        return PUT(to, "null");
    }
    uint64_t scaled = (uint64_t)(value * (double)scale + 0.5);
    to = put_number(to, scaled / scale, 1);
    *to++ = '.';
    return put_number(to, scaled % scale, decimals);
}

static char *put_line(const results *r, const result *one, char *to) {
    to = put_number(PUT(to, "{\"id\":"), one->sample->id, 1);
    to = put_text(PUT(to, ",\"from\":\""), one->from);
    to = put_number(PUT(to, "\",\"class\":"), one->class, 1);
    to = put_text(PUT(to, ",\"label\":\""), r->set->class_names[one->class]);
    to = put_decimal(PUT(to, "\",\"probability\":"), (double)one->probability, 6, 1000000);
    to = PUT(to, ",\"bits\":[");
    for (uint32_t k = 0; k < r->portions; k++) {
        to = k ? PUT(to, ",") : to;
        to = one->sample->have >> k & 1 ? put_bits(to, one->sample->codes[k], one->bits[k]) : PUT(to, "null");
    }
    to = PUT(to, "]");
    to = one->rounds ? put_number(PUT(to, ",\"rounds\":"), one->rounds, 1) : to;
    to = one->degraded ? PUT(to, ",\"degraded\":true") : PUT(to, ",\"degraded\":false");
    return PUT(put_decimal(PUT(to, ",\"ms\":"), one->ms, 3, 1000), "}\n");
}

void results_set_feed(results *r, struct feed *f) {
    r->feed = f;
}

void results_write(results *r, const result *one) {
    bool is_heard = feed_is_wanted(r->feed);
    if (is_heard && feed_is_full(r->feed)) {
        feed_drop(r->feed);
        is_heard = false;
    }
    if (r->file < 0 && !is_heard) {
        return;
    }
    if (sizeof r->buffer - r->used < LINE_BYTES_MAX) {
        results_flush(r);
    }
    if (r->used == 0 && r->is_torn) {
        r->buffer[r->used++] = '\n';
    }
    char *line = r->buffer + r->used, *end = put_line(r, one, line);
    if (is_heard) {
        feed_put(r->feed, "result", line, (size_t)(end - line) - 1);
    }
    r->used += r->file >= 0 ? (size_t)(end - line) : 0;
}

/* Bytes of the buffer that are with the system; what a full disk does not take is lost. */
static size_t write_out(const results *r) {
    size_t done = 0;
    while (done < r->used) {
        ssize_t n = write(r->file, r->buffer + done, r->used - done);
        if (n < 0 && errno != EINTR) {
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return done;
}

void results_flush(results *r) {
    if (r->feed) {
        feed_flush(r->feed);
    }
    if (r->used == 0) {
        return;
    }
    size_t done = write_out(r);
    if (done < r->used && !r->has_failed) {
        r->has_failed = true;
        log_error("results cannot be written: %s", strerror(errno));
    }
    r->is_torn = done > 0 ? r->buffer[done - 1] != '\n' : r->is_torn;
    r->used = 0;
}
