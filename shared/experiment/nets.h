/* What an experiment says of its nets, in the presets' terms; for experiment/ only. */
#ifndef FEWBIT_EXPERIMENT_NETS_H
#define FEWBIT_EXPERIMENT_NETS_H

#include "experiment/experiment.h"

nn_shape nets_portion_shape(const partition *s);
preset_head nets_head(const experiment *e, const partition *s, uint32_t classes);

#endif
