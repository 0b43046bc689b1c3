/* Experiments that are not well: each error names file, line and key. */
#include "base/rng.h"
#include "experiment/validate.h"
#include "tests/lib/experiments.h"
#include "tests/lib/folder.h"

static char text[TEXT_MAX];

/* The error line must begin with the text's name and the line, and hold `rest`. */
static void assert_placed(unsigned line, const char *rest) {
    char colon[32];
    snprintf(colon, sizeof colon, "some.yaml:%u: ", line);
    if (strncmp(err_text(), colon, strlen(colon)) != 0 || !strstr(err_text(), rest)) {
        fail_msg("'%s' does not tell some.yaml, line %u and '%s'", err_text(), line, rest);
    }
}

static void assert_text_refused(size_t length, unsigned line, const char *rest) {
    experiment e;
    err_fail(ERR_OK, "nothing");
    if (parse_text(text, length, &e) != ERR_INPUT) {
        fail_msg("not refused:\n%.*s", (int)(length < 2000 ? length : 2000), text);
    }
    assert_placed(line, rest);
}

/* The last change's key is the one that must be named. */
static void assert_change_refused(const change *changes, size_t count, const char *rest) {
    experiment e;
    unsigned line = 0;
    err_fail(ERR_OK, "nothing");
    size_t length = compose(text, changes, count, &line);
    if (parse_text(text, length, &e) != ERR_INPUT) {
        fail_msg("%s: '%s' is not refused", changes[count - 1].path, changes[count - 1].value);
    }
    assert_placed(line, rest);
}

static void unknown_keys(void **state) {
    (void)state;
    for (size_t i = 0; i < ALL_KEYS; i++) {
        const experiment_key *k = &all_keys[i];
        char path[64], value[128], wanted[96];
        unsigned line = 0;
        path_of(k, path, sizeof path);
        snprintf(value, sizeof value, "%s\n%sunknown: 1", k->value, k->section[0] ? "  " : "");
        snprintf(wanted, sizeof wanted, "key %s%sunknown is not known", k->section, k->section[0] ? "." : "");
        size_t length = compose(text, &(change){path, value}, 1, &line);
        assert_text_refused(length, line + 1, wanted);
    }
}

/* Where there is no key before it to be mistaken for. */
static void unknown_first_keys(void **state) {
    (void)state;
    static const char added[] = "  unknown: 1\n";
    for (size_t i = 1; i < ALL_KEYS; i++) {
        const experiment_key *k = &all_keys[i];
        if (strcmp(k->section, all_keys[i - 1].section) == 0) {
            continue;
        }
        char path[64], wanted[96];
        unsigned line = 0;
        path_of(k, path, sizeof path);
        snprintf(wanted, sizeof wanted, "key %s.unknown is not known", k->section);
        size_t length = compose(text, &(change){path, k->value}, 1, &line);
        snprintf(path, sizeof path, "\n%s:\n", k->section);
        char *at = strstr(text, path);
        assert_non_null(at);
        at += strlen(path);
        memmove(at + strlen(added), at, length - (size_t)(at - text));
        memcpy(at, added, strlen(added));
        assert_text_refused(length + strlen(added), line, wanted);
    }
}

static void unknown_sections(void **state) {
    (void)state;
    static const char *const sections[] = {"unknown: 1\n", "unknown:\n  a: 1\n", "unknown: {a: 1}\n",
                                           "Dataset:\n  name: mnist\n"};
    for (size_t i = 0; i < 4; i++) {
        size_t length = compose(text, NULL, 0, NULL);
        unsigned line = 1;
        for (size_t c = 0; c < length; c++) {
            line += text[c] == '\n';
        }
        char wanted[64];
        snprintf(wanted, sizeof wanted, "key %.*s is not known", (int)strcspn(sections[i], ":"), sections[i]);
        strcpy(text + length, sections[i]);
        assert_text_refused(length + strlen(sections[i]), line, wanted);
    }
}

