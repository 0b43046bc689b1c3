#include "data/npy_header.h"

#include "base/byte_reader.h"

#include <stdio.h>
#include <string.h>

static const char magic[] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};

enum { ALIGNMENT = 64 };

/* A Python dictionary of a string, a truth value and a tuple: what is left of it, in [at, end). */
typedef struct literal {
    const char *name, *at, *end;
} literal;

static void skip_spaces(literal *l) {
    while (l->at < l->end && strchr(" \t\r\n", *l->at) && *l->at) {
        l->at++;
    }
}

static bool take(literal *l, char c) {
    skip_spaces(l);
    if (l->at < l->end && *l->at == c) {
        l->at++;
        return true;
    }
    return false;
}

static bool take_word(literal *l, const char *word) {
    size_t length = strlen(word);
    skip_spaces(l);
    if ((size_t)(l->end - l->at) < length || memcmp(l->at, word, length) != 0) {
        return false;
    }
    l->at += length;
    return true;
}

/* A string of less than `size` characters, without escapes. */
static bool take_string(literal *l, char *to, size_t size) {
    skip_spaces(l);
    char quote = l->at < l->end ? *l->at : '\0';
    if (quote != '\'' && quote != '"') {
        return false;
    }
    const char *from = ++l->at, *end = memchr(from, quote, (size_t)(l->end - from));
    if (!end || (size_t)(end - from) >= size || memchr(from, '\\', (size_t)(end - from))) {
        return false;
    }
    memcpy(to, from, (size_t)(end - from));
    to[end - from] = '\0';
    l->at = end + 1;
    return true;
}

static bool take_number(literal *l, uint64_t *to) {
    skip_spaces(l);
    const char *from = l->at;
    *to = 0;
    while (l->at < l->end && *l->at >= '0' && *l->at <= '9' && *to <= UINT32_MAX) {
        *to = *to * 10 + (uint64_t)(*l->at++ - '0');
    }
    return l->at > from;
}

static err malformed(const literal *l) {
    return err_fail(ERR_INPUT, "%s: its header is not {'descr': ..., 'fortran_order': ..., 'shape': ...}", l->name);
}

static err take_type(literal *l, npy_header *h) {
    static const char *const known[] = {"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"};
    char text[64];
    if (!take_string(l, text, sizeof text)) {
        return err_fail(ERR_INPUT, "%s: its elements are no plain numbers", l->name);
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (text[0] && strchr("<>|", text[0]) && strcmp(text + 1, known[i]) == 0) {
            strcpy(h->descr, text);
            h->kind = text[1];
            h->size = (size_t)(text[2] - '0');
            h->is_big = text[0] == '>';
            return ERR_OK;
        }
    }
    return err_fail(ERR_INPUT, "%s: its elements are '%s', not integers or floats of 1 to 8 bytes", l->name, text);
}

static err take_shape(literal *l, npy_header *h) {
    h->elements = 1;
    if (!take(l, '(')) {
        return malformed(l);
    }
    bool goes_on = true;
    while (!take(l, ')')) {
        uint64_t size;
        if (!goes_on || !take_number(l, &size)) {
            return malformed(l);
        }
        if (h->rank == NPY_RANK_MAX || size == 0 || size > UINT32_MAX || h->elements > SIZE_MAX / 16 / size) {
            return err_fail(ERR_INPUT, "%s: its shape is not of 1 to %d dimensions, each with elements", l->name,
                            NPY_RANK_MAX);
        }
        h->dims[h->rank++] = (uint32_t)size;
        h->elements *= size;
        goes_on = take(l, ',');
    }
    return h->rank > 0 ? ERR_OK : err_fail(ERR_INPUT, "%s: is a single number, not an array", l->name);
}

