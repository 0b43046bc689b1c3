/* The names of the classes: 2 to DATASET_CLASSES_MAX, each 1 to CLASS_NAME_MAX bytes of UTF-8 without control
 * characters, none twice. */
#ifndef FEWBIT_DATA_CLASS_NAMES_H
#define FEWBIT_DATA_CLASS_NAMES_H

#include "base/json_fields.h"
#include "data/dataset.h"

enum { CLASS_NAME_MAX = 63 };

typedef struct class_names {
    uint32_t count;
    char names[DATASET_CLASSES_MAX][CLASS_NAME_MAX + 1];
} class_names;

bool class_name_is_valid(const char *name);

/* ERR_INPUT names the first name that is none. `count` of more than there may be is refused before it is read. */
err class_names_set(class_names *c, const char *const *names, size_t count);

/* Those of a published data set. */
void class_names_of(class_names *c, const dataset *set);

/* An array of strings in a JSON file, and back; NULL where memory ran out. */
void class_names_read(json_fields *m, const char *field, class_names *c);
json_t *class_names_pack(const class_names *c);

#endif
