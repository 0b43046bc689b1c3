#include "decoder_server/http/chunked.h"

enum { SIZE_DIGITS_MAX = 16 };

/* Where in the body the next byte is. */
enum {
    SIZE,        /* a digit of a chunk's size, or what is after it */
    BLANKS,      /* after a size: an extension must follow */
    EXTENSION,   /* up to the end of the line */
    SIZE_END,    /* LF */
    DATA,        /* of a chunk */
    DATA_END_CR, /* after it */
    DATA_END_LF,
    LINE,  /* the first byte of a trailer, or of the last line's end */
    NAME,  /* of a trailer */
    VALUE, /* of a trailer */
    VALUE_END,
    END, /* LF */
    OVER,
    BAD,
};

static int behind_size(const chunked *c, char byte) {
    if (c->digits == 0) {
        return BAD;
    }
    return byte == '\r' ? SIZE_END : byte == ';' ? EXTENSION : byte == ' ' || byte == '\t' ? BLANKS : BAD;
}

static int take_size(chunked *c, char byte) {
    int digit = span_hex_digit(byte);
    if (digit < 0) {
        return behind_size(c, byte);
    }
    if (c->digits == SIZE_DIGITS_MAX) {
        return BAD;
    }
    c->digits++;
    c->left = c->left << 4 | (uint64_t)digit;
    return SIZE;
}

/* A byte of text up to the end of a line. */
static int take_text(char byte, int here, int end) {
    return byte == '\r' ? end : (unsigned char)byte >= ' ' && byte != 0x7f ? here : byte == '\t' ? here : BAD;
}

static int take_name(char byte) {
    return byte == ':' ? VALUE : span_is_token((span){&byte, 1}) ? NAME : BAD;
}

/* The place after a byte that is no data. */
static int step(chunked *c, char byte) {
    switch (c->place) {
    case SIZE:
        return take_size(c, byte);
    case BLANKS:
        return byte == ';' ? EXTENSION : byte == ' ' || byte == '\t' ? BLANKS : BAD;
    case EXTENSION:
        return take_text(byte, EXTENSION, SIZE_END);
    case SIZE_END:
        c->digits = 0;
        return byte != '\n' ? BAD : c->left > 0 ? DATA : LINE;
    case DATA_END_CR:
        return byte == '\r' ? DATA_END_LF : BAD;
    case DATA_END_LF:
        return byte == '\n' ? SIZE : BAD;
    case LINE:
        return byte == '\r' ? END : span_is_token((span){&byte, 1}) ? NAME : BAD;
    case NAME:
        return take_name(byte);
    case VALUE:
        return take_text(byte, VALUE, VALUE_END);
    case VALUE_END:
        return byte == '\n' ? LINE : BAD;
    case END:
        return byte == '\n' ? OVER : BAD;
    default:
        return BAD;
    }
}

static bool is_extra(int place) {
    return place == BLANKS || place == EXTENSION || place == NAME || place == VALUE || place == VALUE_END;
}

chunked_state chunked_take(chunked *c, span *rest, span *piece) {
    while (rest->length > 0 && c->place < OVER) {
        if (c->place == DATA) {
            size_t length = c->left < rest->length ? (size_t)c->left : rest->length;
            *piece = (span){rest->at, length};
            *rest = (span){rest->at + length, rest->length - length};
            c->left -= length;
            c->place = c->left > 0 ? DATA : DATA_END_CR;
            return CHUNKED_PIECE;
        }
        c->place = step(c, *rest->at);
        c->extra += is_extra(c->place);
        c->place = c->extra > CHUNKED_EXTRA_MAX ? BAD : c->place;
        rest->at++;
        rest->length--;
    }
    return c->place == OVER ? CHUNKED_END : c->place == BAD ? CHUNKED_BAD : CHUNKED_MORE;
}
