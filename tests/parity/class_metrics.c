/* The project's half of the parity of metrics by class: they are printed as JSON.
 *
 *     parity_class_metrics ROWS CLASSES PIECE
 *
 * In: floats, probabilities [rows, classes], labels [rows]. They are added PIECE rows at a time. */
#include "decoder_server/train/class_metrics.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST = 1 << 20 };

int main(int argc, char **argv) {
    static float probabilities[MOST], labels[MOST];
    static uint8_t classes_of[MOST];
    size_t rows = argc == 4 ? strtoul(argv[1], NULL, 10) : 0, classes = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
    size_t piece = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
    class_metrics *m = NULL;
    if (rows == 0 || piece == 0 || classes < 2 || classes > 256 || rows > MOST / classes ||
        fread(probabilities, sizeof(float), rows * classes, stdin) != rows * classes ||
        fread(labels, sizeof(float), rows, stdin) != rows || class_metrics_new(&m, (uint32_t)classes, (uint32_t)rows)) {
        return 2;
    }
    for (size_t i = 0; i < rows; i++) {
        classes_of[i] = (uint8_t)labels[i];
    }
    class_metrics_start(m);
    for (size_t first = 0; first < rows; first += piece) {
        size_t count = rows - first < piece ? rows - first : piece;
        class_metrics_add(m, probabilities + first * classes, classes_of + first, count);
    }
    json_t *j = class_metrics_json(m);
    int failed = json_dumpf(j, stdout, JSON_COMPACT);
    json_decref(j);
    class_metrics_free(m);
    return failed != 0;
}
