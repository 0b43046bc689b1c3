/* What each class weighs in the loss (loss.class_weights). */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_CLASS_WEIGHTS_H
#define FEWBIT_DECODER_SERVER_TRAIN_CLASS_WEIGHTS_H

#include "experiment/experiment.h"

/* To weights [classes]; false: the experiment wants none, and they are left as they are. Balanced is samples / (classes
 * * samples of the class), 0 for a class without any. labels [samples]: those that are trained on, each < classes. A
 * list has as many entries as there are classes (class_weights_check). */
bool class_weights_of(const experiment *e, const uint8_t *labels, size_t samples, uint32_t classes, float *weights);

/* ERR_INPUT where weights are listed, but not one a class. */
err class_weights_check(const experiment *e, uint32_t classes);

#endif
