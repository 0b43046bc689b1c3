/* What a training's result says class by class, as tables for people. */
#ifndef FEWBIT_CLI_COMMANDS_CLASS_TABLE_H
#define FEWBIT_CLI_COMMANDS_CLASS_TABLE_H

#include <jansson.h>

/* Prints the metrics of one split (result.json's final.test or final.validation; NULL: nothing): a line about all, one
 * a class, and of at most 20 classes the confusion matrix. `what` says of which samples they are. `names` is a list of
 * the classes' names; where it has none, the class is a number. Neither is trusted: what is no number is 0. */
void class_table_print(const char *what, const json_t *metrics, const json_t *names);

#endif
