/* Every form that YAML has for a value, at every key: it is read as YAML 1.2's core schema says, or refused with file,
 * line and key. What stands around the values is taken whole or refused, never dropped. */
#include "base/file.h"
#include "experiment/load.h"
#include "experiment/serialize.h"
#include "tests/lib/experiments.h"
#include "tests/lib/folder.h"

#include <math.h>
#include <unistd.h>

static char text[TEXT_MAX], resolved[EXPERIMENT_TEXT_MAX + 1];

typedef enum meaning { NOTHING, TRUTH, INTEGER, DECIMAL, WORDS } meaning;

/* What YAML 1.2 says of it, without quotes or with. */
static const struct {
    const char *form;
    meaning meaning;
    double number;     /* of INTEGER, DECIMAL; of TRUTH 1 or 0 */
    const char *words; /* of WORDS */
} forms[] = {
    {"", NOTHING, 0, NULL},
    {"~", NOTHING, 0, NULL},
    {"null", NOTHING, 0, NULL},
    {"Null", NOTHING, 0, NULL},
    {"NULL", NOTHING, 0, NULL},
    {"true", TRUTH, 1, NULL},
    {"True", TRUTH, 1, NULL},
    {"TRUE", TRUTH, 1, NULL},
    {"false", TRUTH, 0, NULL},
    {"False", TRUTH, 0, NULL},
    {"FALSE", TRUTH, 0, NULL},
    {"yes", WORDS, 0, "yes"},
    {"no", WORDS, 0, "no"},
    {"on", WORDS, 0, "on"},
    {"off", WORDS, 0, "off"},
    {"y", WORDS, 0, "y"},
    {"0", INTEGER, 0, NULL},
    {"1", INTEGER, 1, NULL},
    {"7", INTEGER, 7, NULL},
    {"+7", INTEGER, 7, NULL},
    {"-7", INTEGER, -7, NULL},
    {"-0", INTEGER, 0, NULL},
    {"007", INTEGER, 7, NULL},
    {"010", INTEGER, 10, NULL},
    {"0x10", INTEGER, 16, NULL},
    {"0o10", INTEGER, 8, NULL},
    {"0xZZ", WORDS, 0, "0xZZ"},
    {"0b11", WORDS, 0, "0b11"},
    {"1_000", WORDS, 0, "1_000"},
    {"1,000", WORDS, 0, "1,000"},
    {"1:30", WORDS, 0, "1:30"},
    {"1e3", DECIMAL, 1000, NULL},
    {"1E3", DECIMAL, 1000, NULL},
    {"1e+3", DECIMAL, 1000, NULL},
    {"1e-3", DECIMAL, 0.001, NULL},
    {"7.", DECIMAL, 7, NULL},
    {".5", DECIMAL, 0.5, NULL},
    {"0.5", DECIMAL, 0.5, NULL},
    {"-.5", DECIMAL, -0.5, NULL},
    {"+.5", DECIMAL, 0.5, NULL},
    {"00.5", DECIMAL, 0.5, NULL},
    {".inf", DECIMAL, INFINITY, NULL},
    {"-.inf", DECIMAL, 0, NULL},
    {".nan", DECIMAL, 0, NULL},
    {"inf", WORDS, 0, "inf"},
    {"nan", WORDS, 0, "nan"},
    {"1e999", DECIMAL, 0, NULL},
    {"\"7\"", WORDS, 0, "7"},
    {"'7'", WORDS, 0, "7"},
    {"\"0.5\"", WORDS, 0, "0.5"},
    {"\"true\"", WORDS, 0, "true"},
    {"'~'", WORDS, 0, "~"},
    {"\"\"", WORDS, 0, ""},
    {"''", WORDS, 0, ""},
    {"a b", WORDS, 0, "a b"},
    {"a#b", WORDS, 0, "a#b"},
    {"a #b", WORDS, 0, "a"},
    {"7 #b", INTEGER, 7, NULL},
    {"7#b", WORDS, 0, "7#b"},
    {"\"a #b\"", WORDS, 0, "a #b"},
    {"\"\\x61\"", WORDS, 0, "a"},
    {"'it''s'", WORDS, 0, "it's"},
    {"\"a\\tb\"", WORDS, 0, "a\tb"},
    {"2026-01-31", WORDS, 0, "2026-01-31"},
    {"\xc3\xbc", WORDS, 0, "\xc3\xbc"},
    {"\"\\u00fc\"", WORDS, 0, "\xc3\xbc"},
    {"|\n      a\n      b", WORDS, 0, "a\nb\n"},
    {">-\n      a\n      b", WORDS, 0, "a b"},
    {"a\n      b", WORDS, 0, "a b"},
    {"99999999999999999999", INTEGER, 1e20, NULL},
    {"4294967296", INTEGER, 4294967296, NULL},
};

