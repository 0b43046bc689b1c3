/* What passes the wire, without a wire: frames cut out of any stream, messages, and the traffic counters' arithmetic.
 */
#include "base/rng.h"
#include "wire/message.h"
#include "wire/traffic_counters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_told(const char *reason) {
    if (!strstr(err_text(), reason)) {
        fail_msg("'%s' does not tell '%s'", err_text(), reason);
    }
}

/* ---- messages ---- */

static const ProtobufCMessageDescriptor *const descriptors[MESSAGE_TYPES] = {
    [MESSAGE_HELLO] = &fewbit__hello__descriptor,
    [MESSAGE_WELCOME] = &fewbit__welcome__descriptor,
    [MESSAGE_REFUSAL] = &fewbit__refusal__descriptor,
    [MESSAGE_RESTORE] = &fewbit__restore__descriptor,
    [MESSAGE_READY] = &fewbit__ready__descriptor,
    [MESSAGE_BATCH] = &fewbit__batch__descriptor,
    [MESSAGE_ACTIVATIONS] = &fewbit__activations__descriptor,
    [MESSAGE_GRADIENTS] = &fewbit__gradients__descriptor,
    [MESSAGE_CODES] = &fewbit__codes__descriptor,
    [MESSAGE_SAVE] = &fewbit__save__descriptor,
    [MESSAGE_SAVED] = &fewbit__saved__descriptor,
    [MESSAGE_COMMITTED] = &fewbit__committed__descriptor,
    [MESSAGE_REQUEST] = &fewbit__request__descriptor,
    [MESSAGE_ANSWER] = &fewbit__codes__descriptor,
    [MESSAGE_BEGIN] = &fewbit__begin__descriptor,
    [MESSAGE_PREPARE] = &fewbit__prepare__descriptor,
    [MESSAGE_PREPARED] = &fewbit__prepared__descriptor,
    [MESSAGE_SWITCH] = &fewbit__switch__descriptor,
    [MESSAGE_REFINE_REQUEST] = &fewbit__refine_request__descriptor,
    [MESSAGE_REFINEMENT] = &fewbit__refinement__descriptor,
    [MESSAGE_ACK] = &fewbit__ack__descriptor,
    [MESSAGE_STREAM_END] = &fewbit__stream_end__descriptor,
    [MESSAGE_STREAM_HOLD] = &fewbit__stream_hold__descriptor,
    [MESSAGE_REQUEST_ERROR] = &fewbit__request_error__descriptor,
    [MESSAGE_ALIGN_REQUEST] = &fewbit__align_request__descriptor,
    [MESSAGE_ALIGN_IDS] = &fewbit__align_ids__descriptor,
    [MESSAGE_ALIGNED] = &fewbit__aligned__descriptor,
};

/* All but Ping have one. */
static uint8_t next_with_body(uint8_t type) {
    return (uint8_t)(type + 1 == MESSAGE_PING ? type + 2 : type + 1);
}

typedef struct any_message {
    ProtobufCMessage base;
    uint8_t fields[256];
} any_message;

static uint64_t list[3] = {0, 1, UINT64_MAX};
static uint32_t short_list[3] = {0, 1, UINT32_MAX};
static char *texts[3] = {"one", "", "three"};

/* Sets a field to a value that only it has; `at` lies in the struct that the descriptor describes. */
static void set_field(const ProtobufCFieldDescriptor *field, any_message *m) {
    uint8_t *at = (uint8_t *)m + field->offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        const void *values = field->type == PROTOBUF_C_TYPE_UINT64   ? (void *)list
                             : field->type == PROTOBUF_C_TYPE_STRING ? (void *)texts
                                                                     : (void *)short_list;
        *(size_t *)(void *)((uint8_t *)m + field->quantifier_offset) = 3;
        memcpy(at, &values, sizeof values);
        return;
    }
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        *(uint32_t *)(void *)at = UINT32_MAX - field->id;
        return;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        *(uint64_t *)(void *)at = UINT64_MAX - field->id;
        return;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)(void *)at = 1;
        return;
    case PROTOBUF_C_TYPE_ENUM: {
        const ProtobufCEnumDescriptor *values = field->descriptor;
        *(int *)(void *)at = values->values[values->n_values - 1].value;
        return;
    }
    case PROTOBUF_C_TYPE_STRING:
        memcpy(at, &field->name, sizeof field->name);
        return;
    case PROTOBUF_C_TYPE_BYTES:
        *(ProtobufCBinaryData *)(void *)at = (ProtobufCBinaryData){strlen(field->name), (uint8_t *)field->name};
        return;
    default:
        fail_msg("field %s has a type that this test does not know", field->name);
    }
}