/* The line is that of the section: where else could a missing key stand? */
static void missing_keys(void **state) {
    (void)state;
    for (size_t i = 0; i < ALL_KEYS; i++) {
        const experiment_key *k = &all_keys[i];
        char path[64], wanted[96];
        path_of(k, path, sizeof path);
        experiment e;
        err failed = parse_changed(&(change){path, NULL}, 1, &e);
        if (k->may_be_left_out) {
            bool validation =
                strcmp(path, "dataset.validation") == 0; /* early_stopping_patience and keep_best need it */
            assert_int_equal(failed, validation ? ERR_INPUT : ERR_OK);
            continue;
        }
        assert_int_equal(failed, ERR_INPUT);
        if (strcmp(k->key, "hidden") == 0 || strcmp(k->key, "bits") == 0) { /* some nets have none, these must */
            snprintf(wanted, sizeof wanted, "key %s must be from 1 to", path);
            assert_non_null(strstr(err_text(), wanted));
            continue;
        }
        bool is_whole_section = strcmp(k->section, "decoder") == 0;
        unsigned line = 1;
        char start[64];
        snprintf(start, sizeof start, "\n%s:\n", k->section);
        size_t length = compose(text, &(change){path, NULL}, 1, NULL);
        text[length] = '\0';
        const char *at = k->section[0] && !is_whole_section ? strstr(text, start) : text;
        assert_non_null(at);
        for (const char *c = text; c <= at; c++) {
            line += *c == '\n';
        }
        snprintf(wanted, sizeof wanted, ": key %s is missing", is_whole_section ? "decoder" : path);
        assert_placed(line, wanted);
    }
}

static void missing_sections(void **state) {
    (void)state;
    static const char *const sections[] = {"dataset", "encoder", "decoder", "classifier", "optimiser", "training"};
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        change left_out[ALL_KEYS];
        char paths[ALL_KEYS][64], wanted[64];
        size_t count = 0;
        for (size_t k = 0; k < ALL_KEYS; k++) {
            if (strcmp(all_keys[k].section, sections[i]) == 0) {
                path_of(&all_keys[k], paths[count], sizeof paths[count]);
                left_out[count] = (change){paths[count], NULL};
                count++;
            }
        }
        experiment e;
        assert_int_equal(parse_changed(left_out, count, &e), ERR_INPUT);
        snprintf(wanted, sizeof wanted, "some.yaml:1: key %s is missing", sections[i]);
        assert_string_equal(err_text(), wanted);
    }
}

/* Values of the wrong type, above all those that look like the right one. */
static void wrong_types(void **state) {
    (void)state;
    static const char *const by_type[][20] = {
        [TEXT] = {"[a]", "{a: b}"},
        [NAME_OF] = {"[a]", "{a: b}", "foo", "1", "", "Runs", "~"},
        [COUNT] = {"[1]", "{a: 1}", "x", "", "~", "-1", "1.5", "4.", "1e1", "12x", "0x10", "010", "1_0", "\"4 \"",
                   "\" 4\"", "1 0", "99999999999999999999", "18446744073709551616", "-18446744073709551612"},
        [NUMBER] = {"[1]", "{a: 1}", "x", "", "~", "0.5x", "0.5.5", "0,5", "0x1", "1e", "\"0.5 \"", "\" 0.5\"", ".",
                    "1 0", "true"},
        [SWITCH] = {"[true]", "{a: true}", "maybe", "", "2", "tru", "truefalse", "\"true \"", "0.0", "~"},
    };
    for (size_t i = 0; i < ALL_KEYS; i++) {
        char path[64];
        path_of(&all_keys[i], path, sizeof path);
        for (size_t v = 0; v < 20 && by_type[all_keys[i].type][v]; v++) {
            assert_change_refused(&(change){path, by_type[all_keys[i].type][v]}, 1, all_keys[i].key);
        }
    }
}

static void sections_of_the_wrong_type(void **state) {
    (void)state;
    static const char *const instead[] = {"name: a\ndata: 3\n", "name: a\ndata: [set]\n", "name: a\ndata:\n"};
    for (size_t i = 0; i < 3; i++) {
        strcpy(text, instead[i]);
        assert_text_refused(strlen(text), 2, "data");
    }
}

