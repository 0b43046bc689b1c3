/* The stream intake: streamed codes on their way from the nodes to the assembler.
 *
 * Codes wait in the backlog where their node is too far ahead of the slowest (streams.h), where the assembler has no
 * room, where the node streams alone faster than its pace, or where the host takes no more for now. Such a node is
 * asked to hold; one that does not is not read from. Nodes that keep further stages of what they streamed get the
 * number of their samples that are answered (Ack). */
#ifndef FEWBIT_DECODER_SERVER_SERVE_STREAM_INTAKE_H
#define FEWBIT_DECODER_SERVER_SERVE_STREAM_INTAKE_H

#include "decoder_server/serve/engine_host.h"
#include "decoder_server/serve/streams.h"

typedef struct stream_intake stream_intake;

/* Samples between the lowest that is not answered and the first that has no room. */
enum { STREAM_INTAKE_CAPACITY = 1 << 17 };

typedef struct stream_intake_config {
    streams_config streams;
    uint64_t deadline_ns;   /* of a sample */
    const codeword *layout; /* borrowed */
    bool acks;              /* nodes want them */
} stream_intake_config;

typedef struct stream_intake_events {
    /* A sample is complete; false: no more of them for now, until the next stream_intake_poll. */
    bool (*take)(void *context, const assembler_sample *sample, uint64_t now_ns);
    bool (*has_room)(void *context);
    void *context;
} stream_intake_events;

/* `host` is borrowed. */
err stream_intake_new(stream_intake **i, const stream_intake_config *config, const stream_intake_events *events,
                      const engine_host *host);
void stream_intake_free(stream_intake *i);

/* The samples on their way; the intake's. */
assembler *stream_intake_samples(const stream_intake *i);

/* A node is ready, is gone, or says that its stream has ended. ERR_INPUT: what it says makes no sense. */
err stream_intake_ready(stream_intake *i, uint32_t portion, const Fewbit__Ready *r, uint64_t now_ns);
void stream_intake_left(stream_intake *i, uint32_t portion, uint64_t now_ns);
err stream_intake_ended(stream_intake *i, uint32_t portion, uint64_t now_ns);

/* Whether codes are the next of their node's stream, which they then are; else ERR_INPUT. One of the two below
 * follows. */
err stream_intake_check(stream_intake *i, uint32_t portion, const Fewbit__Codes *c, uint64_t now_ns);

/* Takes codes, of one of two models. */
void stream_intake_take(stream_intake *i, uint32_t portion, const Fewbit__Codes *c, uint8_t model, uint64_t now_ns);

/* The same of a model that is gone: all its samples are answered. */
void stream_intake_take_late(stream_intake *i, uint32_t portion, const Fewbit__Codes *c, uint64_t now_ns);

/* A sample is answered for good. */
void stream_intake_answered(stream_intake *i, const assembler_sample *sample);

/* While another model is prepared, all nodes have to be heard; while one ends, its samples are not slowed down. */
void stream_intake_set_swap(stream_intake *i, bool is_preparing, bool is_ending);

/* Acks that wait for more to say go with the next poll. */
void stream_intake_hurry(stream_intake *i);

/* Goes on with the backlog, and tells the nodes of mask `ready` what there is to tell. Whether any of it found room,
 * which may have made room for more. *next_ns: when to call it again at the latest. */
bool stream_intake_poll(stream_intake *i, uint64_t ready, uint64_t now_ns, uint64_t *next_ns);

/* The id after all that have come. */
uint64_t stream_intake_end(const stream_intake *i);

/* Whether codes of a model wait in the backlog. */
bool stream_intake_has_backlog(const stream_intake *i, uint8_t model);

/* Of all nodes. */
size_t stream_intake_backlog_bytes(const stream_intake *i);

#endif
