/* The rollout of models: the models that are served, and the messages that bring the nodes from one to the next.
 *
 * What comes when is model_swap's; this part has the models and speaks with the nodes. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_MODEL_ROLLOUT_H
#define FEWBIT_DECODER_SERVER_SERVE_MODEL_ROLLOUT_H

#include "decoder_server/serve/model_swap.h"
#include "decoder_server/serve/responders.h"
#include "decoder_server/serve/stream_intake.h"

typedef struct model_rollout model_rollout;

/* Begins with the model of `r`. Nodes may stream so long for the model before as a deadline is. `r`, `nodes`, `intake`
 * and `host` are borrowed. */
err model_rollout_new(model_rollout **o, const run_dir *r, const predictor_options *options, uint64_t deadline_ns,
                      responders *nodes, stream_intake *intake, const engine_host *host);
void model_rollout_free(model_rollout *o);

/* Models by index, and the number that the codes of one carry. */
uint8_t model_rollout_active(const model_rollout *o);
served_model *model_rollout_model(const model_rollout *o, uint8_t model);
uint32_t model_rollout_number(const model_rollout *o, uint8_t model);

/* The model of codes that carry a number; false: none, and *is_gone says whether it was the last one that ended. */
bool model_rollout_find(const model_rollout *o, uint32_t number, uint8_t *model, bool *is_gone);

/* A node has joined and gets its Restore; is ready; is gone. */
void model_rollout_joined(model_rollout *o, uint32_t portion);
void model_rollout_ready(model_rollout *o, uint32_t portion);
void model_rollout_left(model_rollout *o, uint32_t portion, uint64_t now_ns);

/* A node's Prepared; false: nobody asked for it. */
bool model_rollout_prepared(model_rollout *o, uint32_t portion, const Fewbit__Prepared *p, uint64_t now_ns);

/* Begins with a model, or refuses it, as engine_swap_model says; takes it over. */
void model_rollout_begin(model_rollout *o, served_model *m, uint64_t now_ns);

/* Goes on where nodes, answers or time allow it. `has_ended`: no sample waits of the model that is not in use. */
void model_rollout_poll(model_rollout *o, bool has_ended, uint64_t now_ns);

/* When to call it at the latest; UINT64_MAX: whenever. */
uint64_t model_rollout_next_ns(const model_rollout *o);

#endif
