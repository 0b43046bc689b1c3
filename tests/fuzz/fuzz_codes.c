/* Compressed codes: what is sent arrives; what was changed, cut, left out or made up on the way is refused, and loses
 * nothing that comes on a new link.
 *
 * Input: the bits of a code (1 to 64), then records: what to do, how many codes (rows), and their bits, of which there
 * may be too few (then zeros). do % 8 == 5  the frame is lost do % 8 == 6  a byte of it is changed: two bytes more,
 * which one and by what do % 8 == 7  what comes are the bytes themselves, with the frame's numbers and check any other
 * the frame arrives; do / 8 is the model */
#include "base/byte_reader.h"
#include "bits/code_compressor.h"
#include "bits/pack.h"

#include "tests/lib/fuzz/replay.h"

enum { ROWS_MAX = 256 };

enum { LOSE = 5, CHANGE = 6, REPLACE = 7 };

typedef struct ends {
    code_compressor *from, *to;
    uint32_t bits;
    bool is_broken; /* something was lost: nothing may be taken */
} ends;

/* Never NULL, and exactly as long as asked for: one byte further is seen. */
static uint8_t *copy_of(const uint8_t *bytes, size_t length) {
    uint8_t *copy = malloc(length ? length : 1);
    FUZZ_CHECK(copy, "no memory");
    if (length > 0) {
        memcpy(copy, bytes, length);
    }
    return copy;
}

static void check_arrives(ends *e, const code_compressor_frame *f, const uint8_t *packed) {
    const uint8_t *got;
    uint8_t *compressed = copy_of(f->compressed, f->length);
    code_compressor_frame sent = *f;
    sent.compressed = compressed;
    err code = code_compressor_decode(e->to, &sent, &got);
    fuzz_check_told(code);
    if (e->is_broken && f->sequence > 1) {
        FUZZ_CHECK(code == ERR_INPUT, "a frame was taken behind one that was lost");
    } else {
        FUZZ_CHECK(code == ERR_OK, "%s", err_text());
        FUZZ_CHECK(memcmp(got, packed, pack_bytes((size_t)f->rows * e->bits)) == 0, "other codes arrive");
        e->is_broken = false;
    }
    free(compressed);
}

/* Whatever comes in place of the frame. The link ends with it. */
static void check_refused(ends *e, const code_compressor_frame *f, const uint8_t *compressed, size_t length) {
    const uint8_t *got;
    bool is_same = length == f->length && (length == 0 || memcmp(compressed, f->compressed, length) == 0);
    uint8_t *copy = copy_of(compressed, length);
    code_compressor_frame bad = *f;
    bad.compressed = copy;
    bad.length = length;
    err code = code_compressor_decode(e->to, &bad, &got);
    fuzz_check_told(code);
    FUZZ_CHECK(is_same || code == ERR_INPUT, "a frame that nobody sent is taken");
    free(copy);
    code_compressor_reset(e->from);
    code_compressor_reset(e->to);
    e->is_broken = false;
}

static void change(ends *e, const code_compressor_frame *f, uint8_t where, uint8_t by) {
    uint8_t *changed = copy_of(f->compressed, f->length);
    if (f->length > 0) {
        changed[where % f->length] ^= by;
    }
    check_refused(e, f, changed, f->length);
    free(changed);
}

/* Packed codes from the next bytes of the input. */
static uint8_t *next_codes(ends *e, byte_reader *c, uint32_t rows, const uint8_t **raw, size_t *raw_length) {
    size_t bits = (size_t)rows * e->bits, wanted = pack_bytes(bits);
    *raw_length = wanted < byte_reader_left(c) ? wanted : byte_reader_left(c);
    *raw = byte_reader_bytes(c, *raw_length);
    uint8_t *packed = calloc(wanted, 1);
    FUZZ_CHECK(packed, "no memory");
    if (*raw_length > 0) {
        memcpy(packed, *raw, *raw_length);
    }
    if (bits % 8) {
        packed[wanted - 1] &= (uint8_t)((1u << (bits % 8)) - 1);
    }
    return packed;
}

static void run_record(ends *e, byte_reader *c) {
    uint8_t what = byte_reader_u8(c), where = what % 8 == CHANGE ? byte_reader_u8(c) : 0,
            by = what % 8 == CHANGE ? byte_reader_u8(c) : 0;
    code_compressor_frame f = {.model = what / 8, .first = byte_reader_left(c), .rows = byte_reader_u8(c) + 1u};
    const uint8_t *raw;
    size_t raw_length;
    uint8_t *packed = next_codes(e, c, f.rows, &raw, &raw_length);
    code_compressor_encode(e->from, packed, &f);
    switch (what % 8) {
    case LOSE:
        e->is_broken = true;
        break;
    case CHANGE:
        change(e, &f, where, by);
        break;
    case REPLACE:
        check_refused(e, &f, raw, raw_length);
        break;
    default:
        check_arrives(e, &f, packed);
    }
    free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    ends e = {.bits = data[0] % PACK_CODE_BITS_MAX + 1};
    FUZZ_CHECK(code_compressor_new(&e.from, e.bits, ROWS_MAX) == ERR_OK &&
                   code_compressor_new(&e.to, e.bits, ROWS_MAX) == ERR_OK,
               "%s", err_text());
    byte_reader c = byte_reader_over(data + 1, size - 1);
    while (byte_reader_left(&c) > 0) {
        run_record(&e, &c);
    }
    code_compressor_free(e.from);
    code_compressor_free(e.to);
    return 0;
}
