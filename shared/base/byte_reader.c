#include "base/byte_reader.h"

const uint8_t *byte_reader_bytes(byte_reader *c, size_t length) {
    if (c->failed || length > byte_reader_left(c)) {
        c->failed = true;
        return NULL;
    }
    const uint8_t *bytes = c->next;
    c->next += length;
    return bytes;
}

static uint64_t read_le(byte_reader *c, size_t width) {
    const uint8_t *bytes = byte_reader_bytes(c, width);
    uint64_t value = 0;
    for (size_t i = 0; bytes && i < width; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

uint8_t byte_reader_u8(byte_reader *c) {
    return (uint8_t)read_le(c, 1);
}

uint32_t byte_reader_u32_be(byte_reader *c) {
    return __builtin_bswap32((uint32_t)read_le(c, 4));
}

uint32_t byte_reader_u32_le(byte_reader *c) {
    return (uint32_t)read_le(c, 4);
}

uint64_t byte_reader_u64_le(byte_reader *c) {
    return read_le(c, 8);
}

void byte_put_u32_le(uint8_t *to, uint32_t value) {
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
}

void byte_put_u64_le(uint8_t *to, uint64_t value) {
    byte_put_u32_le(to, (uint32_t)value);
    byte_put_u32_le(to + 4, (uint32_t)(value >> 32));
}
