/* Trainer of the head (decoder and classifier): forward pass, loss, backward pass and optimiser of one step, and
 * evaluation. Compute only. Of a classifier that is trained alone the input is a whole sample, not codes. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_HEAD_TRAINER_H
#define FEWBIT_DECODER_SERVER_TRAIN_HEAD_TRAINER_H

#include "experiment/experiment.h"
#include "nn/net.h"

typedef struct head_trainer head_trainer;

/* `rows` is the largest batch, training or evaluating; of a net for images only the training batch counts.
 * `train_samples` says how long the training is. `l` (may be NULL) is borrowed. */
err head_trainer_new(head_trainer **s, const experiment *e, uint32_t classes, size_t rows, uint32_t train_samples,
                     thread_pool *l);
void head_trainer_free(head_trainer *s);

/* From now on samples count by their class, [classes] weights (loss.class_weights). */
void head_trainer_weigh_classes(head_trainer *s, const float *weights);

/* Initial weights, and a fresh optimiser. */
void head_trainer_init(head_trainer *s, uint64_t seed);

nn_net *head_trainer_net(head_trainer *s);
nn_optimiser *head_trainer_optimiser(head_trainer *s);

/* Floats a sample that come in: all portions' bits, or a whole sample. */
size_t head_trainer_inputs(const head_trainer *s);

/* One portion's outputs, from [rows, bits], go to their columns of inputs [rows, inputs]; and the gradient on them
 * comes from its columns. */
void head_trainer_place(const head_trainer *s, uint32_t portion, const float *from, size_t rows, float *inputs);
void head_trainer_take(const head_trainer *s, uint32_t portion, const float *gradient, size_t rows, float *to);

/* Multiply-adds of a training step of so many rows; an evaluation takes a third of that. */
double head_trainer_step_macs(const head_trainer *s, size_t rows);

/* Says which step the next step_train is, from 0: what is drawn in it depends on that. */
void head_trainer_set_number(head_trainer *s, uint64_t number);

/* soft [rows, inputs], all portions side by side; have [rows]: bit k: portion k has that sample, else the head sees
 * none of its bits (NULL: all have all); labels [rows]. Returns the gradient on soft, same shape, the step's
 * until the next call, or NULL for a classifier alone; *loss gets the mean loss (cross entropy + alpha * quantization;
 * where bits come in stages, the weighted mean of each stage's cross entropy), *correct is added to, by all bits.
 * step_update must follow before the next call. */
const float *head_trainer_train(head_trainer *s, const float *soft, const uint64_t *have, const uint8_t *labels,
                                size_t rows, double *loss, size_t *correct);

/* The optimiser's step on the head, in tasks that may run side by side with anything that does not touch the head,
 * then step_update_finish. */
size_t head_trainer_update_tasks(const head_trainer *s);
void head_trainer_update_begin(head_trainer *s);
void head_trainer_update_task(head_trainer *s, size_t task);
void head_trainer_update_finish(head_trainer *s);

/* Puts BINARIZE_UNKNOWN for the bits of portions that do not have a sample: inputs [rows, inputs], have [rows]. */
void head_trainer_hide(const head_trainer *s, const uint64_t *have, size_t rows, float *inputs);

/* What the head makes of rows of codes, any number of them: each row's largest probability and its class. */
void head_trainer_predict(head_trainer *s, const float *codes, size_t rows, float *confidences, uint8_t *classes);

/* How many of the rows, any number of them, are classified right. probabilities [rows, classes] gets those of all;
 * NULL: they are not wanted. */
size_t head_trainer_evaluate(head_trainer *s, const float *codes, const uint8_t *labels, size_t rows,
                             float *probabilities);

#endif
