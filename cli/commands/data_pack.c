#include "cli/commands/commands.h"

#include "base/options.h"
#include "cli/packing/pack_folder.h"
#include "cli/packing/pack_labels.h"
#include "cli/packing/pack_portion.h"
#include "cli/packing/pack_source.h"

#include <stdio.h>
#include <stdlib.h>

enum { SIDE_MAX = 1 << 16, TOLD_MAX = 40 };

typedef struct pack_options {
    const char *to, *dataset, *portion;
    bool is_labels;
    const char *ids;
    const char *test, *validation; /* shares */
    const char *test_from, *test_ids, *validation_ids;
    pack_source_options source;
    int64_t length, channels;
    pack_piece piece;
} pack_options;

static err take_delimiter(const char *text, void *to, const options_entry *entry) {
    (void)entry;
    bool is_tab = strcmp(text, "tab") == 0;
    *(char *)to = is_tab ? '\t' : text[0];
    bool is_one = is_tab || (text[0] > ' ' && text[1] == '\0' && text[0] != '"');
    return is_one ? ERR_OK : err_fail(ERR_USAGE, "'%.40s' is no single character, and not tab", text);
}

static err take_missing(const char *text, void *to, const options_entry *entry) {
    (void)entry;
    *(bool *)to = strcmp(text, "mean") == 0;
    return *(bool *)to || strcmp(text, "refuse") == 0 ? ERR_OK
                                                      : err_fail(ERR_USAGE, "'%.40s' is neither refuse nor mean", text);
}

static err take_dimensions(const char *text, void *to, const options_entry *entry) {
    (void)entry;
    return pack_series_parse_dimensions(text, to);
}

static err take_size(const char *text, void *to, const options_entry *entry) {
    (void)entry;
    pack_source_options *o = to;
    int end = 0;
    bool is_size = sscanf(text, "%5ux%5u%n", &o->height, &o->width, &end) == 2 && text[end] == '\0';
    return is_size && o->height > 0 && o->width > 0 && o->height <= SIDE_MAX && o->width <= SIDE_MAX
               ? ERR_OK
               : err_fail(ERR_USAGE, "'%.40s' is no size such as 28x28 (height, width)", text);
}

static err take_piece(const char *text, void *to, const options_entry *entry) {
    (void)entry;
    return pack_portion_parse_piece(text, to);
}

static const options_entry entries[] = {
    {OPTIONS_TEXT(pack_options, to, "to", "DIR", "folder to make; a portion or labels that are there are replaced"),
     .is_required = true},
    {OPTIONS_TEXT(pack_options, dataset, "dataset", "NAME", "what all owners call the data: a-z, 0-9, - and _"),
     .is_required = true},
    {OPTIONS_TEXT(pack_options, portion, "portion", "NAME", "pack a portion, of this name in the experiment")},
    {OPTIONS_FLAG(pack_options, is_labels, "labels", "pack the labels, for the server, and no values")},
    {OPTIONS_TEXT(pack_options, source.table.id_column, "id-column", "COLUMN", "of a table: the samples' ids"),
     .preset = "id"},
    {OPTIONS_TEXT(
        pack_options, ids, "ids", "FILE",
        "the samples' ids, one a line or a .npy of whole numbers; or 'counted': 0, 1, ... in the file's order, "
        "which is how arrays and series have them anyway")},
    {OPTIONS_TEXT(pack_options, source.table.label_column, "label-column", "COLUMN",
                  "of a table: the labels, which are no feature"),
     .preset = "label"},
    {OPTIONS_TEXT(pack_options, source.table.columns, "columns", "A,B,C",
                  "of a table: the features; all columns but those two where nothing is said")},
    {OPTIONS_TEXT(pack_options, source.table.categories, "categories", "A,B",
                  "of a table: columns of numbers that are categories")},
    {OPTIONS_PARSED(pack_options, source.table.fills_missing, "missing-cells", "HOW", take_missing,
                    "of a table: refuse an empty cell (the default), or mean: the training mean, no category")},
    {OPTIONS_PARSED(pack_options, source.table.delimiter, "delimiter", "C", take_delimiter,
                    "of a table: what stands between cells; a comma, in a .tsv a tab")},
    {OPTIONS_TEXT(pack_options, source.array, "array", "NAME", "of a .npz file: the array")},
    {OPTIONS_PARSED(pack_options, source.dimensions, "dimensions", "0-2,5", take_dimensions,
                    "of a .ts file, and of sounds the channels: these alone, counted from 0")},
    {OPTIONS_NUMBER(pack_options, length, "length", "N", 1, PORTION_ELEMENTS_MAX,
                    "of series and sounds: cut there, or fill with zeros; else all must be as long as the first")},
    {OPTIONS_PARSED(pack_options, source, "size", "HxW", take_size, "of pictures: scaled to this height and width")},
    {OPTIONS_NUMBER(pack_options, channels, "channels", "N", 1, 3,
                    "of pictures: 1 (grey) or 3 (colour, the default); of sounds: 1 (the mean of theirs)")},
    {OPTIONS_PARSED(pack_options, piece, "part", "KIND:K", take_piece,
                    "of pictures: a piece of each alone, quadrants:0 to 3 or planes:0 to 2")},
    {OPTIONS_TEXT(pack_options, test, "test", "SHARE", "samples for the test, by their ids (20%)")},
    {OPTIONS_TEXT(pack_options, validation, "validation", "SHARE", "samples for validation, by their ids (0%)")},
    {OPTIONS_TEXT(pack_options, test_ids, "test-ids", "FILE", "the test's ids, instead of a share")},
    {OPTIONS_TEXT(pack_options, validation_ids, "validation-ids", "FILE", "the validation's ids, instead of a share")},
    {OPTIONS_TEXT(pack_options, test_from, "test-from", "FILE", "the test's samples are those of this file or folder")},
    {0},
};

