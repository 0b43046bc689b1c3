/* What an experiment says of its nets, in the presets' terms; for experiment/ only. */
#ifndef FEWBIT_EXPERIMENT_DERIVE_H
#define FEWBIT_EXPERIMENT_DERIVE_H

#include "experiment/experiment.h"

nn_shape derive_portion_shape(const partition *s);
preset_head derive_head(const experiment *e, const partition *s, uint32_t classes);

#endif