static void assert_same_field(const ProtobufCFieldDescriptor *field, const void *left, const void *right) {
    const uint8_t *a = (const uint8_t *)left + field->offset, *b = (const uint8_t *)right + field->offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        const size_t *count = (const void *)((const uint8_t *)right + field->quantifier_offset);
        size_t width = field->type == PROTOBUF_C_TYPE_UINT64 ? 8 : 4;
        assert_int_equal(*count, 3);
        for (size_t i = 0; field->type == PROTOBUF_C_TYPE_STRING && i < 3; i++) {
            assert_string_equal((*(char *const *const *)(const void *)b)[i], texts[i]);
        }
        if (field->type == PROTOBUF_C_TYPE_STRING) {
            return;
        }
        assert_memory_equal(*(void *const *)(const void *)a, *(void *const *)(const void *)b, 3 * width);
    } else if (field->type == PROTOBUF_C_TYPE_STRING) {
        assert_string_equal(*(char *const *)(const void *)a, *(char *const *)(const void *)b);
    } else if (field->type == PROTOBUF_C_TYPE_BYTES) {
        const ProtobufCBinaryData *x = (const void *)a, *y = (const void *)b;
        assert_int_equal(x->len, y->len);
        assert_memory_equal(x->data, y->data, x->len);
    } else {
        bool is_wide = field->type == PROTOBUF_C_TYPE_UINT64 || field->type == PROTOBUF_C_TYPE_FIXED64;
        assert_memory_equal(a, b, is_wide ? 8 : 4);
    }
}

/* A message with every field set, and its frame, which the caller frees. */
static uint8_t *pack_full(message_type type, any_message *m, size_t *length) {
    const ProtobufCMessageDescriptor *d = descriptors[type];
    assert_true(d->sizeof_message <= sizeof *m);
    d->message_init(&m->base);
    for (unsigned i = 0; i < d->n_fields; i++) {
        set_field(&d->fields[i], m);
    }
    *length = message_frame_size(&m->base);
    uint8_t *bytes = malloc(*length);
    assert_non_null(bytes);
    message_pack_frame(type, &m->base, bytes);
    return bytes;
}

static arena daemon_arena; /* as large as the daemons make theirs */

static int make_arena(void **state) {
    (void)state;
    return arena_init(&daemon_arena, message_arena_size(FRAME_PAYLOAD_MAX));
}

static int free_arena(void **state) {
    (void)state;
    arena_free(&daemon_arena);
    return 0;
}

static void every_message_comes_out_as_it_went_in(void **state) {
    (void)state;
    for (uint8_t type = MESSAGE_HELLO; type < MESSAGE_TYPES; type = next_with_body(type)) {
        any_message sent;
        size_t length;
        uint8_t *bytes = pack_full((message_type)type, &sent, &length);
        message m;
        assert_int_equal(bytes[3], type);
        assert_int_equal(bytes[0] | bytes[1] << 8 | bytes[2] << 16, length - FRAME_HEADER);
        assert_int_equal(message_unpack(type, bytes + FRAME_HEADER, length - FRAME_HEADER, &daemon_arena, &m), ERR_OK);
        memset(bytes, 0xee, length); /* the message borrows nothing of it */
        assert_int_equal(m.type, type);
        assert_ptr_equal(m.body.any->descriptor, descriptors[type]);
        for (unsigned i = 0; i < descriptors[type]->n_fields; i++) {
            assert_same_field(&descriptors[type]->fields[i], &sent, m.body.any);
        }
        free(bytes);
    }
}