static void numbers_that_are_none(void **state) {
    (void)state;
    static const char *const values[] = {"nan",      "NaN",  "-nan",  ".nan",  "inf",  "-inf",
                                         "infinity", ".inf", "-.inf", "1e999", "-1e39"};
    for (size_t i = 0; i < ALL_KEYS; i++) {
        for (size_t v = 0; all_keys[i].type == NUMBER && v < sizeof values / sizeof values[0]; v++) {
            char path[64];
            path_of(&all_keys[i], path, sizeof path);
            assert_change_refused(&(change){path, values[v]}, 1, all_keys[i].key);
        }
    }
}

static void texts_that_are_too_long(void **state) {
    (void)state;
    const struct {
        const char *path, *key;
        size_t most;
    } texts[] = {{"name", "name", 63}, {"title", "title", 159}, {"dataset.name", "dataset.name", 31}};
    for (size_t i = 0; i < 3; i++) {
        char value[256] = {0};
        experiment e;
        memset(value, 'a', texts[i].most + 1);
        assert_change_refused(&(change){texts[i].path, value}, 1, texts[i].key);
        value[texts[i].most] = '\0';
        if (i < 2) {
            must_parse(&(change){texts[i].path, value}, 1, &e);
            assert_string_equal(i == 0 ? e.name : e.title, value);
        }
    }
    assert_change_refused(&(change){"name", "\"\""}, 1, "name");
}

enum { CHANGES_MAX = 4 };

typedef struct rule_case {
    change changes[CHANGES_MAX]; /* the last one breaks the rule */
    const char *demand;
    bool holds; /* on the edge, still right */
} rule_case;

