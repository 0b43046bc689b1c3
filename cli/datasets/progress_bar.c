#include "cli/datasets/progress_bar.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_WIDTH = 24 };

static const uint64_t terminal_every_ns = 100000000u; /* 0.1 s */
static const uint64_t lines_every_ns = 10000000000u;  /* 10 s */

static double megabytes(uint64_t bytes) {
    return (double)bytes * 1e-6;
}

void progress_bar_begin(progress_bar *p, const char *name, uint64_t have) {
    uint64_t now = clock_now_ns();
    *p = (progress_bar){.name = name,
                        .terminal = isatty(STDERR_FILENO) == 1,
                        .before = have,
                        .have = have,
                        .start_ns = now,
                        .shown_ns = now};
    if (!p->terminal && have > 0) {
        fprintf(stderr, "%s: resuming after %.1f MB\n", name, megabytes(have));
    }
}

static void draw_bar(uint64_t have, uint64_t total, char bar[BAR_WIDTH + 1]) {
    size_t filled = (size_t)(have * BAR_WIDTH / total);
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', filled);
    bar[BAR_WIDTH] = '\0';
}

static void print_known(const progress_bar *p, uint64_t total, double rate) {
    char bar[BAR_WIDTH + 1];
    uint64_t have = p->have < total ? p->have : total;
    draw_bar(have, total, bar);
    uint64_t percent = have * 100 / total;
    uint64_t left = rate > 0 ? (uint64_t)(megabytes(total - have) / rate) : 0;
    if (p->terminal) {
        fprintf(stderr, "\r%s %3llu%% [%s] %.1f of %.1f MB, %.1f MB/s, %llu:%02llu left\033[K", p->name,
                (unsigned long long)percent, bar, megabytes(have), megabytes(total), rate,
                (unsigned long long)(left / 60), (unsigned long long)(left % 60));
        return;
    }
    fprintf(stderr, "%s: %llu%%, %.1f of %.1f MB, %.1f MB/s, %llu:%02llu left\n", p->name, (unsigned long long)percent,
            megabytes(have), megabytes(total), rate, (unsigned long long)(left / 60), (unsigned long long)(left % 60));
}

void progress_bar_show(progress_bar *p, uint64_t have, uint64_t total) {
    p->have = have;
    uint64_t now = clock_now_ns();
    if (now - p->shown_ns < (p->terminal ? terminal_every_ns : lines_every_ns)) {
        return;
    }
    p->shown_ns = now;
    double rate = megabytes(have - p->before) / clock_seconds_since(p->start_ns);
    if (total > 0) {
        print_known(p, total, rate);
        return;
    }
    fprintf(stderr, p->terminal ? "\r%s %.1f MB, %.1f MB/s\033[K" : "%s: %.1f MB, %.1f MB/s\n", p->name,
            megabytes(have), rate);
}

void progress_bar_end(progress_bar *p, bool done) {
    if (p->terminal) {
        fputs("\r\033[K", stderr);
    }
    if (done) {
        fprintf(stderr, "%s: %.1f MB in %.1f s\n", p->name, megabytes(p->have - p->before),
                clock_seconds_since(p->start_ns));
    }
}