static void messages_of_nothing_are_empty(void **state) {
    (void)state;
    for (uint8_t type = MESSAGE_HELLO; type < MESSAGE_TYPES; type = next_with_body(type)) {
        any_message empty;
        message m;
        descriptors[type]->message_init(&empty.base);
        assert_int_equal(message_frame_size(&empty.base), FRAME_HEADER);
        assert_int_equal(message_unpack(type, NULL, 0, &daemon_arena, &m), ERR_OK);
        assert_int_equal(message_frame_size(m.body.any), FRAME_HEADER);
    }
    uint8_t ping[FRAME_HEADER];
    message m;
    assert_int_equal(message_frame_size(NULL), FRAME_HEADER);
    message_pack_frame(MESSAGE_PING, NULL, ping);
    assert_memory_equal(ping, ((uint8_t[]){0, 0, 0, 16}), FRAME_HEADER);
    assert_int_equal(message_unpack(MESSAGE_PING, NULL, 0, &daemon_arena, &m), ERR_OK);
    assert_null(m.body.any);
    assert_int_equal(message_unpack(MESSAGE_PING, ping, 1, &daemon_arena, &m), ERR_INPUT);
    assert_told("Ping");
}

/* Numbers on the wire are the protocol: they may not change. */
static void the_bytes_of_a_code_are_those_of_the_protocol(void **state) {
    (void)state;
    uint8_t bits[] = {0x21, 0x03};
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    codes.model = 300;
    codes.first = 70000;
    codes.more = 2;
    codes.bits = (ProtobufCBinaryData){sizeof bits, bits};
    static const uint8_t expected[] = {13,   0,    0,    9,    0x08, 0xac, 0x02, 0x10, 0xf0,
                                       0xa2, 0x04, 0x18, 0x02, 0x22, 0x02, 0x21, 0x03};
    uint8_t frame_bytes[sizeof expected];
    assert_int_equal(message_frame_size(&codes.base), sizeof expected);
    message_pack_frame(MESSAGE_CODES, &codes.base, frame_bytes);
    assert_memory_equal(frame_bytes, expected, sizeof expected);
}

static void types_that_are_none_are_refused(void **state) {
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        bool is_known = type >= MESSAGE_HELLO && type < MESSAGE_TYPES;
        message m;
        assert_int_equal(message_unpack((uint8_t)type, NULL, 0, &daemon_arena, &m), is_known ? ERR_OK : ERR_INPUT);
        assert_int_equal(strcmp(message_name((uint8_t)type), "unknown") != 0, is_known);
    }
    assert_told("type 255 is unknown");
    assert_string_equal(message_name(MESSAGE_ANSWER), "Answer");
}

/* Tagged one by one: a field's value, or each of its texts. */
static size_t values_of(const ProtobufCMessageDescriptor *d) {
    size_t values = 0;
    for (unsigned i = 0; i < d->n_fields; i++) {
        bool is_list = d->fields[i].label == PROTOBUF_C_LABEL_REPEATED && d->fields[i].type == PROTOBUF_C_TYPE_STRING;
        values += is_list ? sizeof texts / sizeof texts[0] : 1;
    }
    return values;
}

/* Our encoding is canonical, so what a prefix unpacks to packs to the same prefix, or it is refused. */
static void truncated_messages_are_refused(void **state) {
    (void)state;
    for (uint8_t type = MESSAGE_HELLO; type < MESSAGE_BEGIN; type++) {
        any_message sent;
        size_t length, accepted = 0;
        uint8_t *bytes = pack_full((message_type)type, &sent, &length);
        for (size_t cut = 0; cut < length - FRAME_HEADER; cut++) {
            uint8_t *prefix = malloc(cut + 1), *again = malloc(FRAME_HEADER + cut + 1);
            message m;
            assert_true(prefix && again);
            memcpy(prefix + 1, bytes + FRAME_HEADER, cut); /* ends where its memory ends */
            err e = message_unpack(type, prefix + 1, cut, &daemon_arena, &m);
            if (e) {
                assert_int_equal(e, ERR_INPUT);
                assert_told(message_name(type));
                assert_null(m.body.any);
            } else {
                assert_int_equal(message_frame_size(m.body.any), FRAME_HEADER + cut);
                message_pack_frame((message_type)type, m.body.any, again);
                assert_memory_equal(again + FRAME_HEADER, prefix + 1, cut);
                accepted++;
            }
            free(prefix);
            free(again);
        }
        assert_int_equal(accepted, values_of(descriptors[type])); /* the places between two of them, and the start */
        free(bytes);
    }
}

