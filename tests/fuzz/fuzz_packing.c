/* An owner's file that is packed. Input: which kind it is and whether labels are wanted, then the file. */
#include "cli/packing/pack_parts.h"
#include "cli/packing/pack_source.h"

#include "tests/lib/fuzz/replay.h"

#include <math.h>

static const char *const names[] = {"in.csv", "in.tsv", "in.ts", "in.npy", "in.npz", "in.idx"};
enum { NAMES = sizeof names / sizeof names[0] };

static void check_values(const float *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(isfinite(values[i]), "value %zu is not finite", i);
    }
}

static void check_table(const pack_table *t, pack_samples *s) {
    uint32_t counts[PACK_PARTS];
    columns *c;
    err e = pack_parts_assign(&(pack_parts){.test = 0.5}, s, counts);
    e = e ? e : pack_table_learn(t, s, &c);
    fuzz_check_told(e);
    if (e) {
        return;
    }
    float *row = calloc(columns_features(c), sizeof *row); /* exactly, so that a sanitizer sees one too many */
    for (uint32_t i = 0; row && !e && i < s->count; i++) {
        e = pack_table_take(t, s, c, i, row);
        fuzz_check_told(e);
        check_values(row, e ? 0 : columns_features(c));
    }
    free(row);
    columns_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) {
        return 0;
    }
    const char *path = fuzz_path(names[data[0] % NAMES]);
    bool is_labels = (data[0] & 0x80) != 0;
    const pack_source_options o = {
        .table = {.id_column = "id", .label_column = "y", .has_no_ids = (data[0] & 0x40) != 0}};
    pack_samples s;
    pack_table *t = NULL;
    fuzz_write(path, data + 1, size - 1);
    pack_samples_init(&s);
    s.paths[0] = path;
    err e = pack_source_read(&s, &o, is_labels, &t);
    fuzz_check_told(e);
    if (!e && t && !is_labels) {
        check_table(t, &s);
    } else if (!e && !is_labels) {
        FUZZ_CHECK(s.values.length == s.count * portion_shape_bytes(&s.shape), "%zu bytes", s.values.length);
        check_values((const float *)(const void *)s.values.bytes,
                     s.shape.type == PORTION_F32 ? s.values.length / sizeof(float) : 0);
    }
    pack_table_free(t);
    pack_samples_free(&s);
    return 0;
}