enum { FORMS = sizeof forms / sizeof forms[0] };

static void fail_form(const experiment_key *k, const char *form, const char *why) {
    fail_msg("%s.%s: %s: %s", k->section, k->key, form, why);
}

/* Refused on the line, with the key. */
static void assert_refused_at(unsigned line, const char *key) {
    char start[256];
    snprintf(start, sizeof start, "some.yaml:%u: %s%s", line, key[0] ? "key " : "", key);
    if (strncmp(err_text(), start, strlen(start)) != 0) {
        fail_msg("'%s' does not begin '%s'", err_text(), start);
    }
}

/* The value of a key in the resolved text, up to the line's end. */
static const char *value_in(const experiment *e, const experiment_key *k, char value[512]) {
    size_t length;
    char start[64];
    assert_int_equal(experiment_serialize(e, resolved, &length), ERR_OK);
    resolved[length] = '\0';
    snprintf(start, sizeof start, "\n%s:\n", k->section);
    char *at = k->section[0] ? strstr(resolved, start) + 1 : resolved;
    snprintf(start, sizeof start, "%s%s: ", k->section[0] ? "  " : "", k->key);
    at = strncmp(at, start, strlen(start)) == 0 ? at : strstr(at, start);
    assert_non_null(at);
    at += strlen(start);
    snprintf(value, 512, "%.*s", (int)strcspn(at, "\n"), at);
    return value;
}

static const char *text_in(const experiment *e, const char *key) {
    return strcmp(key, "name") == 0 ? e->name : strcmp(key, "title") == 0 ? e->title : e->dataset.name;
}

static void assert_means(const experiment *e, const experiment_key *k, size_t f) {
    char value[512];
    const char *is = value_in(e, k, value);
    switch (k->type) {
    case TEXT:
        if (forms[f].meaning != WORDS || strcmp(text_in(e, k->key), forms[f].words) != 0) {
            fail_form(k, forms[f].form, text_in(e, k->key));
        }
        break;
    case NAME_OF:
        if (forms[f].meaning != WORDS || strcmp(is, forms[f].words) != 0) {
            fail_form(k, forms[f].form, is);
        }
        break;
    case COUNT:
        if (forms[f].meaning != INTEGER || strtod(is, NULL) != forms[f].number) {
            fail_form(k, forms[f].form, is);
        }
        break;
    case NUMBER:
        if ((forms[f].meaning != INTEGER && forms[f].meaning != DECIMAL) ||
            (float)strtod(is, NULL) != (float)forms[f].number) {
            fail_form(k, forms[f].form, is);
        }
        break;
    case SWITCH:
        if (forms[f].meaning != TRUTH || strcmp(is, forms[f].number > 0 ? "true" : "false") != 0) {
            fail_form(k, forms[f].form, is);
        }
        break;
    }
}

static void every_form_at_every_key(void **state) {
    (void)state;
    size_t taken = 0, refused = 0;
    for (size_t i = 0; i < ALL_KEYS; i++) {
        for (size_t f = 0; f < FORMS; f++) {
            char path[64], start[80];
            unsigned line = 0;
            path_of(&all_keys[i], path, sizeof path);
            size_t length = compose(text, &(change){path, forms[f].form}, 1, &line);
            experiment e;
            if (!parse_text(text, length, &e)) {
                assert_means(&e, &all_keys[i], f);
                taken++;
                continue;
            }
            refused++;
            unsigned told = 0;
            if (sscanf(err_text(), "some.yaml:%u: key %79s", &told, start) != 2) {
                fail_form(&all_keys[i], forms[f].form, err_text());
            }
            bool is_number = forms[f].meaning == INTEGER || forms[f].meaning == DECIMAL;
            bool may_rule = all_keys[i].type == TEXT ||
                            (is_number && (all_keys[i].type == COUNT || all_keys[i].type == NUMBER)) ||
                            (forms[f].meaning == TRUTH && all_keys[i].type == SWITCH);
            if (!may_rule) { /* else a rule between keys may name another one */
                assert_refused_at(line, path);
            }
        }
    }
    print_message("%zu forms at keys taken, %zu refused\n", taken, refused);
    assert_true(taken > 250 && refused > 2000);
}