/* Real messages with a few bytes overwritten: some are still messages, and then they are whole. */
static void garbage_is_refused_or_read_but_never_trusted(void **state) {
    (void)state;
    rng r = rng_at(11, RNG_TEST, 0);
    size_t refused = 0, read = 0;
    for (int round = 0; round < 20000; round++) {
        uint8_t type = (uint8_t)(MESSAGE_HELLO + rng_below(&r, MESSAGE_BEGIN - MESSAGE_HELLO));
        any_message sent;
        size_t length;
        uint8_t *bytes = pack_full((message_type)type, &sent, &length);
        for (uint32_t left = 1 + rng_below(&r, 8); left > 0; left--) {
            size_t at = FRAME_HEADER + rng_below(&r, (uint32_t)(length - FRAME_HEADER));
            bytes[at] = (uint8_t)rng_below(&r, rng_below(&r, 2) ? 256 : 64); /* tags and lengths are small */
        }
        message m;
        err e = message_unpack(type, bytes + FRAME_HEADER, length - FRAME_HEADER, &daemon_arena, &m);
        assert_true(e == ERR_OK || e == ERR_INPUT);
        if (!e) {
            assert_true(message_frame_size(m.body.any) >= FRAME_HEADER); /* walks every field it has */
        }
        refused += e != ERR_OK;
        read += e == ERR_OK;
        free(bytes);
    }
    assert_true(refused > 1000 && read > 1000);
}

/* ---- memory for messages ---- */

/* A payload of one field again and again. */
static uint8_t *repeat(const char *field, size_t field_length, size_t length) {
    uint8_t *bytes = malloc(length);
    assert_non_null(bytes);
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (uint8_t)field[i % field_length];
    }
    return bytes;
}

static const struct {
    message_type type;
    const char *field;
    size_t length;
} floods[] = {
    {MESSAGE_CODES, "\x78\x00", 2},      /* an unknown number */
    {MESSAGE_BEGIN, "\x7a\x00", 2},      /* unknown bytes, none of them */
    {MESSAGE_CODES, "\x22\x01\x41", 3},  /* one field set again and again */
    {MESSAGE_HELLO, "\x12\x00", 2},      /* the same with a string */
    {MESSAGE_COMMITTED, "\x08\x01", 2},  /* a list, one by one */
    {MESSAGE_COMMITTED, "\x0a\x00", 2},  /* a list, in packs of none */
    {MESSAGE_HELLO, "\x3a\x01\x05", 3},  /* a list, in packs of one */
    {MESSAGE_WELCOME, "\x10\x01\x22", 3} /* a field of another wire type */
};

static void first_frames_fit_the_arena_whatever_they_hold(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof floods / sizeof floods[0]; i++) {
        size_t length = FRAME_FIRST_MAX / floods[i].length * floods[i].length;
        uint8_t *bytes = repeat(floods[i].field, floods[i].length, length);
        message m;
        err e = message_unpack((uint8_t)floods[i].type, bytes, length, &daemon_arena, &m);
        assert_int_equal(e, floods[i].type == MESSAGE_WELCOME ? ERR_INPUT : ERR_OK);
        free(bytes);
    }
}

