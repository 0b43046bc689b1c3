/* The files of a folder to be packed: those of some kind, also one folder further down. */
#ifndef FEWBIT_CLI_PACKING_FILE_NAMES_H
#define FEWBIT_CLI_PACKING_FILE_NAMES_H

#include "base/err.h"

/* One file: FOLDER/NAME, or FOLDER/INSIDE/NAME. */
typedef struct file_name {
    char *inside; /* NULL: the file lies in the folder itself */
    char *name;
    char *id; /* the name without its ending */
} file_name;

typedef struct file_names {
    file_name *list; /* [count], sorted by id */
    uint32_t count;
} file_names;

/* Whether a name is one of the wanted. */
typedef bool file_names_wants(const char *name);

/* Lists them; names that begin with a dot are none, others are passed over. ERR_INPUT: there are none, or too many. The
 * caller ends it with file_names_free. */
err file_names_list(file_names *f, const char *folder, file_names_wants *wants);
/* ERR_INPUT: two files have one id. */
err file_names_check(const file_names *f, const char *folder);

void file_names_free(file_names *f);

/* The path of one of them. */
err file_names_path(const file_name *file, const char *folder, char *to, size_t size);

/* Whether a path is a folder. */
bool file_names_is_folder(const char *path);

#endif