static const rule_case rules[] = {
    {{{"dataset.name", "foo"}}, "key dataset.name must be a data set that is known", false},
    {{{"dataset.name", "MNIST"}}, "key dataset.name must be a data set that is known", false},
    {{{"dataset.portions", "0"}}, "key dataset.portions must be from 1 to 64", false},
    {{{"dataset.portions", "65"}}, "key dataset.portions must be from 1 to 64", false},
    {{{"dataset.portions", "4294967295"}}, "key dataset.portions must be from 1 to 64", false},
    {{{"dataset.portions", "1"}}, NULL, true},
    {{{"dataset.portions", "28"}}, NULL, true},
    {{{"dataset.mean", "10.0001"}}, "key dataset.mean must be from -10 to 10", false},
    {{{"dataset.mean", "-11"}}, "key dataset.mean must be from -10 to 10", false},
    {{{"dataset.mean", "-10"}}, NULL, true},
    {{{"dataset.mean", "10"}}, NULL, true},
    {{{"dataset.std", "-0.5"}}, "key dataset.std must be from 0.0001 to 100", false},
    {{{"dataset.std", "0.00009"}}, "key dataset.std must be from 0.0001 to 100", false},
    {{{"dataset.std", "100.001"}}, "key dataset.std must be from 0.0001 to 100", false},
    {{{"dataset.std", "0.0001"}}, NULL, true},
    {{{"dataset.std", "0"}}, NULL, true},
    {{{"dataset.std", "100"}}, NULL, true},
    {{{"dataset.validation", "60000"}}, "key dataset.validation must be below the training samples", false},
    {{{"dataset.validation", "4294967295"}}, "key dataset.validation must be below the training samples", false},
    {{{"dataset.validation", "59999"}}, NULL, true},
    {{{"dataset.name", "cifar10"}, {"dataset.portions", "3"}, {"dataset.validation", "50000"}},
     "key dataset.validation",
     false},
    {{{"encoder.hidden", "0"}}, "key encoder.hidden must be from 1 to 65536", false},
    {{{"encoder.hidden", "65537"}}, "key encoder.hidden must be from 1 to 65536", false},
    {{{"encoder.hidden", "65536"}}, NULL, true},
    {{{"encoder.bits", "0"}}, "key encoder.bits must be from 1 to 64", false},
    {{{"encoder.bits", "65"}}, "key encoder.bits must be from 1 to 64", false},
    {{{"encoder.bits", "64"}}, NULL, true},
    {{{"classifier.hidden", "0"}}, "key classifier.hidden must be from 1 to 65536", false},
    {{{"classifier.hidden", "65537"}}, "key classifier.hidden must be from 1 to 65536", false},
    {{{"classifier.hidden", "1"}}, NULL, true},
    {{{"loss.quantization", "-0.001"}}, "key loss.quantization must be from 0 to 1000000", false},
    {{{"loss.quantization", "1100000"}}, "key loss.quantization must be from 0 to 1000000", false},
    {{{"loss.quantization", "1000000"}}, NULL, true},
    {{{"loss.quantization", "0"}}, NULL, true},
    {{{"optimiser.learning_rate", "0"}}, "key optimiser.learning_rate must be above 0, at most 100", false},
    {{{"optimiser.learning_rate", "-0.1"}}, "key optimiser.learning_rate must be above 0, at most 100", false},
    {{{"optimiser.learning_rate", "100.001"}}, "key optimiser.learning_rate must be above 0, at most 100", false},
    {{{"optimiser.learning_rate", "100"}}, NULL, true},
    {{{"optimiser.learning_rate", "1e-45"}}, NULL, true},
    {{{"optimiser.momentum", "-0.1"}}, "key optimiser.momentum must be from 0 to 0.9999", false},
    {{{"optimiser.momentum", "1"}}, "key optimiser.momentum must be from 0 to 0.9999", false},
    {{{"optimiser.momentum", "0.9999"}}, NULL, true},
    {{{"training.portion_dropout", "-0.1"}}, "key training.portion_dropout must be from 0 to 0.9", false},
    {{{"training.portion_dropout", "0.91"}}, "key training.portion_dropout must be from 0 to 0.9", false},
    {{{"training.portion_dropout", "0.9"}}, NULL, true},
    {{{"augment.shift", "-1"}}, "key augment.shift must be from 0 to 1000", false},
    {{{"augment.rotation", "181"}}, "key augment.rotation must be from 0 to 180", false},
    {{{"augment.scale", "1"}}, "key augment.scale must be from 0 to 0.9", false},
    {{{"augment.shear", "3"}}, "key augment.shear must be from 0 to 2", false},
    {{{"optimiser.weight_decay", "-0.1"}}, "key optimiser.weight_decay must be from 0 to 10", false},
    {{{"optimiser.weight_decay", "10.1"}}, "key optimiser.weight_decay must be from 0 to 10", false},
    {{{"optimiser.kind", "adam"}, {"optimiser.momentum", "0"}, {"optimiser.weight_decay", "0.01"}},
     "key optimiser.weight_decay is for adamw and sgd only",
     false},
    {{{"optimiser.kind", "adamw"}, {"optimiser.momentum", "0"}}, NULL, true},
    {{{"loss.label_smoothing", "-0.1"}}, "key loss.label_smoothing must be from 0 to 0.9", false},
    {{{"loss.label_smoothing", "0.91"}}, "key loss.label_smoothing must be from 0 to 0.9", false},
    {{{"loss.class_weights", "[1, 0]"}}, "key loss.class_weights must be from 0.001 to 1000", false},
    {{{"loss.class_weights", "[1001]"}}, "key loss.class_weights must be from 0.001 to 1000", false},
    {{{"loss.class_weights", "[nan]"}}, "key loss.class_weights must be a number", false},
    {{{"loss.class_weights", "balance"}}, "key loss.class_weights is 'balance', none of none, balanced", false},
    {{{"loss.class_weights", "{a: 1}"}}, "key loss.class_weights must be a list, as [2, 4]", false},
    {{{"optimiser.kind", "adam"}, {"optimiser.weight_decay", "0"}, {"optimiser.momentum", "0.5"}},
     "key optimiser.momentum is for sgd only",
     false},
    {{{"optimiser.kind", "adam"}, {"optimiser.momentum", "0"}, {"optimiser.weight_decay", "0"}}, NULL, true},
    {{{"training.epochs", "0"}}, "key training.epochs must be from 1 to 100000", false},
    {{{"training.epochs", "100001"}}, "key training.epochs must be from 1 to 100000", false},
    {{{"training.epochs", "100000"}}, NULL, true},
    {{{"training.batch_size", "0"}}, "key training.batch_size must be from 1 to 8192", false},
    {{{"training.batch_size", "8193"}}, "key training.batch_size must be from 1 to 8192", false},
    {{{"training.batch_size", "8192"}}, NULL, true},
    {{{"training.batch_size", "1"}}, "key training.batch_size must be at least 2 with batch norm", false},
    {{{"training.batch_size", "1"}, {"encoder.batch_norm", "false"}}, NULL, true},
    {{{"training.batch_size", "2"}}, NULL, true},
    {{{"dataset.evaluate_test", "true"},
      {"training.keep_best", "false"},
      {"dataset.validation", "0"},
      {"training.early_stopping_patience", "1"}},
     "key training.early_stopping_patience needs dataset.validation",
     false},
    {{{"dataset.evaluate_test", "true"},
      {"training.early_stopping_patience", "0"},
      {"dataset.validation", "0"},
      {"training.keep_best", "true"}},
     "key training.keep_best needs dataset.validation",
     false},
    {{{"training.early_stopping_patience", "0"},
      {"training.keep_best", "false"},
      {"dataset.validation", "0"},
      {"dataset.evaluate_test", "true"}},
     NULL,
     true},
    {{{"training.early_stopping_patience", "0"},
      {"training.keep_best", "false"},
      {"dataset.validation", "0"},
      {"dataset.evaluate_test", "false"}},
     "key dataset.evaluate_test false needs dataset.validation",
     false},
    {{{"encoder.temperature", "0.0009"}}, "key encoder.temperature must be from 0.001 to 1", false},
    {{{"encoder.temperature", "1.01"}}, "key encoder.temperature must be from 0.001 to 1", false},
    {{{"encoder.temperature", "0"}}, NULL, true},
    {{{"tta.flip", "true"}}, "key tta.flip needs encoder.activation sigmoid", false},
    {{{"tta.shift", "1"}}, "key tta.shift needs encoder.activation sigmoid", false},
    {{{"encoder.activation", "sigmoid"}, {"tta.shift", "17"}}, "key tta.shift must be from 0 to 16", false},
    {{{"encoder.activation", "sigmoid"}, {"tta.flip", "true"}, {"tta.shift", "16"}}, NULL, true},
    {{{"training.ema_decay", "-0.1"}}, "key training.ema_decay must be from 0 to 0.99999", false},
    {{{"training.ema_decay", "1"}}, "key training.ema_decay must be from 0 to 0.99999", false},
    {{{"training.ema_decay", "0.9999"}}, NULL, true},
};