static void floods_of_fields_are_refused_and_do_no_harm(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof floods / sizeof floods[0]; i++) {
        size_t length = FRAME_PAYLOAD_MAX / floods[i].length * floods[i].length;
        uint8_t *bytes = repeat(floods[i].field, floods[i].length, length);
        message m;
        assert_int_equal(message_unpack((uint8_t)floods[i].type, bytes, length, &daemon_arena, &m), ERR_INPUT);
        assert_null(m.body.any);
        assert_true(daemon_arena.used <= daemon_arena.capacity);
        free(bytes);
    }
    const uint8_t step[] = {0x08, 0x05};
    message m;
    assert_int_equal(message_unpack(MESSAGE_READY, step, sizeof step, &daemon_arena, &m), ERR_OK);
    assert_true(m.body.ready->step == 5);
}

/* Every bytes or string field, one after another, as long as a frame allows. */
static void the_largest_real_messages_fit_the_arena(void **state) {
    (void)state;
    static const size_t payloads[] = {100, FRAME_FIRST_MAX, 65536, FRAME_PAYLOAD_MAX};
    char *text = malloc(FRAME_PAYLOAD_MAX);
    assert_non_null(text);
    memset(text, 'x', FRAME_PAYLOAD_MAX);
    for (size_t p = 0; p < sizeof payloads / sizeof payloads[0]; p++) {
        arena a;
        assert_int_equal(arena_init(&a, message_arena_size(payloads[p])), ERR_OK);
        for (uint8_t type = MESSAGE_HELLO; type < MESSAGE_TYPES; type = next_with_body(type)) {
            for (unsigned i = 0; i < descriptors[type]->n_fields; i++) {
                const ProtobufCFieldDescriptor *field = &descriptors[type]->fields[i];
                if (field->type != PROTOBUF_C_TYPE_BYTES && field->type != PROTOBUF_C_TYPE_STRING) {
                    continue;
                }
                uint8_t *bytes = malloc(payloads[p]);
                size_t body = payloads[p] - 5; /* a tag and a length of four bytes */
                assert_non_null(bytes);
                const uint8_t head[5] = {(uint8_t)(field->id << 3 | 2), (uint8_t)(body | 0x80),
                                         (uint8_t)(body >> 7 | 0x80), (uint8_t)(body >> 14 | 0x80),
                                         (uint8_t)(body >> 21)};
                memcpy(bytes, head, sizeof head);
                memcpy(bytes + sizeof head, text, body);
                message m;
                assert_int_equal(message_unpack(type, bytes, payloads[p], &a, &m), ERR_OK);
                free(bytes);
            }
        }
        arena_free(&a);
    }
    free(text);
}

static void a_message_larger_than_the_arena_is_refused(void **state) {
    (void)state;
    uint8_t bits[3000] = {0};
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    codes.bits = (ProtobufCBinaryData){sizeof bits, bits};
    size_t length = message_frame_size(&codes.base);
    uint8_t *bytes = malloc(length);
    assert_non_null(bytes);
    message_pack_frame(MESSAGE_CODES, &codes.base, bytes);
    bool fitted = false;
    for (size_t capacity = 0; capacity <= 4096; capacity += ARENA_ALIGNMENT) {
        arena a;
        message m;
        assert_int_equal(arena_init(&a, capacity), ERR_OK);
        err e = message_unpack(MESSAGE_CODES, bytes + FRAME_HEADER, length - FRAME_HEADER, &a, &m);
        assert_int_equal(e, fitted || !e ? ERR_OK : ERR_INPUT); /* once it fits, more room does no harm */
        fitted = fitted || !e;
        arena_free(&a);
    }
    assert_true(fitted);
    free(bytes);
}

/* ---- what codes cost ---- */

static size_t codes_frame(uint32_t model, uint64_t first, uint32_t samples, size_t bits_a_sample) {
    static uint8_t bits[4096];
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    codes.model = model;
    codes.first = first;
    codes.more = samples - 1;
    codes.bits = (ProtobufCBinaryData){(samples * bits_a_sample + 7) / 8, bits};
    return message_frame_size(&codes.base);
}

static void a_lone_code_costs_16_bytes_at_most(void **state) {
    (void)state;
    for (uint32_t model = 1; model <= 1u << 14; model *= 2) {
        for (uint64_t first = 1; first <= 1u << 21; first *= 2) {
            assert_true(codes_frame(model, first, 1, 4) <= 16);
            assert_true(codes_frame(model - 1, first - 1, 1, 4) <= 16);
        }
    }
}

