/* The answers of every serving path beside those of the plain nets.
 *
 *     parity_paths RUN RESULTS
 *
 * takes the codes of a results file (JSON lines) that RUN was served to, each sample as it was, and once more with a
 * portion missing, and runs them through the nets as they were trained, through the folded nets, the table of answers,
 * the cache, and a cache far too small, twice each. Prints
 *
 *     {"samples": N, "paths": {NAME: {"other_classes": N, "largest_difference": X, "from_table": N, "from_cache": N,
 *                                     "from_nets": N, "table_known": N, "table_size": N}, ...}}
 *
 * where the difference is that of any probability. Ends with 0 also where they differ: that is for the caller to judge.
 */
#include "base/log.h"
#include "bits/pack.h"
#include "decoder_server/serve/predictor.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 8192 };

typedef struct codes {
    uint64_t *values; /* [count, portions] */
    assembler_sample *samples;
    size_t count, capacity;
    uint32_t portions;
} codes;

/* What the plain nets say. */
typedef struct reference {
    uint32_t *classes;    /* [count] */
    float *probabilities; /* [count, width] */
    uint32_t width;
} reference;

typedef struct way {
    const char *name;
    predictor_options options;
} way;

static const way ways[] = {
    {"folded", {0}},
    {"table", {.table_bytes = 64 << 20}},
    {"cache", {.cache_bytes = 32 << 20}},
    {"small cache", {.cache_bytes = 40000}},
    {"table and cache", {.table_bytes = 64 << 20, .cache_bytes = 32 << 20}},
};

static err grow(codes *c) {
    c->capacity = c->capacity ? 2 * c->capacity : 1024;
    c->values = realloc(c->values, c->capacity * c->portions * sizeof *c->values);
    c->samples = realloc(c->samples, c->capacity * sizeof *c->samples);
    return c->values && c->samples ? ERR_OK : err_fail(ERR_MEMORY, "no memory for the codes");
}

/* A sample with those of its portions that are in `have`. */
static err add(codes *c, const uint64_t *values, uint64_t have) {
    err e = c->count == c->capacity ? grow(c) : ERR_OK;
    if (!e) {
        for (uint32_t k = 0; k < c->portions; k++) {
            c->values[c->count * c->portions + k] = have >> k & 1 ? values[k] : 0;
        }
        c->samples[c->count++] = (assembler_sample){.have = have};
    }
    return e;
}

static err take_line(codes *c, const char *text) {
    json_t *line = json_loads(text, 0, NULL), *bits = json_object_get(line, "bits");
    uint64_t values[PARTITION_PORTIONS_MAX] = {0}, have = 0;
    for (uint32_t k = 0; k < c->portions; k++) {
        const char *code = json_string_value(json_array_get(bits, k));
        have |= (uint64_t)(code != NULL) << k;
        for (size_t b = 0; code && code[b]; b++) {
            values[k] |= (uint64_t)(code[b] == '1') << b;
        }
    }
    json_decref(line);
    uint64_t fewer = have & ~((uint64_t)1 << c->count / 2 % c->portions);
    err e = have && fewer ? add(c, values, have) : err_fail(ERR_INPUT, "no result: %s", text);
    return e ? e : add(c, values, fewer);
}

static err read_codes(codes *c, const char *path) {
    char line[LINE_MAX_BYTES];
    FILE *file = fopen(path, "r");
    err e = file ? ERR_OK : err_system(ERR_IO, "%s", path);
    while (!e && fgets(line, sizeof line, file)) {
        e = take_line(c, line);
    }
    if (file) {
        fclose(file);
    }
    for (size_t i = 0; i < c->count && !e; i++) {
        c->samples[i].codes = c->values + i * c->portions;
    }
    return e;
}

static size_t piece_at(const codes *c, size_t at) {
    return c->count - at < PREDICTOR_ROWS ? c->count - at : PREDICTOR_ROWS;
}

