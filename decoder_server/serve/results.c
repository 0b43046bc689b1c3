#include "decoder_server/serve/results.h"

#include "base/file.h"
#include "base/line_file.h"
#include "base/log.h"
#include "data/partition.h"
#include "decoder_server/core/sse_producer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a line needs at most: a code's bits are an experiment's, names and numbers are short. */
enum { BUFFER_BYTES = 1 << 18, LINE_BYTES_MAX = 8192 };

struct results {
    bool has_file;
    line_file file;
    char path[FILE_PATH_MAX];
    const dataset *set;
    uint32_t portions;
    size_t used; /* of the buffer: whole lines */
    char buffer[BUFFER_BYTES];
    sse_producer *sse; /* NULL: none */
};

err results_open(results **out, const char *path, const dataset *set, uint32_t portions) {
    results *r = calloc(1, sizeof *r);
    if (!r) {
        return err_fail(ERR_MEMORY, "no memory for the results");
    }
    r->set = set;
    r->portions = portions;
    r->has_file = strcmp(path, "none") != 0;
    bool is_output = strcmp(path, "-") == 0;
    line_file_over(&r->file, STDOUT_FILENO, "standard output");
    err e = file_path(r->path, sizeof r->path, "%s", path);
    if (!e && r->has_file && !is_output) {
        e = line_file_open(&r->file, r->path);
    }
    if (e) {
        free(r);
        return e;
    }
    *out = r;
    return ERR_OK;
}

void results_close(results *r) {
    if (!r) {
        return;
    }
    results_flush(r);
    if (r->file.lost > 0) {
        log_event(LOG_WARN, "results_lost", "%s: %llu results were lost in all", r->file.name,
                  (unsigned long long)r->file.lost);
    }
    line_file_close(&r->file);
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

static char *put_line(const results *r, const results_line *one, char *to) {
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
    to = one->stages ? put_number(PUT(to, ",\"rounds\":"), one->stages, 1) : to;
    to = one->degraded ? PUT(to, ",\"degraded\":true") : PUT(to, ",\"degraded\":false");
    return PUT(put_decimal(PUT(to, ",\"ms\":"), one->ms, 3, 1000), "}\n");
}

void results_set_sse(results *r, struct sse_producer *f) {
    r->sse = f;
}

void results_write(results *r, const results_line *one) {
    bool is_heard = sse_producer_is_wanted(r->sse);
    if (is_heard && sse_producer_is_full(r->sse)) {
        sse_producer_drop(r->sse);
        is_heard = false;
    }
    if (!r->has_file && !is_heard) {
        return;
    }
    if (sizeof r->buffer - r->used < LINE_BYTES_MAX) {
        results_flush(r);
    }
    char *line = r->buffer + r->used, *end = put_line(r, one, line);
    if (is_heard) {
        sse_producer_put(r->sse, "result", line, (size_t)(end - line) - 1);
    }
    r->used += r->has_file ? (size_t)(end - line) : 0;
}

void results_flush(results *r) {
    if (r->sse) {
        sse_producer_flush(r->sse);
    }
    if (r->used > 0) {
        line_file_write(&r->file, r->buffer, r->used);
        r->used = 0;
    }
}

uint64_t results_lost(const results *r) {
    return r->file.lost;
}
