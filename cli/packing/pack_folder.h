/* The folder that is packed into: it has a portion or labels, and never half of either. */
#ifndef FEWBIT_CLI_PACKING_PACK_FOLDER_H
#define FEWBIT_CLI_PACKING_PACK_FOLDER_H

#include "base/err.h"

#define PACK_FOLDER_PORTION "portion.json"
#define PACK_FOLDER_LABELS "labels.json"

/* ERR_INPUT where the folder has `other`. */
err pack_folder_check(const char *folder, const char *other);

/* Takes away the file that is written last: what is there is replaced from here on. */
err pack_folder_clear(const char *folder, const char *last);

#endif