static void values_out_of_range(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        const rule_case *r = &rules[i];
        size_t count = 1;
        while (count < CHANGES_MAX && r->changes[count].path) {
            count++;
        }
        experiment e;
        if (r->holds) {
            must_parse(r->changes, count, &e);
            continue;
        }
        /* compose gives the line of the last changed key in the file; a rule's key is always the last of its changes */
        unsigned line = 0;
        compose(text, &r->changes[count - 1], 1, &line);
        assert_int_equal(parse_changed(r->changes, count, &e), ERR_INPUT);
        assert_placed(line, r->demand);
    }
}

static void looks_that_do_not_fit(void **state) {
    (void)state;
    const change quarters[] = {{"dataset.partition", "quadrants"},
                               {"augment.flip", "false"},
                               {"encoder.activation", "sigmoid"},
                               {"tta.flip", "true"}};
    const change runs[] = {{"dataset.portions", "56"},
                           {"augment.shift", "0"},
                           {"augment.rotation", "0"},
                           {"augment.scale", "0"},
                           {"augment.shear", "0"},
                           {"augment.flip", "false"},
                           {"encoder.activation", "sigmoid"},
                           {"tta.shift", "1"}};
    assert_change_refused(quarters, 4, "tta.flip does not fit: only portions as wide as the sample can be mirrored");
    assert_change_refused(runs, 8, "tta.shift does not fit: slices of 14 elements are no rectangles of rows of 28");
}

