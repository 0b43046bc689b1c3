/* Messages: the only place that packs and unpacks protobuf.
 *
 * The structs are those generated from proto/fewbit.proto. An unpacked message lies in the caller's arena and
 * borrows nothing else; it is gone when the arena is reset. */
#ifndef FEWBIT_WIRE_MESSAGE_H
#define FEWBIT_WIRE_MESSAGE_H

#include "base/arena.h"
#include "base/options.h"
#include "fewbit.pb-c.h"
#include "wire/frame.h"

enum {
    MESSAGE_PROTOCOL = 2,
    MESSAGE_NAME_MAX = 63,     /* bytes of a node's name */
    MESSAGE_OFFERED_MAX = 100, /* samples that a Ready offers */
    MESSAGE_UNACKED_MAX =
        1 << 16, /* samples that a node has streamed and that are not acked, where its bits come in stages */
    /* Alignment: ids of a side, and what is in one message, at most. */
    MESSAGE_ALIGN_IDS_MAX = 4000000,
    MESSAGE_ALIGN_HASHES = 16384,
    MESSAGE_ALIGN_POINTS = 4096,
    MESSAGE_ALIGN_ROWS = 262144
};

typedef enum message_type {
    MESSAGE_HELLO = 1,
    MESSAGE_WELCOME,
    MESSAGE_REFUSAL,
    MESSAGE_RESTORE,
    MESSAGE_READY,
    MESSAGE_BATCH,
    MESSAGE_ACTIVATIONS,
    MESSAGE_GRADIENTS,
    MESSAGE_CODES,
    MESSAGE_SAVE,
    MESSAGE_SAVED,
    MESSAGE_COMMITTED,
    MESSAGE_REQUEST,
    MESSAGE_ANSWER,
    MESSAGE_BEGIN,
    MESSAGE_PING,
    MESSAGE_PREPARE,
    MESSAGE_PREPARED,
    MESSAGE_SWITCH,
    MESSAGE_REFINE_REQUEST,
    MESSAGE_REFINEMENT,
    MESSAGE_ACK,
    MESSAGE_STREAM_END,
    MESSAGE_STREAM_HOLD,
    MESSAGE_REQUEST_ERROR,
    MESSAGE_ALIGN_REQUEST,
    MESSAGE_ALIGN_IDS,
    MESSAGE_ALIGNED,
    MESSAGE_TYPES
} message_type;

typedef union message_body {
    const ProtobufCMessage *any;
    const Fewbit__Hello *hello;
    const Fewbit__Welcome *welcome;
    const Fewbit__Refusal *refusal;
    const Fewbit__Restore *restore;
    const Fewbit__Ready *ready;
    const Fewbit__Batch *batch;
    const Fewbit__Activations *activations;
    const Fewbit__Gradients *gradients;
    const Fewbit__Codes *codes; /* MESSAGE_CODES and MESSAGE_ANSWER */
    const Fewbit__Save *save;
    const Fewbit__Saved *saved;
    const Fewbit__Committed *committed;
    const Fewbit__Request *request;
    const Fewbit__Begin *begin;
    const Fewbit__Prepare *prepare;
    const Fewbit__Prepared *prepared;
    const Fewbit__Switch *switch_to;
    const Fewbit__RefineRequest *refine_request;
    const Fewbit__Refinement *refinement;
    const Fewbit__Ack *ack;
    const Fewbit__StreamEnd *stream_end;
    const Fewbit__StreamHold *stream_hold;
    const Fewbit__RequestError *request_error;
    const Fewbit__AlignRequest *align_request;
    const Fewbit__AlignIds *align_ids;
    const Fewbit__Aligned *aligned;
} message_body;

typedef struct message {
    message_type type;
    message_body body;
} message;

/* A name for logs; "unknown" for a number that is none. */
const char *message_name(uint8_t type);

/* ERR_INPUT where a node's name is not 1 to MESSAGE_NAME_MAX bytes of plain UTF-8: it goes into logs, labels and to
 * terminals. */
err message_check_name(const char *name);

/* What --coding says, "packed" or "range", to a Fewbit__Coding; for a table of options. */
err message_take_coding(const char *text, void *to, const options_entry *entry);

/* The heartbeat that a Welcome, untrusted, asks for: from 100 ms to a minute. */
uint32_t message_heartbeat_ms(const Fewbit__Welcome *welcome);

/* Bytes of the whole frame. */
size_t message_frame_size(const ProtobufCMessage *body);

/* Writes header and payload to `to` [message_frame_size]. */
void message_pack_frame(message_type type, const ProtobufCMessage *body, uint8_t *to);

/* Unpacks a payload into `a`, which is reset first. Unknown type, malformed payload or one that needs more
 * memory than the arena has: ERR_INPUT. */
err message_unpack(uint8_t type, const uint8_t *payload, size_t length, arena *a, message *m);

/* An arena large enough for any message of ours whose payload is up to `payload_max`. A payload stuffed with unknown or
 * repeated fields may need more, up to about 80 times its length, and is refused. */
size_t message_arena_size(size_t payload_max);

#endif
