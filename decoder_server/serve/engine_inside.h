/* What engine.c and model_swap.c share: the engine from inside. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_ENGINE_INSIDE_H
#define FEWBIT_DECODER_SERVER_SERVE_ENGINE_INSIDE_H

#include "decoder_server/core/pending_replies.h"
#include "decoder_server/serve/assembler.h"
#include "decoder_server/serve/engine.h"
#include "decoder_server/serve/streams.h"
#include "wire/id_set.h"

enum { STREAMED_CAPACITY = 1 << 17, ON_DEMAND_CAPACITY = 8192, REQUESTS = 1 << 21 };

/* Bytes parked of one node: it is asked to hold from BACKLOG_LOW on, and not read from beyond BACKLOG_HIGH; while nodes
 * get ready for another model, beyond BACKLOG_MAX. What was under way then comes on top; beyond BACKLOG_MOST nothing is
 * taken. */
enum {
    BACKLOG_LOW = 128 << 10,
    BACKLOG_HIGH = 4 << 20,
    BACKLOG_MAX = 64 << 20,
    BACKLOG_MOST = BACKLOG_MAX + (16 << 20)
};

/* A sample's id among the on-demand ones stays below REQUESTS, so that a lone code's frame stays small. */
typedef struct live {
    bool waits;
    uint64_t id, request;
    uint64_t asked;          /* bit K: portion K's node */
    uint32_t frame_bytes[2]; /* by traffic_direction */
} live;

/* A Request that waits for nobody's sample: whether a node answers again. */
typedef struct probe {
    bool is_out;
    uint64_t id, sent_ns;
} probe;

/* How often a portion's node has gone silent, each time soon after the time before: for longer and longer it is not
 * probed, nor does another connection make good for it. */
typedef struct relapse {
    uint32_t count;
    uint64_t until_ns; /* left out until then at least */
} relapse;

/* Codes of one node that found no room: parcels one after another, each a head and its bits. */
typedef struct backlog_entry {
    uint64_t first, count, done; /* samples; `done` are in already */
    size_t bytes;                /* of the bits behind it, rounded up to 8 */
    uint32_t model;              /* an index */
    uint32_t connection;         /* of the node that brought them */
} backlog_entry;

typedef struct backlog {
    uint8_t *bytes;
    size_t begin, length, capacity; /* `length` bytes from `begin` on */
} backlog;

/* Portions of one node that came too late, for the log. */
typedef struct lateness {
    uint64_t untold, told_ns;
} lateness;

/* Who waits for a sample that is due. */
typedef struct waiter {
    bool is_on_demand;
    uint64_t request;
    uint32_t frame_bytes[2];
    uint64_t due_ns;
} waiter;

/* What one node was asked, sample by sample; `ends`: the last one of its frame. */
enum { ASKS_MAX = 1 << 16 };
typedef struct ask_note {
    uint64_t id;
    uint8_t stage, model;
    bool on_demand, ends;
} ask_note;

typedef struct asks {
    ask_note *notes; /* [ASKS_MAX], a ring; NULL where bits come in one stage */
    uint64_t begin, end;
} asks;

/* How far a change of models is. */
typedef enum model_swap_stage {
    MODEL_SWAP_NONE,
    MODEL_SWAP_PREPARING, /* models[!now] is to come */
    MODEL_SWAP_ENDING,    /* models[!now] still has samples that wait */
} model_swap_stage;

typedef struct model_swap {
    model_swap_stage stage;
    uint64_t until_ns;    /* nodes are prepared by then; at the end: they stream for the old model until then */
    bool is_told;         /* that the old model is over */
    uint64_t from;        /* the first sample of the model to come, as far as is known */
    served_model *queued; /* comes once the stage is MODEL_SWAP_NONE */
    uint32_t gone;        /* the number of the model that went last; 0: none */
    uint32_t asked[PARTITION_PORTIONS_MAX]; /* Prepares without an answer yet, by portion */
    bool is_prepared[PARTITION_PORTIONS_MAX];
} model_swap;

