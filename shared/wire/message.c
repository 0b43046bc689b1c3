#include "wire/message.h"

#include "base/utf8.h"

#include <string.h>

typedef struct message_kind {
    const char *name;
    const ProtobufCMessageDescriptor *descriptor; /* NULL: no payload */
} message_kind;

static const message_kind kinds[MESSAGE_TYPES] = {
    [MESSAGE_HELLO] = {"Hello", &fewbit__hello__descriptor},
    [MESSAGE_WELCOME] = {"Welcome", &fewbit__welcome__descriptor},
    [MESSAGE_REFUSAL] = {"Refusal", &fewbit__refusal__descriptor},
    [MESSAGE_RESTORE] = {"Restore", &fewbit__restore__descriptor},
    [MESSAGE_READY] = {"Ready", &fewbit__ready__descriptor},
    [MESSAGE_BATCH] = {"Batch", &fewbit__batch__descriptor},
    [MESSAGE_ACTIVATIONS] = {"Activations", &fewbit__activations__descriptor},
    [MESSAGE_GRADIENTS] = {"Gradients", &fewbit__gradients__descriptor},
    [MESSAGE_CODES] = {"Codes", &fewbit__codes__descriptor},
    [MESSAGE_SAVE] = {"Save", &fewbit__save__descriptor},
    [MESSAGE_SAVED] = {"Saved", &fewbit__saved__descriptor},
    [MESSAGE_COMMITTED] = {"Committed", &fewbit__committed__descriptor},
    [MESSAGE_REQUEST] = {"Request", &fewbit__request__descriptor},
    [MESSAGE_ANSWER] = {"Answer", &fewbit__codes__descriptor},
    [MESSAGE_BEGIN] = {"Begin", &fewbit__begin__descriptor},
    [MESSAGE_PING] = {"Ping", NULL},
    [MESSAGE_PREPARE] = {"Prepare", &fewbit__prepare__descriptor},
    [MESSAGE_PREPARED] = {"Prepared", &fewbit__prepared__descriptor},
    [MESSAGE_SWITCH] = {"Switch", &fewbit__switch__descriptor},
    [MESSAGE_REFINE_REQUEST] = {"RefineRequest", &fewbit__refine_request__descriptor},
    [MESSAGE_REFINEMENT] = {"Refinement", &fewbit__refinement__descriptor},
    [MESSAGE_ACK] = {"Ack", &fewbit__ack__descriptor},
    [MESSAGE_STREAM_END] = {"StreamEnd", &fewbit__stream_end__descriptor},
    [MESSAGE_STREAM_HOLD] = {"StreamHold", &fewbit__stream_hold__descriptor},
    [MESSAGE_REQUEST_ERROR] = {"RequestError", &fewbit__request_error__descriptor},
    [MESSAGE_ALIGN_REQUEST] = {"AlignRequest", &fewbit__align_request__descriptor},
    [MESSAGE_ALIGN_IDS] = {"AlignIds", &fewbit__align_ids__descriptor},
    [MESSAGE_ALIGNED] = {"Aligned", &fewbit__aligned__descriptor},
};

const char *message_name(uint8_t type) {
    return type < MESSAGE_TYPES && kinds[type].name ? kinds[type].name : "unknown";
}

uint32_t message_heartbeat_ms(const Fewbit__Welcome *welcome) {
    const uint32_t least = 100, most = 60000, asked = welcome->heartbeat_ms;
    return asked < least ? least : asked > most ? most : asked;
}

err message_check_name(const char *name) {
    if (!name[0] || strlen(name) > MESSAGE_NAME_MAX) {
        return err_fail(ERR_INPUT, "the name must have 1 to %d bytes of UTF-8", MESSAGE_NAME_MAX);
    }
    if (!utf8_is_plain(name)) {
        return err_fail(ERR_INPUT, "the name must be UTF-8 without control characters");
    }
    return ERR_OK;
}

err message_take_coding(const char *text, void *to, const options_entry *entry) {
    (void)entry;
    Fewbit__Coding *coding = to;
    bool is_range = strcmp(text, "range") == 0;
    if (!is_range && strcmp(text, "packed") != 0) {
        return err_fail(ERR_USAGE, "'%s' is neither packed nor range", text);
    }
    *coding = is_range ? FEWBIT__CODING__CODING_RANGE : FEWBIT__CODING__CODING_PACKED;
    return ERR_OK;
}

size_t message_frame_size(const ProtobufCMessage *body) {
    return FRAME_HEADER + (body ? protobuf_c_message_get_packed_size(body) : 0);
}

void message_pack_frame(message_type type, const ProtobufCMessage *body, uint8_t *to) {
    size_t length = body ? protobuf_c_message_pack(body, to + FRAME_HEADER) : 0;
    frame_put_header(to, (uint8_t)type, length);
}

static void *take(void *context, size_t size) {
    return arena_take(context, size);
}

static void give_back(void *context, void *pointer) {
    (void)context, (void)pointer; /* the arena is reset as a whole */
}

err message_unpack(uint8_t type, const uint8_t *payload, size_t length, arena *a, message *m) {
    if (type >= MESSAGE_TYPES || !kinds[type].name) {
        return err_fail(ERR_INPUT, "frame type %u is unknown", type);
    }
    arena_reset(a);
    *m = (message){.type = (message_type)type};
    if (!kinds[type].descriptor) {
        return length == 0 ? ERR_OK : err_fail(ERR_INPUT, "a %s frame carries a payload", kinds[type].name);
    }
    ProtobufCAllocator allocator = {.alloc = take, .free = give_back, .allocator_data = a};
    m->body.any = protobuf_c_message_unpack(kinds[type].descriptor, &allocator, length, payload);
    if (!m->body.any) {
        return err_fail(ERR_INPUT, "a %s frame of %zu bytes is malformed", kinds[type].name, length);
    }
    return ERR_OK;
}

/* Every field's bytes are copied once, each piece rounded up to the arena's alignment. protobuf-c's own tables of
 * parsed and unknown fields lie on its stack until they exceed 16 members a slab, then in the arena: of ours only a
 * Ready has so many, with the samples that it offers. */
size_t message_arena_size(size_t payload_max) {
    return payload_max + 64 * 1024;
}