static void codes_in_bulk_cost_5_percent_at_most(void **state) {
    (void)state;
    size_t frame_bits = 8 * codes_frame(1u << 14, 1u << 21, 1000, 4);
    assert_true((double)frame_bits <= 1.05 * 1000 * 4);
}

/* ---- the traffic counters ---- */

static traffic_counters numbered_counters(uint64_t first) {
    traffic_counters m;
    uint64_t *counters = (uint64_t *)(void *)&m;
    for (size_t i = 0; i < sizeof m / sizeof *counters; i++) {
        counters[i] = first + i * i;
    }
    return m;
}

static void counters_go_by_direction_and_type(void **state) {
    (void)state;
    traffic_counters m = {0};
    traffic_counters_count(&m, TRAFFIC_IN, MESSAGE_CODES, 16);
    traffic_counters_count(&m, TRAFFIC_IN, MESSAGE_CODES, 20);
    traffic_counters_count(&m, TRAFFIC_OUT, MESSAGE_PING, 4);
    traffic_counters_count(&m, TRAFFIC_IN, MESSAGE_TYPES + 1, 5); /* types that are none share the first slot */
    traffic_counters_count(&m, TRAFFIC_IN, 255, 6);
    assert_int_equal(m.frames[TRAFFIC_IN][MESSAGE_CODES], 2);
    assert_int_equal(m.frame_bytes[TRAFFIC_IN][MESSAGE_CODES], 36);
    assert_int_equal(m.frames[TRAFFIC_OUT][MESSAGE_PING], 1);
    assert_int_equal(m.frames[TRAFFIC_OUT][MESSAGE_CODES], 0);
    assert_int_equal(m.frames[TRAFFIC_IN][0], 2);
    assert_int_equal(m.frame_bytes[TRAFFIC_IN][0], 11);
    assert_int_equal(traffic_counters_frame_bytes(&m), 51);
}

static void all_counters_add_and_subtract(void **state) {
    (void)state;
    const traffic_counters first = numbered_counters(5), more = numbered_counters(1000);
    traffic_counters sum = first;
    traffic_counters_add(&sum, &more);
    const uint64_t *counters = (const uint64_t *)(const void *)&sum;
    for (size_t i = 0; i < sizeof sum / sizeof *counters; i++) {
        assert_int_equal(counters[i], 1005 + 2 * i * i);
    }
    traffic_counters difference = traffic_counters_between(&first, &sum);
    assert_memory_equal(&difference, &more, sizeof more);
}

static void counters_of_no_socket_stay_as_they_are(void **state) {
    (void)state;
    traffic_counters m = numbered_counters(3);
    traffic_counters_ask_kernel(&m, -1);
    const traffic_counters expected = numbered_counters(3);
    assert_memory_equal(&m, &expected, sizeof m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_comes_out_as_it_went_in),
        cmocka_unit_test(messages_of_nothing_are_empty),
        cmocka_unit_test(the_bytes_of_a_code_are_those_of_the_protocol),
        cmocka_unit_test(types_that_are_none_are_refused),
        cmocka_unit_test(truncated_messages_are_refused),
        cmocka_unit_test(garbage_is_refused_or_read_but_never_trusted),
        cmocka_unit_test(first_frames_fit_the_arena_whatever_they_hold),
        cmocka_unit_test(floods_of_fields_are_refused_and_do_no_harm),
        cmocka_unit_test(the_largest_real_messages_fit_the_arena),
        cmocka_unit_test(a_message_larger_than_the_arena_is_refused),
        cmocka_unit_test(a_lone_code_costs_16_bytes_at_most),
        cmocka_unit_test(codes_in_bulk_cost_5_percent_at_most),
        cmocka_unit_test(counters_go_by_direction_and_type),
        cmocka_unit_test(all_counters_add_and_subtract),
        cmocka_unit_test(counters_of_no_socket_stay_as_they_are),
    };
    return cmocka_run_group_tests(tests, make_arena, free_arena);
}
