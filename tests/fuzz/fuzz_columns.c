/* A row of a table in a request, as CSV. Input: the text. */
#include "data/columns.h"

#include "tests/lib/fuzz/replay.h"

#include <math.h>

static const char *const blood[] = {"A", "B"};
static const column list[] = {
    {.name = "age", .kind = COLUMN_NUMBER},
    {.name = "blood", .kind = COLUMN_CATEGORY, .categories = blood, .category_count = 2},
    {.name = "height", .kind = COLUMN_NUMBER, .takes_missing = true, .mean = 1.5f},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static columns *c;
    float row[4];
    FUZZ_CHECK(c || columns_new(&c, list, sizeof list / sizeof list[0]) == ERR_OK, "%s", err_text());
    err e = columns_parse_csv(c, (const char *)data, size, row);
    fuzz_check_told(e);
    FUZZ_CHECK(e == ERR_OK || e == ERR_INPUT, "error %d", (int)e);
    for (size_t i = 0; !e && i < columns_features(c); i++) {
        FUZZ_CHECK(isfinite(row[i]), "feature %zu is not finite", i);
    }
    return 0;
}
