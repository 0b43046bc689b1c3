/* A run's folder: everything a training leaves behind, and all that serving needs.
 *
 *   experiment.yaml             the resolved experiment
 *   identity.json               what the run is of, and so its identity (data/run_identity.h)
 *   head/step-N.safetensors     decoder and classifier at committed step N
 *   manifest.json               which steps are committed, with the SHA-256 of every part; written last
 *   log.jsonl                   one JSON object a line: started, resumed, epoch, committed, lost, finished
 *   result.json                 accuracies, seconds, bits; written when the training is over
 *
 * A crash at any moment leaves the manifest of the last commit, and the parts it names are never removed. */
#ifndef FEWBIT_DECODER_SERVER_CORE_RUN_DIR_H
#define FEWBIT_DECODER_SERVER_CORE_RUN_DIR_H

#include "data/run_identity.h"
#include "decoder_server/core/manifest.h"
#include "decoder_server/core/pretrained.h"
#include "experiment/experiment.h"
#include "model/checkpoint.h"

typedef struct run_dir {
    char folder[512];
    experiment experiment;
    run_identity identity;
    uint64_t id;           /* the identity's */
    pretrained pretrained; /* of the classifier, for a run without a commit */
    manifest manifest;
} run_dir;

/* Makes the folder, its identity.json and its experiment.yaml. `w`: what the classifier begins with; NULL: nothing. A
 * folder that holds a run already: ERR_INPUT. */
err run_dir_create(run_dir *r, const char *folder, const experiment *e, const labels *l, const pretrained *w);

/* Opens an existing run. */
err run_dir_open(run_dir *r, const char *folder);
void run_dir_close(run_dir *r);

/* The digest that a portion's owner says of its data becomes that of the run, where none is known, and is written.
 * ERR_INPUT: another one is. */
err run_dir_pin(run_dir *r, uint32_t portion, const char *digest);

/* Whether a run is of this very experiment, on these very data; else ERR_INPUT with what differs. */
err run_dir_check(const run_dir *r, const experiment *wanted, const labels *l);

/* Says once for all which samples the run is trained on; ERR_INPUT where it was begun with others. */
err run_dir_align(run_dir *r, const run_identity_alignment *a);

/* Unmakes a run that was created and has come to nothing: its folder may hold another one. */
void run_dir_discard(const run_dir *r);

/* Gives a run the weights its classifier begins with; ERR_INPUT where it began with others. */
err run_dir_take_pretrained(run_dir *r, const pretrained *w);

/* Loads them into the head of a run that begins. Does nothing where there are none. */
err run_dir_load_pretrained(const run_dir *r, nn_net *head);

/* How many encoders' parts a commit has. */
uint32_t run_dir_encoders(const run_dir *r);

/* Writes the head's part of `step`. */
err run_dir_save_head(const run_dir *r, uint64_t step, nn_net *head, const nn_optimiser *o,
                      uint8_t digest[SHA256_BYTES]);

/* Loads the head of a commit; `o` NULL: weights only. */
err run_dir_load_head(const run_dir *r, const manifest_commit *commit, nn_net *head, nn_optimiser *o);

/* The head's file of the commit to serve, of the run in `folder`. */
err run_dir_find_head(const char *folder, char path[FILE_PATH_MAX]);

/* Commits: writes the manifest. On failure the last commit stands. */
err run_dir_commit(run_dir *r, const manifest_commit *commit, bool is_best);

/* Removes the heads that no commit names. */
void run_dir_prune_heads(const run_dir *r);

/* The commit to serve: the best one where one is kept, else the last; ERR_NOT_FOUND when there is none. */
err run_dir_served_commit(const run_dir *r, const manifest_commit **commit);

/* Says so in the log where a run's training is not finished, and how far the commit is that is served. */
void run_dir_log_unfinished(const run_dir *r, const manifest_commit *commit);

/* Writes result.json; `result` is borrowed. */
err run_dir_write_result(const run_dir *r, json_t *result);
bool run_dir_has_result(const run_dir *r);

/* Appends {"time": seconds since 1970, "event": EVENT, fields…} to log.jsonl, which says for good what happened to the
 * training; takes over `fields` (may be NULL). Where it cannot, the process's own log says so. */
void run_dir_log(const run_dir *r, const char *event, json_t *fields);

#endif
