/* The project's half of the parity of class weights: cross entropy and its gradient on numbers from standard input.
 *
 *     parity_class_loss ROWS CLASSES SMOOTHING
 *
 * In: floats, weights [classes], logits [rows, classes], labels [rows]. Out: doubles, the loss, then its gradient
 * [rows, classes]. */
#include "nn/loss.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST = 1 << 16 };

static void take(float *to, size_t n) {
    if (fread(to, sizeof *to, n, stdin) != n) {
        exit(2);
    }
}

int main(int argc, char **argv) {
    static float weights[256], logits[MOST], labels[MOST], gradient[MOST];
    static uint8_t classes_of[MOST];
    size_t rows = argc == 4 ? strtoul(argv[1], NULL, 10) : 0, classes = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
    if (rows == 0 || classes == 0 || classes > 256 || rows > MOST / classes) {
        return 2;
    }
    take(weights, classes);
    take(logits, rows * classes);
    take(labels, rows);
    for (size_t i = 0; i < rows; i++) {
        classes_of[i] = (uint8_t)labels[i];
    }
    size_t correct = 0;
    double loss = loss_weighted_cross_entropy(logits, classes_of, rows, classes, strtof(argv[3], NULL), weights,
                                              gradient, &correct);
    fwrite(&loss, sizeof loss, 1, stdout);
    for (size_t i = 0; i < rows * classes; i++) {
        double number = (double)gradient[i];
        fwrite(&number, sizeof number, 1, stdout);
    }
    return fflush(stdout) != 0;
}
