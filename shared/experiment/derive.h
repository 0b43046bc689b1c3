/* Derived values of an experiment: partition, nets, stages, optimiser. */
#ifndef FEWBIT_EXPERIMENT_DERIVE_H
#define FEWBIT_EXPERIMENT_DERIVE_H

#include "data/run_identity.h"
#include "experiment/experiment.h"

/* How the samples are partitioned; shape and classes (which may be NULL) come from the data set. ERR_INPUT: the
 * portions are listed, or the data set is not known. */
err experiment_partition(const experiment *e, partition *s, uint32_t *classes);

/* Of an experiment with a partition: `portions` and `portion_count` out of its data set, partition and encoder, named
 * "0", "1", …. Again after any of those has changed. Listed portions stay as they are. ERR_INPUT: the data set is not
 * known or cannot be partitioned so; then there are no portions. */
err experiment_fill_portions(experiment *e);

/* The portion of a name; NULL: there is none. */
const experiment_portion *experiment_find_portion(const experiment *e, const char *name, uint32_t *number);

/* What a run of it on these labels is of; ERR_INPUT where the labels know other portions. */
err experiment_identify(const experiment *e, const labels *l, run_identity *i);

/* Where it says nothing of validation samples, it holds back those that the labels say. */
void experiment_hold_back(experiment *e, const labels *l);

/* A portion as its encoder sees it. */
nn_shape experiment_portion_shape(const experiment *e, uint32_t portion);

/* A whole sample: that of the data set, or {1, 1, elements of all listed portions}. */
nn_shape experiment_sample_shape(const experiment *e);

/* Decoder and classifier in the presets' terms; it borrows the experiment's lists. How many classes there are the
 * labels say, or the run. */
preset_head experiment_head(const experiment *e, uint32_t classes);

/* How a node makes its encoder, of such a description; pool and max_bytes are its own. */
nn_net_options experiment_encoder_options(const experiment *e, const nn_spec *spec, bool trains);

/* The nets. Portions are numbered from 0. Where the classifier is trained alone, an encoder has no layers and the
 * head's input is a whole sample. */
void experiment_describe_encoder(const experiment *e, uint32_t portion, nn_spec *spec);
void experiment_describe_head(const experiment *e, uint32_t classes, nn_spec *spec);

/* The bits of every portion, in the stages in which they are sent; all portions have as many stages. */
codeword experiment_codeword(const experiment *e);
uint32_t experiment_bits(const experiment *e);
refinement experiment_refinement(const experiment *e, uint32_t portion);

/* The share of each stage in the loss; the shares add up to 1. */
void experiment_refinement_weights(const experiment *e, float weights[REFINEMENT_STAGES_MAX]);

/* classifier.weights seen from here: relative to the folder that `file`, the experiment's own, lies in. */
err experiment_weights_path(const experiment *e, const char *file, char *path, size_t size);

/* Multiply-adds of one joint training step of all nets, at the full batch. */
double experiment_step_macs(const experiment *e, uint32_t classes);

/* A fresh optimiser, for a training on so many samples. */
nn_optimiser experiment_optimiser(const experiment *e, uint32_t train_samples);

/* The temperature of a portion's activation after `step` of S updates: encoder.temperature ^ ((step / S) ^ 4). It
 * falls late, when the learning rate of a schedule has fallen: a low temperature lets few gradients pass. */
float experiment_temperature(const experiment *e, uint32_t portion, uint64_t step, uint32_t train_samples);

#endif
