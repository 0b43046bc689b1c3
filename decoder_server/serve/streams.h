/* The streams of the nodes: which of them are counted together, and how far each may run ahead of the slowest.
 *
 * Pure. Nodes number the samples of their streams by counting, so equal ids are the same sample only where all began
 * to count together. That is a session: it begins once every portion has a node and each of these either has a new
 * stream or never has one, and it is over once the streams in it have ended, or other processes have come in their
 * place. A process that comes in the middle is left out until the next one. Ids are never used again. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_STREAMS_H
#define FEWBIT_DECODER_SERVER_SERVE_STREAMS_H

#include "bits/codeword.h"
#include "wire/message.h"

typedef struct streams streams;

typedef struct streams_config {
    uint32_t portions;
    const char *names[CODEWORD_PORTIONS_MAX]; /* of the portions; borrowed */
    uint64_t first_session; /* identities of sessions follow this number: no server before has used them */
    /* The others stand still for a node that brings nothing for that long, then go on without it; 0: as long as it is
     * here. */
    uint64_t stall_timeout_ns;
    /* How long the slowest may need to get to where the first is: with that the lead follows its pace. */
    uint64_t lag_ns;
} streams_config;

err streams_new(streams **s, const streams_config *config);
void streams_free(streams *s);

/* What is to be sent to a node now. */
typedef enum streams_notice_kind {
    STREAMS_NOTICE_NONE,
    STREAMS_NOTICE_BEGIN,
    STREAMS_NOTICE_OUTSIDE
} streams_notice_kind;
typedef struct streams_notice {
    streams_notice_kind kind;
    uint64_t session, first; /* of BEGIN */
    const char *text;        /* of OUTSIDE */
} streams_notice;

/* A node is ready, or gone. ERR_INPUT: its words make no sense. */
err streams_ready(streams *s, uint32_t portion, const Fewbit__Ready *r, uint64_t now_ns);
void streams_left(streams *s, uint32_t portion, uint64_t now_ns);

/* A node says that its stream has ended. */
err streams_ended(streams *s, uint32_t portion, uint64_t now_ns);

/* Codes have come from a node. ERR_INPUT: it is not in the session, or these are not the next. */
err streams_take(streams *s, uint32_t portion, uint64_t first, uint64_t count, uint64_t now_ns);

/* Takes what is to be sent to a portion's node, after each of the above. */
streams_notice streams_take_notice(streams *s, uint32_t portion);

/* The codes of a portion below `next` are put together with the others'. */
void streams_reached(streams *s, uint32_t portion, uint64_t next, uint64_t now_ns);

/* The id from which on codes have to wait for the slowest node. */
uint64_t streams_limit(const streams *s);

/* Whether a portion that waited has enough room to go on for a while. */
bool streams_has_room(const streams *s, uint32_t portion);

/* Codes of a portion wait at its limit. */
void streams_block(streams *s, uint64_t now_ns);

/* The id from which on a portion's node streams alone: nobody has brought, or will bring, what those samples lack.
 * UINT64_MAX: others stream too. */
uint64_t streams_alone_from(const streams *s, uint32_t portion);

/* Nobody who is waited for will bring a sample below this id. */
uint64_t streams_passed(const streams *s);

/* The id after all that have come. */
uint64_t streams_end(const streams *s);

/* Gives up who has brought nothing for too long. When to call it again, ns; UINT64_MAX: after the next codes. */
uint64_t streams_poll(streams *s, uint64_t now_ns);

#endif