struct engine {
    results *results;
    engine_host host;
    partition partition;
    uint32_t portions;
    refinement refinement; /* in which bits come: one, unless --confidence */
    float confidence;
    bool asks_no_more;
    report_refinement answered;
    asks asks[PARTITION_PORTIONS_MAX];
    id_set id_set;
    uint32_t connections[PARTITION_PORTIONS_MAX]; /* how often its node has gone */
    uint64_t to_ack[PARTITION_PORTIONS_MAX];      /* streamed samples answered for good that its node was not told of */
    uint64_t acked_ns[PARTITION_PORTIONS_MAX];    /* when it was told last */
    served_model *models[ASSEMBLER_MODELS];       /* the one in use; the other is to come, is going, or NULL */
    uint32_t numbers[ASSEMBLER_MODELS];           /* that their codes carry */
    uint8_t now;                                  /* the model in use, an index */
    model_swap swap;
    predictor_counters past; /* of models that are gone */
    assembler *streamed, *on_demand;
    live requests[ON_DEMAND_CAPACITY]; /* by id % ON_DEMAND_CAPACITY */
    uint32_t next_live;
    bool is_here[PARTITION_PORTIONS_MAX], is_ready[PARTITION_PORTIONS_MAX];
    bool is_held[PARTITION_PORTIONS_MAX], is_paused[PARTITION_PORTIONS_MAX]; /* asked to hold; not read from */
    streams *streams;
    backlog backlogs[PARTITION_PORTIONS_MAX];
    lateness late[PARTITION_PORTIONS_MAX];
    uint64_t single_ns[PARTITION_PORTIONS_MAX]; /* until then a node that streams alone has used up what it may */
    pending_replies pending;
    uint64_t answer_timeout_ns;
    bool is_silent[PARTITION_PORTIONS_MAX];      /* ready, but does not answer in time */
    uint32_t unanswered[PARTITION_PORTIONS_MAX]; /* Requests */
    uint32_t surplus[PARTITION_PORTIONS_MAX];    /* Answers beyond those that were owed */
    probe probes[PARTITION_PORTIONS_MAX];
    relapse relapses[PARTITION_PORTIONS_MAX];
    uint64_t probe_count;
    uint32_t ready_nodes;                          /* without silent ones */
    uint64_t payload_bits[PARTITION_PORTIONS_MAX]; /* of codes as they came, by portion */
    bool is_stopping;
    uint8_t *portion; /* one portion's elements */
    /* What is assembled and not classified yet. */
    assembler_sample due[PREDICTOR_ROWS];
    waiter waiters[PREDICTOR_ROWS];
    uint64_t *due_codes; /* [PREDICTOR_ROWS, portions] */
    size_t due_count;
    uint8_t due_model;        /* of all that is due */
    uint64_t latest_start_ns; /* of the batch that is due */
    uint64_t max_batch_delay_ns, deadline_ns;
};

/* Of engine.c: a sample is due. */
void engine_add_due(engine *d, const assembler_sample *sample, bool is_on_demand, uint64_t now_ns);

/* Of engine.c: no request and no stage of bits waits for that portion any more. */
void engine_give_up(engine *d, uint32_t portion, uint64_t now_ns);

/* Of model_swap.c. */

/* A node has become ready with the model in use, or has gone. */
void model_swap_node_ready(engine *d, uint32_t portion);
void model_swap_node_left(engine *d, uint32_t portion, uint64_t now_ns);

void model_swap_on_prepared(engine *d, uint32_t portion, const Fewbit__Prepared *p, uint64_t now_ns);

/* Goes on where time or answers allow it. */
void model_swap_poll(engine *d, uint64_t now_ns);

/* When model_swap_poll has to be called at the latest; UINT64_MAX: whenever. */
uint64_t model_swap_next_ns(const engine *d);

#endif
