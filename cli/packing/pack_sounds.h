/* Sounds to be packed: a folder of WAV files, each named by its sample's id. Where they lie in folders further down,
 * those are the classes. A portion is f32 [channels, length], with values from -1 to 1; all files have one sample rate
 * and as many channels. */
#ifndef FEWBIT_CLI_PACKING_PACK_SOUNDS_H
#define FEWBIT_CLI_PACKING_PACK_SOUNDS_H

#include "cli/packing/pack_series.h"

/* Whether a file's name is a sound's. */
bool pack_sounds_are(const char *name);

/* Adds the sounds of pack_samples_path. `length` > 0: they are cut there, or filled with zeros; else all are as long as
 * the first. `d`: of these channels alone. `is_mono`: their mean. `labels`: their classes, and no values. */
err pack_sounds_read(pack_samples *s, const pack_dimensions *d, uint32_t length, bool is_mono, bool labels);

#endif
