/* Folding: a trained net as a smaller one that evaluates to the same.
 *
 *     batch norm             into the dense layer or convolution before it, by its running statistics
 *     two dense layers       with nothing between (a linear decoder and a classifier's first layer) into one, where
 * that is less to multiply
 *
 * The folded weights are computed in double precision and rounded once, so answers differ from those of the net as it
 * was trained by roundings alone. For evaluation only: the folded net has no training and names its tensors after the
 * layers that took others in. */
#ifndef FEWBIT_NN_FOLD_H
#define FEWBIT_NN_FOLD_H

#include "nn/net.h"

/* Puts the folded net in place of *net, which was made from `spec` with `options` (without training) and loaded. Where
 * nothing can be folded, *net stays as it is. On failure too. */
err nn_fold(nn_net **net, const nn_spec *spec, const nn_net_options *options);

#endif
