/* A list of ids from a file: text with an id a line, or a NumPy array of whole numbers. */
#ifndef FEWBIT_CLI_PACKING_ID_LIST_H
#define FEWBIT_CLI_PACKING_ID_LIST_H

#include "base/err.h"

typedef struct id_list id_list;

/* A path that ends with .npy or .npz is an array's. ERR_INPUT names what is wrong. The caller ends it with
 * id_list_free. */
err id_list_read(id_list **l, const char *path);
void id_list_free(id_list *l);

/* The ids, in order, and how many. Borrowed. */
const char *const *id_list_all(const id_list *l, uint32_t *count);

bool id_list_has(const id_list *l, const char *id);

#endif
