/* Pictures to be packed: a folder of PNG and JPEG files, each named by its sample's id. Where they lie in folders
 * further down, those are the classes. A portion is u8 [channels, height, width]. */
#ifndef FEWBIT_CLI_PACKING_PACK_PICTURES_H
#define FEWBIT_CLI_PACKING_PACK_PICTURES_H

#include "cli/packing/pack_samples.h"

/* Whether a file's name is a picture's. */
bool pack_pictures_are(const char *name);

/* Adds the pictures of pack_samples_path, scaled to `shape` ({channels, height, width}, of 1 or 3 channels). `labels`:
 * their classes, and no pixels. */
err pack_pictures_read(pack_samples *s, const uint32_t shape[3], bool labels);

#endif
