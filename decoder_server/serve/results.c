#include "decoder_server/serve/results.h"

#include "base/json_writer.h"
#include "base/line_file.h"
#include "base/log.h"
#include "decoder_server/core/sse_producer.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

/* What a line needs at most: a code's bits are an experiment's, names and numbers are short. */
enum { BUFFER_BYTES = 1 << 18, LINE_BYTES_MAX = 8192 };

struct results {
    bool has_file;
    line_file file;
    char path[FILE_PATH_MAX];
    const class_names *classes; /* borrowed */
    uint32_t portions;
    char buffer[BUFFER_BYTES];
    dynbuf lines;      /* over the buffer: whole ones */
    uint64_t lost;     /* beside those of the file */
    sse_producer *sse; /* NULL: none */
};

err results_open(results **out, const char *path, const class_names *classes, uint32_t portions) {
    results *r = calloc(1, sizeof *r);
    if (!r) {
        return err_fail(ERR_MEMORY, "no memory for the results");
    }
    r->classes = classes;
    r->lines = dynbuf_over(r->buffer, sizeof r->buffer);
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
    if (results_lost(r) > 0) {
        log_event(LOG_WARN, "results_lost", "%s: %llu results were lost in all", r->file.name,
                  (unsigned long long)results_lost(r));
    }
    line_file_close(&r->file);
    free(r);
}

static void put_line(const results *r, const results_line *one, dynbuf *to) {
    json_writer w = json_writer_make(to);
    json_writer_object(&w, NULL);
    json_writer_uint(&w, "id", one->sample->id);
    json_writer_word(&w, "from", one->from);
    json_writer_uint(&w, "class", one->class);
    json_writer_string(&w, "label", r->classes->names[one->class]);
    if (isnan(one->probability)) {
        json_writer_null(&w, "probability");
    } else {
        json_writer_fixed(&w, "probability", (double)one->probability, 6);
    }
    json_writer_array(&w, "bits");
    for (uint32_t k = 0; k < r->portions; k++) {
        if (one->sample->have >> k & 1) {
            json_writer_bits(&w, NULL, one->sample->codes[k], one->bits[k]);
        } else {
            json_writer_null(&w, NULL);
        }
    }
    json_writer_end_array(&w);
    if (one->stages) {
        json_writer_uint(&w, "rounds", one->stages);
    }
    json_writer_bool(&w, "degraded", one->degraded);
    json_writer_fixed(&w, "ms", one->ms, 3);
    json_writer_end_object(&w);
    dynbuf_add(to, "\n", 1);
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
    if (r->lines.capacity - r->lines.length < LINE_BYTES_MAX) {
        results_flush(r);
    }
    size_t before = r->lines.length;
    put_line(r, one, &r->lines);
    if (is_heard) {
        sse_producer_put(r->sse, "result", r->buffer + before, r->lines.length - before - 1);
    }
    r->lines.length = r->has_file ? r->lines.length : before;
}

void results_flush(results *r) {
    if (r->sse) {
        sse_producer_flush(r->sse);
    }
    if (r->lines.length > 0) {
        line_file_write(&r->file, r->lines.bytes, r->lines.length);
        dynbuf_reset(&r->lines);
    }
}

bool results_may_block(const results *r) {
    return r->has_file && r->file.may_block;
}

void results_lose(results *r) {
    r->lost++;
}

uint64_t results_lost(const results *r) {
    return r->lost + r->file.lost;
}
