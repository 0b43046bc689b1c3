/* What packing makes, with every allocation failing in turn: an error, nothing lost. */
#include "tests/lib/folder.h"
#include "tests/lib/torture.h"

#include "cli/packing/pack_labels.h"
#include "cli/packing/pack_parts.h"
#include "cli/packing/pack_portion.h"
#include "cli/packing/pack_source.h"

#include "tests/lib/idx_write.h"

static const char table[] = "id,x,w,label\n1,1,a,u\n2,2,b,v\n3,3,a,u\n4,,b,v\n5,5,a,u\n6,6,b,v\n7,7,a,u\n8,8,b,v\n";
static const char series[] = "@classLabel true u v\n@data\n1,2:3,4:u\n1,2:3,4:v\n1,2:3,5:u\n1,2:3,4:v\n1,3:3,4:v\n";

static err pack(const char *from, bool is_labels) {
    char to[FILE_PATH_MAX], path[FILE_PATH_MAX];
    const pack_source_options o = {
        .table = {.id_column = "id", .label_column = "label", .fills_missing = strstr(from, ".csv") != NULL}};
    uint32_t counts[PACK_PARTS];
    pack_samples s;
    pack_table *t = NULL;
    columns *c = NULL;
    pack_order order = {0};
    labels *l = calloc(1, sizeof *l);
    if (!l) {
        return err_fail(ERR_MEMORY, "no memory");
    }
    portion_info info = {.dataset = "small", .name = "a"};
    snprintf(l->dataset, sizeof l->dataset, "small");
    snprintf(path, sizeof path, "%s", in_folder(from));
    snprintf(to, sizeof to, "%s", in_folder(is_labels ? "labels" : "portion"));
    pack_samples_init(&s);
    s.paths[0] = path;
    err e = pack_source_read(&s, &o, is_labels, &t);
    e = e ? e : pack_parts_assign(&(pack_parts){.test = 0.5}, &s, counts);
    e = e ? e : pack_order_make(&order, &s, counts);
    if (!e) {
        e = is_labels ? pack_labels_write(to, &s, &order, l)
                      : pack_portion_write(to, &s, t, &(pack_piece){.is_whole = true}, &order, &info, &c);
    }
    columns_free(c);
    pack_order_free(&order);
    pack_table_free(t);
    pack_samples_free(&s);
    labels_close(l);
    free(l);
    return e;
}

/* The first time, while every allocation succeeds. */
static void put_once(const char *name, const char *text, size_t length) {
    if (!file_exists(in_folder(name))) {
        put(name, text, length);
    }
}

static err pack_table_portion(void) {
    put_once("a.csv", table, sizeof table - 1);
    return pack("a.csv", false);
}

static err pack_table_labels(void) {
    put_once("a.csv", table, sizeof table - 1);
    return pack("a.csv", true);
}

static err pack_series_portion(void) {
    put_once("a.ts", series, sizeof series - 1);
    return pack("a.ts", false);
}

static err pack_idx_portion(void) {
    static const uint8_t bytes[6 * 4] = {1, 2, 3, 4, 5, 6};
    static const uint32_t dims[] = {6, 2, 2};
    err e = idx_write(in_folder("a.idx"), bytes, 3, dims);
    return e ? e : pack("a.idx", false);
}

static err read_row(void) {
    static const char *const words[] = {"a", "b"};
    static const column list[] = {{.name = "x", .takes_missing = true, .mean = 1},
                                  {.name = "w", .kind = COLUMN_CATEGORY, .categories = words, .category_count = 2}};
    columns *c = NULL, *again = NULL;
    float row[3];
    err e = columns_new(&c, list, 2);
    json_t *json = e ? NULL : columns_to_json(c);
    e = e || json ? e : err_fail(ERR_MEMORY, "no memory");
    e = e ? e : columns_from_json(&again, json);
    e = e ? e : columns_parse_csv(again, "w,x\nb,7\n", 8, row);
    json_decref(json);
    columns_free(c);
    columns_free(again);
    return e;
}

TORTURE(pack_table_portion, ALL)
TORTURE(pack_table_labels, ALL)
TORTURE(pack_series_portion, ALL)
TORTURE(pack_idx_portion, ALL)
TORTURE(read_row, ALL)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(pack_table_portion_survives),
        IN_FOLDER(pack_table_labels_survives),
        IN_FOLDER(pack_series_portion_survives),
        IN_FOLDER(pack_idx_portion_survives),
        IN_FOLDER(read_row_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