static const options_command command = {
    .arguments = "FROM",
    .least = 1,
    .most = 1,
    .summary = "Packs an owner's portion of the samples, or the labels, on the owner's own machine. FROM is\n"
               "  a table, .csv or .tsv: a row a sample\n"
               "  an array, .npy, .npz or IDX: the first size is the samples'\n"
               "  series, .ts: a line a sample\n"
               "  a folder of .png and .jpg, or of .wav: a file a sample, named by its id;\n"
               "  folders in it are classes",
    .notes = "Which samples are for training, validation and the test follows from their ids alone, so "
             "it is the same for all owners that name the same shares. Values are kept as they are, beside the mean "
             "and deviation of the training samples, by which nets scale them. A table's owner with the labels packs "
             "it twice:\n"
             "  fewbit data pack a.csv --dataset breast --label-column y \\\n"
             "      --portion guest --to guest\n"
             "  fewbit data pack a.csv --dataset breast --label-column y \\\n"
             "      --labels --to server",
    .entries = entries,
};

/* The options, made into what the packing wants. */

static err check_names(const pack_options *o) {
    size_t length = strlen(o->dataset);
    if (length < 1 || length > 31 || strspn(o->dataset, "abcdefghijklmnopqrstuvwxyz0123456789-_") != length) {
        return err_fail(ERR_USAGE, "--dataset: '%.40s' is not 1 to 31 of a-z, 0-9, - and _", o->dataset);
    }
    if (!o->portion == !o->is_labels) {
        return err_fail(ERR_USAGE, "one of --portion and --labels, please (see --help)");
    }
    return !o->portion || portion_name_is_valid(o->portion)
               ? ERR_OK
               : err_fail(ERR_USAGE,
                          "--portion: '%.40s' is not 1 to %d of A-Z, a-z, 0-9, '.', '_' and '-', first a "
                          "letter or digit",
                          o->portion, PORTION_NAME_MAX);
}

static err plan_parts(const pack_options *o, pack_parts *p) {
    if ((o->test != NULL) + (o->test_ids != NULL) + (o->test_from != NULL) > 1) {
        return err_fail(ERR_USAGE, "only one of --test, --test-ids and --test-from, please");
    }
    if (o->validation && o->validation_ids) {
        return err_fail(ERR_USAGE, "only one of --validation and --validation-ids, please");
    }
    if (pack_parts_parse_share(o->test ? o->test : "20%", &p->test)) {
        return err_prefix(ERR_USAGE, "--test");
    }
    if (pack_parts_parse_share(o->validation ? o->validation : "0%", &p->validation)) {
        return err_prefix(ERR_USAGE, "--validation");
    }
    return p->test + p->validation < 1 ? ERR_OK : err_fail(ERR_USAGE, "--test and --validation leave nothing to train");
}

static err parse(int argc, char **argv, pack_options *o, options_arguments *from, pack_parts *parts) {
    err e = options_parse(&command, argc, argv, o, from);
    e = e ? e : check_names(o);
    e = e ? e : plan_parts(o, parts);
    o->source.length = (uint32_t)o->length;
    o->source.channels = (uint32_t)o->channels;
    o->source.table.has_no_ids = o->ids != NULL;
    return e || !o->is_labels || o->piece.is_whole ? e : err_fail(ERR_USAGE, "--part: labels are not cut");
}

/* Work. */

typedef struct lists {
    id_list *ids, *test, *validation;
} lists;

static err read_list(const char *path, const char *option, id_list **l) {
    err e = path ? id_list_read(l, path) : ERR_OK;
    return e ? err_prefix(e, "--%s", option) : ERR_OK;
}

static err read_lists(const pack_options *o, lists *l, pack_samples *s, pack_parts *parts) {
    bool is_counted = o->ids && strcmp(o->ids, "counted") == 0;
    err e = read_list(is_counted ? NULL : o->ids, "ids", &l->ids);
    e = e ? e : read_list(o->test_ids, "test-ids", &l->test);
    e = e ? e : read_list(o->validation_ids, "validation-ids", &l->validation);
    parts->test_ids = l->test;
    parts->validation_ids = l->validation;
    if (!e && l->ids) {
        s->ids = id_list_all(l->ids, &s->id_count);
    }
    return e;
}

