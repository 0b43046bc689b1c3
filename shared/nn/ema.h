/* The exponential moving average (EMA) of a net's tensors. */
#ifndef FEWBIT_NN_EMA_H
#define FEWBIT_NN_EMA_H

#include "nn/net.h"

/* Takes the tensors as they are after update `step`, from 1, into their moving average:
 *
 *     average = value                          step 1
 *     average += (1 - d) (value - average)     later, d = min(decay, (step - 1) / (step + 9))
 *
 * Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992, in the exponential form with the
 * short memory at the start of TensorFlow's ExponentialMovingAverage; batch norm's statistics are averaged with the
 * weights they belong to. Only of a net made with `average`. */
void nn_net_update_ema(nn_net *net, float decay, uint64_t step);

/* Puts the averages in place of the tensors' values, and the values aside, or back again. Does nothing where it is so
 * already, or the net keeps no average. Training needs the values. */
void nn_net_use_ema(nn_net *net, bool use);

#endif