/* A name that would be another thing without quotes keeps them in the resolved copy. */
static void texts_come_back(void **state) {
    (void)state;
    for (size_t f = 0; f < FORMS; f++) {
        experiment e, again;
        size_t length;
        must_parse(NULL, 0, &e);
        const char *form = forms[f].words ? forms[f].words : forms[f].form;
        if (!form[0]) {
            continue;
        }
        snprintf(e.name, sizeof e.name, "%s", form);
        snprintf(e.title, sizeof e.title, "%s", form);
        assert_int_equal(experiment_serialize(&e, resolved, &length), ERR_OK);
        if (parse_text(resolved, length, &again)) {
            fail_msg("%s\n%.*s", err_text(), (int)length, resolved);
        }
        assert_string_equal(again.name, e.name);
        assert_string_equal(again.title, e.title);
    }
}

/* Anchors, aliases, tags and zero bytes, before and in every value and every key. */
static void marks_at_every_key(void **state) {
    (void)state;
    static const struct {
        const char *mark, *what;
    } marks[] = {{"&a ", "an anchor (&)"}, {"!!str ", "a tag (!)"}, {"! ", "a tag (!)"},
                 {"!<x> ", "a tag (!)"},   {"!!int ", "a tag (!)"}, {"*a", "an alias (*)"}};
    for (size_t i = 0; i < ALL_KEYS; i++) {
        const experiment_key *k = &all_keys[i];
        char path[64], value[160], wanted[128];
        path_of(k, path, sizeof path);
        for (size_t m = 0; m < sizeof marks / sizeof marks[0]; m++) {
            experiment e;
            unsigned line = 0;
            snprintf(value, sizeof value, "%s%s", marks[m].mark, marks[m].mark[0] == '*' ? "" : k->value);
            size_t length = compose(text, &(change){path, value}, 1, &line);
            assert_int_equal(parse_text(text, length, &e), ERR_INPUT);
            snprintf(wanted, sizeof wanted, "%s: %s is not taken", path, marks[m].what);
            assert_refused_at(line, wanted);
        }
        experiment e;
        unsigned line = 0;
        size_t length = compose(text, &(change){path, "\"a\\0b\""}, 1, &line);
        assert_int_equal(parse_text(text, length, &e), ERR_INPUT);
        snprintf(wanted, sizeof wanted, "%s: a zero byte", path);
        assert_refused_at(line, wanted);
        snprintf(value, sizeof value, "%s\n%s\"%s\\0x\": 1", k->value, k->section[0] ? "  " : "", k->key);
        length = compose(text, &(change){path, value}, 1, &line);
        assert_int_equal(parse_text(text, length, &e), ERR_INPUT);
        snprintf(wanted, sizeof wanted, "%s: a zero byte", path);
        assert_refused_at(line + 1, wanted);
    }
}