static void tell(const pack_options *o, const char *what, const pack_order *order) {
    printf("%s: %s of %s: %u samples for training, %u for validation, %u for the test\n", o->to, what, o->dataset,
           order->samples[DATASET_TRAIN] - order->validation, order->validation, order->samples[DATASET_TEST]);
}

static void tell_classes(const labels *l) {
    uint32_t counts[2][DATASET_CLASSES_MAX] = {0};
    for (uint32_t split = 0; split < 2; split++) {
        for (uint32_t i = 0; i < l->samples[split]; i++) {
            counts[split][l->values[split][i]]++;
        }
    }
    for (uint32_t k = 0; k < l->classes.count; k++) {
        printf("%s%s (%u + %u)", k > 0 ? ", " : "  classes (samples + the test's): ", l->classes.names[k],
               counts[DATASET_TRAIN][k], counts[DATASET_TEST][k]);
    }
    printf("\n");
}

/* What became of each column: a label among them, or a number that became a category, is seen here. */
static void tell_columns(const columns *c, column_kind kind) {
    const char *before = kind == COLUMN_NUMBER ? "  numbers: " : "  categories: ";
    uint32_t told = 0;
    for (uint32_t k = 0; k < columns_count(c); k++) {
        const column *one = columns_get(c, k);
        if (one->kind == kind && told++ < TOLD_MAX) {
            printf("%s%s", told > 1 ? ", " : before, one->name);
            printf(kind == COLUMN_CATEGORY ? " (%u)" : "", one->category_count);
        }
    }
    if (told > TOLD_MAX) {
        printf(", and %u more", told - TOLD_MAX);
    }
    printf("%s", told > 0 ? "\n" : "");
}

static err write_labels(const pack_options *o, const pack_samples *s, pack_order *order) {
    char what[64];
    labels *l = calloc(1, sizeof *l);
    if (!l) {
        return err_fail(ERR_MEMORY, "no memory for labels");
    }
    snprintf(l->dataset, sizeof l->dataset, "%s", o->dataset);
    err e = pack_labels_write(o->to, s, order, l);
    if (!e) {
        snprintf(what, sizeof what, "labels in %u classes", l->classes.count);
        tell(o, what, order);
        tell_classes(l);
    }
    labels_close(l);
    free(l);
    return e;
}

static err write_portion(const pack_options *o, const pack_samples *s, const pack_table *t, const pack_order *order) {
    char what[PORTION_NAME_MAX + PORTION_SHAPE_TEXT + 16], shape[PORTION_SHAPE_TEXT];
    portion_info info = {0};
    snprintf(info.dataset, sizeof info.dataset, "%s", o->dataset);
    snprintf(info.name, sizeof info.name, "%s", o->portion);
    columns *c;
    err e = pack_portion_write(o->to, s, t, &o->piece, order, &info, &c);
    if (!e) {
        snprintf(what, sizeof what, "portion %s, %s,", o->portion, portion_shape_text(&info.shape, shape));
        tell(o, what, order);
    }
    for (column_kind kind = COLUMN_NUMBER; c && !e && kind <= COLUMN_CATEGORY; kind++) {
        tell_columns(c, kind);
    }
    columns_free(c);
    return e;
}

static err pack(const pack_options *o, const pack_parts *parts, pack_samples *s, pack_table **t) {
    uint32_t counts[PACK_PARTS];
    pack_order order = {0};
    err e = pack_folder_check(o->to, o->is_labels ? PACK_FOLDER_PORTION : PACK_FOLDER_LABELS);
    e = e ? e : pack_source_read(s, &o->source, o->is_labels, t);
    e = e ? e : pack_parts_assign(parts, s, counts);
    e = e ? e : pack_order_make(&order, s, counts);
    e = e ? e : o->is_labels ? write_labels(o, s, &order) : write_portion(o, s, *t, &order);
    pack_order_free(&order);
    return e;
}

err data_pack_main(int argc, char **argv) {
    pack_options o = {.piece.is_whole = true};
    pack_parts parts = {0};
    options_arguments from;
    err e = parse(argc, argv, &o, &from, &parts);
    if (e) {
        return e;
    }
    lists l = {0};
    pack_samples s;
    pack_table *t = NULL;
    pack_samples_init(&s);
    s.paths[0] = from.list[0];
    s.paths[1] = o.test_from;
    e = read_lists(&o, &l, &s, &parts);
    e = e ? e : pack(&o, &parts, &s, &t);
    pack_table_free(t);
    pack_samples_free(&s);
    id_list_free(l.ids);
    id_list_free(l.test);
    id_list_free(l.validation);
    return e;
}