static void distortions_that_do_not_fit(void **state) {
    (void)state;
    const struct {
        change changes[2];
        const char *demand;
    } cases[] = {
        {{{"dataset.partition", "quadrants"}, {"augment.flip", "true"}},
         "only portions as wide as the sample can be mirrored"},
        {{{"dataset.portions", "56"}, {"augment.flip", "false"}},
         "slices of 14 elements are no rectangles of rows of 28"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        experiment e;
        unsigned line = 0;
        compose(text, &(change){"augment.shift", "1.5"}, 1, &line);
        assert_int_equal(parse_changed(cases[i].changes, 2, &e), ERR_INPUT);
        assert_placed(line - 1, cases[i].demand); /* the section's own line */
    }
}

static void splits_that_do_not_fit(void **state) {
    (void)state;
    const struct {
        change changes[3];
        size_t count;
        const char *demand;
    } cases[] = {
        {{{"dataset.partition", "quadrants"}, {"dataset.portions", "3"}}, 2, "quadrants make 4 portions, not 3"},
        {{{"dataset.partition", "planes"}}, 1, "planes make one portion for each of the 1 channels, not 4"},
        {{{"dataset.partition", "slices"}, {"dataset.portions", "3"}},
         2,
         "784 elements do not part into 3 even slices"},
        {{{"dataset.name", "cifar10"}, {"dataset.partition", "planes"}, {"dataset.portions", "4"}},
         3,
         "each of the 3 channels"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        experiment e;
        unsigned line = 0;
        compose(text, &(change){"dataset.partition", "slices"}, 1, &line);
        assert_int_equal(parse_changed(cases[i].changes, cases[i].count, &e), ERR_INPUT);
        assert_placed(line, cases[i].demand);
        char *first = strstr(err_text(), "dataset.partition");
        assert_non_null(first);
        assert_null(strstr(first + 1, "dataset.partition")); /* said once */
    }
    experiment e;
    const change planes[] = {{"dataset.name", "cifar10"}, {"dataset.partition", "planes"}, {"dataset.portions", "3"}};
    must_parse(planes, 3, &e);
}

static void changes_by_hand_are_checked(void **state) {
    (void)state;
    experiment e;
    must_parse(NULL, 0, &e);
    assert_int_equal(experiment_validate(&e, NULL), ERR_OK);
    e.training.epochs = 0;
    assert_int_equal(experiment_validate(&e, NULL), ERR_INPUT);
    assert_string_equal(err_text(), "key training.epochs must be from 1 to 100000");
    must_parse(NULL, 0, &e);
    e.dataset.portions = 5;
    assert_int_equal(experiment_validate(&e, NULL), ERR_INPUT);
    assert_non_null(strstr(err_text(), "key dataset.partition"));
}

static void keys_twice(void **state) {
    (void)state;
    unsigned line = 0;
    size_t length = compose(text, &(change){"encoder.hidden", "200\n  hidden: 300"}, 1, &line);
    assert_text_refused(length, line + 1, "key encoder.hidden is there twice");
    length = compose(text, NULL, 0, NULL);
    strcpy(text + length, "loss:\n  quantization: 1\n");
    experiment e;
    assert_int_equal(parse_text(text, strlen(text), &e), ERR_INPUT);
    assert_non_null(strstr(err_text(), "key loss is there twice"));
}

/* Aliases are refused, so that no small text grows large and no text contains itself. */
static void aliases(void **state) {
    (void)state;
    strcpy(text, "a: &a [x, x, x, x, x, x, x, x]\n");
    for (char c = 'b'; c <= 'z'; c++) {
        size_t used = strlen(text);
        char before = (char)(c - 1);
        snprintf(text + used, TEXT_MAX - used, "%c: &%c [*%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c]\n", c, c, before,
                 before, before, before, before, before, before, before);
    }
    assert_text_refused(strlen(text), 1, "key a: an anchor");
    strcpy(text, "name: &n [*n, *n]\n");
    assert_text_refused(strlen(text), 1, "name");
    strcpy(text, "name: x\ndataset: &d\n  name: mnist\n  <<: *d\n");
    experiment e;
    assert_int_equal(parse_text(text, strlen(text), &e), ERR_INPUT);
}

static void tabs(void **state) {
    (void)state;
    unsigned line = 0;
    size_t length = compose(text, &(change){"encoder.hidden", "200"}, 1, &line);
    char *at = strstr(text, "  hidden: 200");
    assert_non_null(at);
    at[0] = at[1] = '\t';
    assert_text_refused(length, line, "tab");
}

/* What is no YAML is refused on its line, as far as there is one. */
static void texts_that_are_no_yaml(void **state) {
    (void)state;
    const struct {
        const char *text;
        unsigned line;
    } cases[] = {
        {"name: \"x\n\n", 3},
        {"name: a: b\n", 1},
        {"name: x\n}\n", 2},
        {"name: x\ntitle: \"\\xZZ\"\n", 2},
        {"name: x\n\n  title: y\n", 3},
        {"name: x\n@: y\n", 2},
        {"name: x\ntitle: \x01\n", 2},
        {"name: x\ntitle: \xff\xfe\n", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        strcpy(text, cases[i].text);
        assert_text_refused(strlen(text), cases[i].line, "");
    }
}

static void other_documents(void **state) {
    (void)state;
    static const char *const texts[] = {"", "\n\n", "# nothing\n", "[]", "17", "- name: x\n", "---\n", "~"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        experiment e;
        err_fail(ERR_OK, "nothing");
        assert_int_equal(parse_text(texts[i], strlen(texts[i]), &e), ERR_INPUT);
        assert_non_null(strstr(err_text(), "some.yaml"));
    }
}

/* Refused where it gets too deep, not where the text ends: libyaml takes time by the square of the depth. */
static void deep_nesting(void **state) {
    (void)state;
    static const char *const deeper[] = {"[", "{", "{a: ", "[{b: "};
    for (size_t i = 0; i < sizeof deeper / sizeof deeper[0]; i++) {
        size_t length = (size_t)snprintf(text, TEXT_MAX, "name: x\nunknown:\n  ");
        while (length < 4000) {
            length +=
                (size_t)snprintf(text + length, TEXT_MAX - length, "%s%s", deeper[i], length % 64 == 0 ? "\n   " : "");
        }
        text[length++] = '\n';
        assert_text_refused(length, 3, "");
    }
}

/* Cut texts, random bytes, and one character over and over: refused, and nothing breaks. */
static void garbage(void **state) {
    (void)state;
    experiment e;
    size_t length = compose(text, NULL, 0, NULL);
    for (size_t i = 0; i < length; i++) { /* cut anywhere; a cut between or behind the last keys leaves a whole text */
        if (parse_text(text, i, &e) != ERR_OK) {
            assert_non_null(strstr(err_text(), "some.yaml"));
        } else {
            assert_true(i > length / 2 && e.training.batch_size > 0);
        }
    }
    rng draws = rng_at(11, rng_stream(RNG_TEST, 0), 0);
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < 3000; i++) {
            text[i] = (char)rng_u32(&draws);
        }
        assert_int_equal(parse_text(text, 3000, &e), ERR_INPUT);
        assert_non_null(strstr(err_text(), "some.yaml"));
    }
    for (const char *c = "[{-?:\"'&*!|>%@#,"; *c; c++) {
        memset(text, *c, 3000);
        assert_int_equal(parse_text(text, 3000, &e), ERR_INPUT);
        memcpy(text, "name: ", 6);
        assert_int_equal(parse_text(text, 3000, &e), ERR_INPUT);
    }
    memset(text, 0, TEXT_MAX);
    assert_int_equal(parse_text(text, TEXT_MAX, &e), ERR_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_keys),
        cmocka_unit_test(unknown_first_keys),
        cmocka_unit_test(unknown_sections),
        cmocka_unit_test(missing_keys),
        cmocka_unit_test(missing_sections),
        cmocka_unit_test(wrong_types),
        cmocka_unit_test(sections_of_the_wrong_type),
        cmocka_unit_test(numbers_that_are_none),
        cmocka_unit_test(texts_that_are_too_long),
        cmocka_unit_test(values_out_of_range),
        cmocka_unit_test(looks_that_do_not_fit),
        cmocka_unit_test(distortions_that_do_not_fit),
        cmocka_unit_test(splits_that_do_not_fit),
        cmocka_unit_test(changes_by_hand_are_checked),
        cmocka_unit_test(keys_twice),
        cmocka_unit_test(aliases),
        cmocka_unit_test(tabs),
        cmocka_unit_test(texts_that_are_no_yaml),
        cmocka_unit_test(other_documents),
        cmocka_unit_test(deep_nesting),
        cmocka_unit_test(garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
