/* How a class is told to people: its number, and its name where that is another. */
#ifndef FEWBIT_CLI_CLASS_LABEL_H
#define FEWBIT_CLI_CLASS_LABEL_H

#include <jansson.h>
#include <stddef.h>

/* So many code points at most; a longer one ends with "…". */
enum { CLASS_LABEL_WIDTH = 32, CLASS_LABEL_MAX = 4 * CLASS_LABEL_WIDTH + 32 };

/* `names` is a list, or NULL; it is not trusted: a class that it has no text for is a number. Returns the label's code
 * points. */
int class_label(char to[CLASS_LABEL_MAX], size_t class, const json_t *names);

#endif
