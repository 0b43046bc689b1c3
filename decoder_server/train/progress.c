#include "decoder_server/train/progress.h"

#include "base/clock.h"
#include "base/log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_WIDTH = 24 };

void progress_start(progress *p) {
    *p = (progress){.is_terminal = isatty(STDERR_FILENO), .started_ns = clock_now_ns()};
}

/* On a terminal what is not `lasting` is overwritten by what follows. */
static void put(const progress *p, const char *text, bool lasting) {
    if (p->is_terminal) {
        fprintf(stderr, "\r\033[K%s%s", text, lasting ? "\n" : "");
    } else if (log_is_json()) {
        log_event(LOG_INFO, "training_progress", "%s", text);
    } else {
        fprintf(stderr, "%s\n", text);
    }
    fflush(stderr);
}

/* "  NAME 12.34 %", or nothing where it was not measured; returns the end. */
static char *put_accuracy(char *to, const char *name, double accuracy) {
    return isnan(accuracy) ? to : to + sprintf(to, "  %s %.2f %%", name, accuracy);
}

static void show_epoch(const progress *p, const train_loop_progress *now) {
    const manifest_evaluation *e = now->ended;
    bool is_rounded = !isnan(e->rounded) || !isnan(e->soft_validation);
    char accuracies[160] = "", text[256], *end = accuracies;
    end = put_accuracy(end, is_rounded ? "soft" : "test", e->soft);
    end = put_accuracy(end, "rounded", e->rounded);
    end = put_accuracy(end, "validation soft", e->soft_validation);
    put_accuracy(end, is_rounded ? "validation rounded" : "validation", e->validation);
    snprintf(text, sizeof text, "epoch %.4g/%u  loss %.4f  train %.2f %%%s  %.1f s", e->epoch, now->epochs, e->loss,
             e->train, accuracies, e->seconds);
    put(p, text, true);
}

static void draw_bar(char bar[4 * BAR_WIDTH], double share) {
    int filled = (int)(share * BAR_WIDTH + 0.5);
    strcpy(bar, "[");
    for (int i = 0; i < BAR_WIDTH; i++) {
        strcat(bar, i < filled ? "#" : "-");
    }
    strcat(bar, "]");
}

static void show_training(const progress *p, const train_loop_progress *now) {
    double seconds = clock_seconds_since(p->started_ns);
    double rate = seconds > 0 ? (double)now->samples / seconds : 0;
    double batches_left = (double)(now->epochs - now->epoch + 1) * now->batches - now->batch;
    double left = now->steps ? batches_left * seconds / (double)now->steps : 0;
    char bar[4 * BAR_WIDTH] = "", text[256];
    if (p->is_terminal) {
        draw_bar(bar, now->batches ? (double)now->batch / now->batches : 0);
    }
    snprintf(text, sizeof text, "epoch %u/%u %s batch %u/%u  loss %.4f  train %.2f %%  %.0f samples/s  %u:%02u left",
             now->epoch, now->epochs, bar, now->batch, now->batches, now->loss, now->accuracy, rate,
             (unsigned)left / 60, (unsigned)left % 60);
    put(p, text, false);
}

void progress_show(progress *p, const train_loop_progress *now) {
    if (now->ended) {
        show_epoch(p, now);
        return;
    }
    if (now->samples == 0) {
        p->started_ns = clock_now_ns();
    }
    uint64_t at = clock_now_ns();
    uint64_t pause = p->is_terminal ? 100000000u : 5000000000u;
    bool trains = strcmp(now->phase, "training") == 0;
    if (at - p->shown_ns < pause && (trains || !p->is_terminal)) {
        return;
    }
    p->shown_ns = at;
    if (trains) {
        show_training(p, now);
    } else if (p->is_terminal) {
        char text[64];
        snprintf(text, sizeof text, "epoch %u/%u %s", now->epoch, now->epochs, now->phase);
        put(p, text, false);
    }
}

void progress_end(progress *p) {
    if (p->is_terminal) {
        fprintf(stderr, "\r\033[K");
    }
}