typedef struct difference {
    size_t other_classes;
    double largest;
} difference;

static err ask_plain_nets(const run_dir *r, const manifest_commit *commit, const codes *c, reference *ref) {
    predictor *plain;
    const predictor_options options = {.plain = true};
    err e = predictor_new(&plain, r, commit, &options);
    if (e) {
        return e;
    }
    ref->width = predictor_classes(plain);
    ref->classes = calloc(c->count + 1, sizeof *ref->classes);
    ref->probabilities = calloc(c->count + 1, ref->width * sizeof *ref->probabilities);
    e = ref->classes && ref->probabilities ? ERR_OK : err_fail(ERR_MEMORY, "no memory for the answers");
    for (size_t at = 0; at < c->count && !e; at += piece_at(c, at)) {
        const prediction *said = predictor_run(plain, c->samples + at, piece_at(c, at));
        for (size_t i = 0; i < piece_at(c, at); i++) {
            ref->classes[at + i] = said[i].class;
            memcpy(ref->probabilities + (at + i) * ref->width, said[i].probabilities, ref->width * sizeof(float));
        }
    }
    predictor_free(plain);
    return e;
}

static void compare(const prediction *got, const reference *ref, size_t at, size_t count, difference *d) {
    for (size_t i = 0; i < count; i++) {
        d->other_classes += got[i].class != ref->classes[at + i];
        for (uint32_t k = 0; k < ref->width; k++) {
            double wanted = (double)ref->probabilities[(at + i) * ref->width + k];
            d->largest = fmax(d->largest, fabs((double)got[i].probabilities[k] - wanted));
        }
    }
}

static err try_way(const run_dir *r, const manifest_commit *commit, const codes *c, const reference *ref, const way *w,
                   const char *before) {
    predictor *other;
    err e = predictor_new(&other, r, commit, &w->options);
    if (e) {
        return e;
    }
    difference d = {0};
    for (int round = 0; round < 2; round++) {
        for (size_t at = 0; at < c->count; at += piece_at(c, at)) {
            compare(predictor_run(other, c->samples + at, piece_at(c, at)), ref, at, piece_at(c, at), &d);
        }
    }
    predictor_counters n;
    predictor_count(other, &n);
    printf(
        "%s\"%s\": {\"other_classes\": %zu, \"largest_difference\": %.3g, \"from_table\": %llu, \"from_cache\": %llu, "
        "\"from_nets\": %llu, \"table_known\": %u, \"table_size\": %u}",
        before, w->name, d.other_classes, d.largest, (unsigned long long)n.from_table, (unsigned long long)n.from_cache,
        (unsigned long long)n.from_nets, n.table_known, n.table_size);
    predictor_free(other);
    return ERR_OK;
}

static err compare_all(const run_dir *r, const codes *c) {
    const manifest_commit *commit;
    reference ref = {0};
    err e = run_dir_served_commit(r, &commit);
    e = e ? e : ask_plain_nets(r, commit, c, &ref);
    printf("{\"samples\": %zu, \"paths\": {", c->count);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0] && !e; i++) {
        e = try_way(r, commit, c, &ref, &ways[i], i ? ", " : "");
    }
    printf("}}\n");
    free(ref.classes);
    free(ref.probabilities);
    return e;
}

int main(int argc, char **argv) {
    run_dir r;
    log_choose_level("warn");
    openblas_set_num_threads(1);
    err e = argc == 3 ? run_dir_open(&r, argv[1]) : err_fail(ERR_USAGE, "usage: parity_paths RUN RESULTS");
    if (!e) {
        codes c = {.portions = r.experiment.dataset.portions};
        e = read_codes(&c, argv[2]);
        e = e ? e : compare_all(&r, &c);
        free(c.values);
        free(c.samples);
        run_dir_close(&r);
    }
    if (e) {
        fprintf(stderr, "parity_paths: %s\n", err_text());
    }
    return err_exit_code(e);
}
