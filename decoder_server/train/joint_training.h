/* A joint training from its nodes' first message to its end: the aligner finds the samples that all parties have, then
 * the coordinator leads the nodes through them. Where samples are counted there is nothing to align, and the
 * coordinator is there from the beginning.
 *
 *     a node joins -> aligner -> (the first time, once all are aligned: labels in order, coordinator) -> coordinator
 *
 * Pure, as both are: messages in, messages out. After each call there may be work, which may be done on another thread,
 * and no other call may be made as long as there is any. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_JOINT_TRAINING_H
#define FEWBIT_DECODER_SERVER_TRAIN_JOINT_TRAINING_H

#include "decoder_server/train/aligner.h"
#include "decoder_server/train/coordinator.h"

typedef struct joint_training joint_training;

/* Everything is borrowed; as coordinator_new. */
err joint_training_new(joint_training **t, run_dir *r, const labels *l, thread_pool *pool, bool over_tcp,
                       const coordinator_host *host);
void joint_training_free(joint_training *t);

/* `name` is the node's, `node` what it says of its samples. */
void joint_training_joined(joint_training *t, uint32_t portion, const char *name, const aligner_node *node);
void joint_training_left(joint_training *t, uint32_t portion);
void joint_training_receive(joint_training *t, uint32_t portion, const message *m);

bool joint_training_has_work(const joint_training *t);
bool joint_training_work_is_long(const joint_training *t);
void joint_training_work(joint_training *t);

/* Where the next piece of work is the head's update, the loop whose update it is (train_loop_update_tasks); else
 * NULL. */
train_loop *joint_training_update(joint_training *t);

bool joint_training_is_over(const joint_training *t, err *outcome);

/* As the coordinator's. */
void joint_training_set_answer_timeout(joint_training *t, uint64_t ns);
int64_t joint_training_poll(joint_training *t, uint64_t now_ns);
void joint_training_stats(const joint_training *t, uint32_t portion, stats_node *n);

#endif