/* What stands around the keys. NULL: taken, and the same as without. */
static void around_the_keys(void **state) {
    (void)state;
    static const struct {
        const char *before, *behind;
        unsigned line; /* 0: behind the last one */
        const char *refusal;
    } cases[] = {
        {"", "", 0, NULL},
        {"# first\n\n", "# last", 0, NULL},
        {"---\n", "", 0, NULL},
        {"--- # one\n", "...\n", 0, NULL},
        {"%YAML 1.2\n---\n", "...\n# end\n", 0, NULL},
        {"%YAML 1.1\n---\n", "", 0, NULL},
        {"\xef\xbb\xbf", "", 0, NULL},
        {"", "---\n", 0, "a second document is not taken"},
        {"", "---\ntraining:\n  seed: 99\n", 0, "a second document is not taken"},
        {"", "...\n---\n{}\n", 1, "a second document is not taken"},
        {"", "--- ~\n", 0, "a second document is not taken"},
        {"--- {}\n---\n", "", 2, "a second document is not taken"},
        {"", "...\nname: x\n", 1, "did not find expected <document start>"},
        {"%YAML 2.0\n---\n", "", 1, "found incompatible YAML document"},
        {"%TAG ! tag:x,2000:\n---\n", "", 1, "a %TAG directive is not taken"},
        {"%TALK x\n---\n", "", 1, "found unknown directive name"},
        {"&a\n", "", 1, "an anchor (&) is not taken"},
        {"!!map\n", "", 1, "a tag (!) is not taken"},
        {"", "<<: {}\n", 0, "key << is not known"},
        {"", "[a]: b\n", 0, "a key must be a word"},
        {"", "{a: b}: c\n", 0, "a key must be a word"},
        {"", "? [a]\n: b\n", 0, "a key must be a word"},
        {"", "\"name\": again\n", 0, "key name is there twice: on line 1 before"},
        {"", "? title\n: again\n", 0, "key title is there twice: on line 2 before"},
        {"", ": x\n", 0, "did not find expected key"},
        {"", "'': x\n", 0, "key  is not known"},
        {"", "\xff\n", 0, "invalid leading UTF-8 octet"},
    };
    experiment wanted, e;
    must_parse(NULL, 0, &wanted);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static char inner[TEXT_MAX];
        size_t length = compose(inner, NULL, 0, NULL);
        unsigned line = 1;
        for (size_t c = 0; c < length; c++) {
            line += inner[c] == '\n';
        }
        length = (size_t)snprintf(text, TEXT_MAX, "%s%s%s", cases[i].before, inner, cases[i].behind);
        err failed = parse_text(text, length, &e);
        if (!cases[i].refusal) {
            if (failed) {
                fail_msg("'%s…%s': %s", cases[i].before, cases[i].behind, err_text());
            }
            assert_memory_equal(&e, &wanted, sizeof e);
            continue;
        }
        assert_int_equal(failed, ERR_INPUT);
        assert_refused_at(cases[i].before[0] ? cases[i].line : line + cases[i].line, "");
        if (!strstr(err_text(), cases[i].refusal)) {
            fail_msg("'%s' does not say '%s'", err_text(), cases[i].refusal);
        }
    }
}

/* The same text in UTF-16, which YAML knows by its mark: the same values. */
static void other_encodings(void **state) {
    (void)state;
    experiment wanted, e;
    must_parse(NULL, 0, &wanted);
    for (size_t high = 0; high < 2; high++) {
        static char inner[TEXT_MAX], wide[2 * TEXT_MAX];
        size_t length = compose(inner, NULL, 0, NULL);
        memset(wide, 0, sizeof wide);
        memcpy(wide, high ? "\xfe\xff" : "\xff\xfe", 2);
        for (size_t i = 0; i < length; i++) {
            wide[2 + 2 * i + high] = inner[i];
        }
        if (parse_text(wide, 2 + 2 * length, &e)) {
            fail_msg("%s", err_text());
        }
        assert_memory_equal(&e, &wanted, sizeof e);
    }
}

static void files_that_are_none(void **state) {
    (void)state;
    experiment e;
    assert_int_equal(experiment_load(in_folder("absent.yaml"), &e), ERR_NOT_FOUND);
    assert_told("absent.yaml", "cannot open");
    assert_int_equal(file_make_folders(in_folder("folder.yaml")), ERR_OK);
    assert_int_equal(experiment_load(in_folder("folder.yaml"), &e), ERR_INPUT);
    assert_told("folder.yaml", "not a regular file");
    put("whole.yaml", text, compose(text, &(change){"encoder.bits", "65"}, 1, NULL));
    assert_int_equal(experiment_load(in_folder("whole.yaml"), &e), ERR_INPUT);
    assert_told("whole.yaml:23: key encoder.bits", "must be from 1 to 64");
}

static void huge_files(void **state) {
    (void)state;
    static char huge[TEXT_MAX + 1];
    experiment e;
    size_t length = compose(text, NULL, 0, NULL);
    memset(huge, '#', sizeof huge);
    memcpy(huge, text, length);
    put("large.yaml", huge, TEXT_MAX);
    assert_int_equal(experiment_load(in_folder("large.yaml"), &e), ERR_OK);
    put("huge.yaml", huge, TEXT_MAX + 1);
    assert_int_equal(experiment_load(in_folder("huge.yaml"), &e), ERR_INPUT);
    assert_told("huge.yaml", "more than the 65536 allowed");
    put("huge.yaml", "", 0);
    assert_int_equal(truncate(in_folder("huge.yaml"), (off_t)1 << 40), 0);
    assert_int_equal(experiment_load(in_folder("huge.yaml"), &e), ERR_INPUT);
    assert_told("huge.yaml", "more than the 65536 allowed");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_at_every_key),
        cmocka_unit_test(texts_come_back),
        cmocka_unit_test(marks_at_every_key),
        cmocka_unit_test(around_the_keys),
        cmocka_unit_test(other_encodings),
        IN_FOLDER(files_that_are_none),
        IN_FOLDER(huge_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
