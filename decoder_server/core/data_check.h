/* The data check: whether what a node says of its data, or what lies in a folder, is what a run wants. */
#ifndef FEWBIT_DECODER_SERVER_CORE_DATA_CHECK_H
#define FEWBIT_DECODER_SERVER_CORE_DATA_CHECK_H

#include "data/portion.h"
#include "data/run_identity.h"
#include "experiment/experiment.h"
#include "wire/message.h"

/* What a Hello says of a portion's data, in `claimed`; ERR_INPUT where that can be no portion's. */
err data_check_read(const Fewbit__Hello *h, portion_info *claimed);

/* Whether it is that of the experiment's portion of its name, which is there. `of`: the samples, ids and digest that it
 * must have, where these are known; NULL: any. ERR_INPUT says in one line what differs. */
err data_check(const portion_info *claimed, const experiment *e, const run_identity *of);

#endif
