/* Range coding of codes in bulk, as packed codes and back.
 *
 *     coding BITS FRAMES FILE
 *
 * draws FRAMES frames of 1000 codes of BITS bits, each bit uneven in its own way after every start of a code, as a
 * trained encoder's are, and takes the best of a few passes over all of them. The packed codes go to FILE, frame after
 * frame, for others to try.
 *
 * Prints {"worth": the source's entropy, "bits": a code took so many, "codes_in", "codes_out": codes a second}. */
#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/rng.h"
#include "bits/code_compressor.h"
#include "bits/pack.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 1000, PASSES = 5, BITS_MAX = CODE_COMPRESSOR_TREE_BITS, FRAME_MAX = ROWS * BITS_MAX };

typedef struct job {
    uint32_t bits;
    size_t frames, frame_bytes;
    uint8_t *packed;             /* [frames, frame_bytes] */
    uint8_t *compressed;         /* [frames, FRAME_MAX] */
    size_t *lengths;             /* [frames] */
    code_compressor_frame *what; /* [frames] */
    double worth;
} job;

typedef struct outcome {
    double bits, in_seconds, out_seconds;
} outcome;

static void draw(job *j) {
    double shares[1 << BITS_MAX], reached[1 << BITS_MAX] = {[1] = 1};
    rng r = rng_at(1, RNG_TEST, 0);
    for (size_t at = 1; at < (size_t)1 << j->bits; at++) {
        double p = shares[at] = 0.05 + 0.9 * (rng_u32(&r) & 65535u) / 65536.0;
        j->worth += reached[at] * (-p * log2(p) - (1 - p) * log2(1 - p));
        if (2 * at < (size_t)1 << j->bits) {
            reached[2 * at] = reached[at] * (1 - p);
            reached[2 * at + 1] = reached[at] * p;
        }
    }
    for (size_t row = 0; row < j->frames * ROWS; row++) {
        uint8_t *frame = j->packed + row / ROWS * j->frame_bytes;
        size_t before = 1;
        for (uint32_t place = 0; place < j->bits; place++) {
            uint64_t bit = (rng_u32(&r) & 65535u) < (uint32_t)(65536 * shares[before]);
            pack_put(frame, row % ROWS * j->bits + place, 1, bit);
            before = before << 1 | bit;
        }
    }
}

static err code_range(job *j, outcome *o) {
    code_compressor *from = NULL, *to = NULL;
    err e = code_compressor_new(&from, j->bits, ROWS);
    e = e ? e : code_compressor_new(&to, j->bits, ROWS);
    uint64_t start = clock_now_ns();
    for (size_t i = 0; i < j->frames && !e; i++) {
        code_compressor_frame *f = &j->what[i];
        *f = (code_compressor_frame){.model = 1, .first = i * ROWS, .rows = ROWS};
        code_compressor_encode(from, j->packed + i * j->frame_bytes, f);
        memcpy(j->compressed + i * FRAME_MAX, f->compressed, f->length);
        f->compressed = j->compressed + i * FRAME_MAX;
        j->lengths[i] = f->length;
    }
    o->in_seconds = clock_seconds_since(start);
    start = clock_now_ns();
    for (size_t i = 0; i < j->frames && !e; i++) {
        const uint8_t *packed;
        e = code_compressor_decode(to, &j->what[i], &packed);
    }
    o->out_seconds = clock_seconds_since(start);
    code_compressor_free(from);
    code_compressor_free(to);
    return e;
}

static err best_of_passes(job *j, outcome *best) {
    err e = ERR_OK;
    for (int pass = 0; pass < PASSES && !e; pass++) {
        outcome now;
        e = code_range(j, &now);
        best->in_seconds = pass == 0 || now.in_seconds < best->in_seconds ? now.in_seconds : best->in_seconds;
        best->out_seconds = pass == 0 || now.out_seconds < best->out_seconds ? now.out_seconds : best->out_seconds;
    }
    size_t bytes = 0;
    for (size_t i = 0; i < j->frames; i++) {
        bytes += j->lengths[i];
    }
    best->bits = 8.0 * (double)bytes / (double)(j->frames * ROWS);
    return e;
}

static err run(int argc, char **argv) {
    job j = {.bits = argc == 4 ? (uint32_t)atoi(argv[1]) : 0, .frames = argc == 4 ? strtoul(argv[2], NULL, 10) : 0};
    if (j.bits < 1 || j.bits > BITS_MAX || j.frames < 1 || j.frames > 100000) {
        return err_fail(ERR_USAGE, "usage: coding BITS FRAMES FILE, BITS from 1 to %d", BITS_MAX);
    }
    j.frame_bytes = pack_bytes((size_t)ROWS * j.bits);
    j.packed = calloc(j.frames, j.frame_bytes);
    j.compressed = calloc(j.frames, FRAME_MAX);
    j.lengths = calloc(j.frames, sizeof *j.lengths);
    j.what = calloc(j.frames, sizeof *j.what);
    if (!j.packed || !j.compressed || !j.lengths || !j.what) {
        return err_fail(ERR_MEMORY, "no memory for %zu frames", j.frames);
    }
    draw(&j);
    outcome best;
    double codes = (double)(j.frames * ROWS);
    err e = file_write_atomic(argv[3], &(file_span){j.packed, j.frames * j.frame_bytes}, 1);
    e = e ? e : best_of_passes(&j, &best);
    if (!e) {
        printf("{\"worth\": %.4f, \"bits\": %.4f, \"codes_in\": %.0f, \"codes_out\": %.0f}\n", j.worth, best.bits,
               codes / best.in_seconds, codes / best.out_seconds);
    }
    free(j.packed);
    free(j.compressed);
    free(j.lengths);
    free(j.what);
    return e;
}

int main(int argc, char **argv) {
    return process_end(run(argc, argv));
}
