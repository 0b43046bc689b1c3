/* The desk: what serving does with nodes, codes and requests.
 *
 * Pure, as the coordinator is: messages, requests and time in; messages, answers and results out. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_DESK_H
#define FEWBIT_DECODER_SERVER_SERVE_DESK_H

#include "decoder_server/answer.h"
#include "decoder_server/report.h"
#include "decoder_server/run.h"
#include "decoder_server/serve/results.h"
#include "wire/message.h"

typedef struct desk desk;

typedef struct desk_host {
    void (*tell)(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body);
    void (*drop)(void *context, uint32_t portion, Fewbit__Reason reason, const char *text);
    /* Slows a node that is ahead of the others, and lets it go on. */
    void (*pause)(void *context, uint32_t portion, bool paused);
    void (*answer)(void *context, uint64_t request, const answer *a);
    /* How many nodes are ready has changed. */
    void (*ready)(void *context, uint32_t nodes);
    void *context;
} desk_host;

/* `r` and `results` are borrowed. */
err desk_new(desk **d, const run *r, results *results, uint64_t deadline_ns, const desk_host *host);
void desk_free(desk *d);

void desk_joined(desk *d, uint32_t portion);
void desk_left(desk *d, uint32_t portion);
void desk_receive(desk *d, uint32_t portion, const message *m, uint64_t now_ns);

/* Classify one whole sample, u8 [channels, height, width]; host.answer follows, exactly once, by the deadline. */
void desk_classify(desk *d, uint64_t request, const uint8_t *sample, uint64_t now_ns);

/* Fills in the tables, and of the nodes what the desk knows. */
void desk_report(const desk *d, report *r);

/* Classifies what is due: full batches, and the rest when nothing else waits. Returns the milliseconds until the next
 * deadline, or -1 for none. */
int64_t desk_settle(desk *d, uint64_t now_ns);

#endif
