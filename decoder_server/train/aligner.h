/* The aligner: finds which samples the nodes and the labels have in common, by their ids, before a joint training, and
 * tells each node which of its own they are.
 *
 *     a node joins -> its ids, piece by piece -> ... all are here: alignment -> each is told its rows -> it is aligned
 *
 * A node whose ids are the labels' own, in their order, is asked for none; where all are so, or all are counted,
 * nothing is sent. One that is lost is waited for; one that comes once the alignment is known is asked, and told, for
 * itself.
 *
 * Pure: messages in, messages out. What an answer brings about is work, as the training loop's: it may be done on
 * another thread, piece by piece, and no other call may be made as long as there is any. A node is not trusted: what it
 * costs is bounded by the ids that it says it has. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_ALIGNER_H
#define FEWBIT_DECODER_SERVER_TRAIN_ALIGNER_H

#include "base/thread_pool.h"
#include "data/sample_ids.h"
#include "decoder_server/core/stats.h"
#include "decoder_server/train/alignment.h"

typedef struct aligner aligner;

/* May be called from within the work too, so on its thread. */
typedef struct aligner_host {
    void (*send)(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body);
    /* Ends a portion's connection, with a Refusal. */
    void (*drop)(void *context, uint32_t portion, Fewbit__Reason reason, const char *text);
    void *context;
} aligner_host;

typedef struct aligner_config {
    const sample_ids *ids; /* of the labels; NULL: they are counted. Borrowed */
    alignment_rule rule;
    uint32_t batch_size;
    bool is_private;   /* by private set intersection, else by hashes */
    thread_pool *pool; /* may be NULL; borrowed */
} aligner_config;

/* What a node has said of its samples: counted ones are as many as the labels', where these are counted, and listed
 * where these are listed. */
typedef struct aligner_node {
    const char *portion; /* its name, borrowed */
    uint32_t samples[2]; /* by enum dataset_split */
    const char *ids;     /* the digest of its ids; "": they are counted */
} aligner_node;

err aligner_new(aligner **a, const aligner_config *config, const aligner_host *host);
void aligner_free(aligner *a);

void aligner_joined(aligner *a, uint32_t portion, const aligner_node *node);
void aligner_left(aligner *a, uint32_t portion);
void aligner_receive(aligner *a, uint32_t portion, const message *m);

bool aligner_has_work(const aligner *a);
void aligner_work(aligner *a);

/* A portion that is here and has just been aligned, each once for each time that it joined; false: none (more). */
bool aligner_next(aligner *a, uint32_t *portion);

/* What is common, once all have been here: NULL before that. It stays as it is. */
const alignment *aligner_result(const aligner *a);

/* Whether it cannot go on: nothing is in common, or no memory. err_text() then says why. */
err aligner_outcome(const aligner *a);

/* Who owes ids for that long is dropped; 0, at first: nobody. As coordinator_poll. */
void aligner_set_answer_timeout(aligner *a, uint64_t ns);
int64_t aligner_poll(aligner *a, uint64_t now_ns);

/* How many samples each portion had when the result was found. */
void aligner_samples(const aligner *a, uint32_t (*samples)[2]);

/* What `n` says of what a portion's node owes. */
void aligner_stats(const aligner *a, uint32_t portion, stats_node *n);

#endif