static err take_entry(literal *l, npy_header *h, bool *is_fortran, uint32_t *seen) {
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    char key[16];
    uint32_t which = 0;
    if (!take_string(l, key, sizeof key) || !take(l, ':')) {
        return malformed(l);
    }
    while (which < 3 && strcmp(key, keys[which]) != 0) {
        which++;
    }
    if (which == 3 || (*seen >> which & 1)) {
        return malformed(l);
    }
    *seen |= 1u << which;
    if (which == 1) {
        *is_fortran = take_word(l, "True");
        return *is_fortran || take_word(l, "False") ? ERR_OK : malformed(l);
    }
    return which == 0 ? take_type(l, h) : take_shape(l, h);
}

static err take_dictionary(literal *l, npy_header *h) {
    bool is_fortran = false, goes_on = true;
    uint32_t seen = 0;
    if (!take(l, '{')) {
        return malformed(l);
    }
    while (!take(l, '}')) {
        err e = goes_on ? take_entry(l, h, &is_fortran, &seen) : malformed(l);
        if (e) {
            return e;
        }
        goes_on = take(l, ',');
    }
    skip_spaces(l);
    if (seen != 7 || l->at != l->end) {
        return malformed(l);
    }
    return is_fortran && h->rank > 1
               ? err_fail(ERR_INPUT, "%s: its elements are in Fortran order; save numpy.ascontiguousarray(ARRAY)",
                          l->name)
               : ERR_OK;
}

err npy_header_parse(const char *name, const uint8_t *bytes, size_t length, npy_header *h) {
    byte_reader c = byte_reader_over(bytes, length);
    *h = (npy_header){0};
    const uint8_t *start = byte_reader_bytes(&c, sizeof magic);
    if (!start || memcmp(start, magic, sizeof magic) != 0) {
        return err_fail(ERR_INPUT, "%s: not a NumPy file (.npy)", name);
    }
    uint8_t major = byte_reader_u8(&c), minor = byte_reader_u8(&c);
    if (!c.failed && (major < 1 || major > 3 || minor != 0)) {
        return err_fail(ERR_INPUT, "%s: is of version %u.%u of NumPy's format, not 1.0, 2.0 or 3.0", name, major,
                        minor);
    }
    uint32_t size = byte_reader_u8(&c);
    size |= (uint32_t)byte_reader_u8(&c) << 8;
    if (major > 1) {
        size |= (uint32_t)byte_reader_u8(&c) << 16;
        size |= (uint32_t)byte_reader_u8(&c) << 24;
    }
    if (size > NPY_HEADER_MAX) {
        return err_fail(ERR_INPUT, "%s: a header of %u bytes is longer than %d", name, size, NPY_HEADER_MAX);
    }
    const char *text = (const char *)byte_reader_bytes(&c, size);
    if (c.failed) {
        return err_fail(ERR_INPUT, "%s: truncated: ends inside the header", name);
    }
    h->offset = length - byte_reader_left(&c);
    literal l = {name, text, text + size};
    return take_dictionary(&l, h);
}

size_t npy_header_write(char to[NPY_HEADER_WRITTEN], portion_type type, uint32_t rank, const uint32_t *dims) {
    enum { BEFORE = 10 };
    size_t room = NPY_HEADER_WRITTEN - BEFORE;
    char *text = to + BEFORE;
    size_t length = (size_t)snprintf(text, room, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                                     type == PORTION_F32 ? "<f4" : "|u1");
    for (uint32_t i = 0; i < rank; i++) {
        length += (size_t)snprintf(text + length, room - length, "%u%s", dims[i], i + 1 < rank ? ", " : "");
    }
    length += (size_t)snprintf(text + length, room - length, "%s), }", rank == 1 ? "," : "");
    while ((BEFORE + length + 1) % ALIGNMENT != 0) {
        text[length++] = ' ';
    }
    text[length++] = '\n';
    memcpy(to, magic, sizeof magic);
    to[6] = 1;
    to[7] = 0;
    to[8] = (char)length;
    to[9] = (char)(length >> 8);
    return BEFORE + length;
}
