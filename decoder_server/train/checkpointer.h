/* A checkpoint that spans the nodes: the head's part here, and each encoder's at its node. What is committed is what
 * every node has restored: the encoders put out the same, bit for bit, before and after.
 *
 *     outputs? -> save -> restore -> outputs? -> commit
 *         '- meanwhile the head's part is written
 *
 * Pure but for the run's files: it says what is to be asked of all nodes, takes their answers, and is done or has more.
 * With no nodes only the head is written. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_CHECKPOINTER_H
#define FEWBIT_DECODER_SERVER_TRAIN_CHECKPOINTER_H

#include "decoder_server/core/run_dir.h"
#include "decoder_server/train/head_trainer.h"
#include "wire/message.h"

typedef struct checkpointer checkpointer;

typedef enum checkpointer_phase {
    CHECKPOINTER_OUTPUTS_BEFORE,
    CHECKPOINTER_SAVING,
    CHECKPOINTER_RESTORING,
    CHECKPOINTER_OUTPUTS_AFTER,
    CHECKPOINTER_COMMITTING,
} checkpointer_phase;

/* The run and the trainer are borrowed. */
err checkpointer_new(checkpointer **c, run_dir *r, head_trainer *trainer, uint32_t train_samples);
void checkpointer_free(checkpointer *c);

/* Begins the checkpoint of a position; `is_best`: it is the one to keep. */
void checkpointer_start(checkpointer *c, const manifest_position *position, bool is_best);

/* Everybody has answered: the next phase. Where a part could not be written, that is the commit. */
checkpointer_phase checkpointer_next(checkpointer *c);

/* The batch whose outputs are asked for, and the encoders' parts that are to be restored. */
Fewbit__Batch checkpointer_batch(const checkpointer *c);
const uint8_t (*checkpointer_digests(const checkpointer *c))[SHA256_BYTES];

/* The f32 outputs of an encoder for that batch; false: these are not those from before it was saved. */
bool checkpointer_take_outputs(checkpointer *c, uint32_t portion, const uint8_t *outputs);

/* false: it does not fit what was asked. */
bool checkpointer_take_saved(checkpointer *c, uint32_t portion, const Fewbit__Saved *s);

/* Writes the head's part, and the manifest. Both take as long as the disk does; the log tells of a failure. */
void checkpointer_write_head(checkpointer *c);
void checkpointer_commit(checkpointer *c);

/* ERR_IO with what to do about it, where the last checkpoint failed. */
err checkpointer_check(const checkpointer *c);

#endif
