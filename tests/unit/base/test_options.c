/* Command lines and log lines: what people type, and what they read. */
#include "base/log.h"
#include "base/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <argp.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/wait.h>

enum { CHILD_SECONDS = 10, ARGUMENTS_MAX = 8 };

typedef struct settings {
    const char *name;
    int64_t size;
    bool flag;
    char first; /* of --letter */
} settings;

static err take_letter(const char *text, void *to, const options_entry *entry) {
    (void)entry;
    *(char *)to = text ? text[0] : 'z';
    return !text || text[1] == '\0' ? ERR_OK : err_fail(ERR_USAGE, "'%s' is no letter", text);
}

static const options_entry entries[] = {
    {OPTIONS_TEXT(settings, name, "name", "NAME", "a name")},
    {OPTIONS_NUMBER(settings, size, "batch-size", "N", 1, 100, "a number from 1 to 100"), .preset = "5"},
    {OPTIONS_FLAG(settings, flag, "flag", "a flag")},
    {OPTIONS_PARSED(settings, first, "letter", "X", take_letter, "a letter"), .may_lack_value = true},
    {0},
};

static const options_command any_arguments = {
    .arguments = "WORD...", .most = ARGUMENTS_MAX, .summary = "A test.", .entries = entries};

/* `line` is cut at its spaces; the arguments are left in `rest`. */
static char rest[64];

static err parse_as(const options_command *command, const char *line, settings *s) {
    static char copy[256];
    char *argv[ARGUMENTS_MAX + 1] = {NULL};
    int argc = 0;
    options_arguments arguments;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word && argc < ARGUMENTS_MAX; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    *s = (settings){.size = -1};
    err e = options_parse(command, argc, argv, s, &arguments);
    rest[0] = '\0';
    for (int i = 0; i < arguments.count; i++) {
        snprintf(rest + strlen(rest), sizeof rest - strlen(rest), "<%s>", arguments.list[i]);
    }
    return e;
}

static err parse(const char *line, settings *s) {
    return parse_as(&any_arguments, line, s);
}

static int forget_environment(void **state) {
    (void)state;
    unsetenv("FEWBIT_NAME");
    unsetenv("FEWBIT_BATCH_SIZE");
    unsetenv("FEWBIT_FLAG");
    unsetenv("FEWBIT_LETTER");
    return 0;
}

static void assert_told(const char *reason) {
    if (!strstr(err_text(), reason)) {
        fail_msg("'%s' does not tell '%s'", err_text(), reason);
    }
}

static void options_are_taken_from_the_command_line(void **state) {
    (void)state;
    settings s;
    assert_int_equal(parse("program --batch-size 7 one --name=x --flag two", &s), ERR_OK);
    assert_string_equal(s.name, "x");
    assert_int_equal(s.size, 7);
    assert_true(s.flag);
    assert_string_equal(rest, "<one><two>");
    assert_int_equal(parse("program", &s), ERR_OK);
    assert_null(s.name);
    assert_int_equal(s.size, 5); /* the preset */
    assert_int_equal(s.first, 0);
    assert_false(s.flag);
}

static void options_are_taken_from_the_environment(void **state) {
    (void)state;
    settings s;
    setenv("FEWBIT_NAME", "from outside", 1);
    setenv("FEWBIT_BATCH_SIZE", "9", 1);
    assert_int_equal(parse("program", &s), ERR_OK);
    assert_string_equal(s.name, "from outside");
    assert_int_equal(s.size, 9);
    assert_int_equal(parse("program --batch-size 8", &s), ERR_OK); /* the command line wins */
    assert_string_equal(s.name, "from outside");
    assert_int_equal(s.size, 8);
}

static void options_take_flags_from_the_environment(void **state) {
    (void)state;
    static const struct {
        const char *value;
        bool flag;
    } cases[] = {{"1", true}, {"yes", true}, {"true", true}, {"0", false}, {"no", false}, {"", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        settings s;
        setenv("FEWBIT_FLAG", cases[i].value, 1);
        assert_int_equal(parse("program", &s), ERR_OK);
        assert_int_equal(s.flag, cases[i].flag);
    }
}

static void options_name_what_is_wrong(void **state) {
    (void)state;
    settings s;
    assert_int_equal(parse("program --batch-size 101", &s), ERR_USAGE);
    assert_string_equal(err_text(), "--batch-size is '101', not a whole number from 1 to 100");
    setenv("FEWBIT_BATCH_SIZE", "many", 1);
    assert_int_equal(parse("program --batch-size 8", &s), ERR_USAGE);
    assert_string_equal(
        err_text(), "FEWBIT_BATCH_SIZE in the environment: --batch-size is 'many', not a whole number from 1 to 100");
}

static void options_may_lack_their_value(void **state) {
    (void)state;
    settings s;
    assert_int_equal(parse("program --letter", &s), ERR_OK);
    assert_int_equal(s.first, 'z');
    assert_int_equal(parse("program --letter=q", &s), ERR_OK);
    assert_int_equal(s.first, 'q');
    assert_int_equal(parse("program --letter=qq", &s), ERR_USAGE);
    assert_string_equal(err_text(), "--letter: 'qq' is no letter");
}

static void options_that_must_be_there_are_missed(void **state) {
    (void)state;
    static const options_entry required[] = {
        {OPTIONS_TEXT(settings, name, "name", "NAME", "a name"), .is_required = true},
        {0},
    };
    const options_command one = {.arguments = "FILE", .least = 1, .most = 1, .summary = "A test.", .entries = required};
    settings s;
    assert_int_equal(parse_as(&one, "program file", &s), ERR_USAGE);
    assert_string_equal(err_text(), "--name is missing (see --help)");
    assert_int_equal(parse_as(&one, "program --name x", &s), ERR_USAGE);
    assert_string_equal(err_text(), "FILE is missing (see --help)");
    assert_int_equal(parse_as(&one, "program --name x one two", &s), ERR_USAGE);
    assert_told("'two' is too much");
    setenv("FEWBIT_NAME", "", 1);
    assert_int_equal(parse_as(&one, "program one", &s), ERR_OK);
    assert_string_equal(rest, "<one>");
}

static void commands_are_chosen_by_their_words(void **state) {
    (void)state;
    static const options_subcommand list[] = {{{"data", "get"}, "", NULL}, {{"status"}, "", NULL}, {{0}, 0, 0}};
    const options_subcommand *chosen = NULL;
    char *words[] = {(char[]){"program"}, (char[]){"data"}, (char[]){"get"}, (char[]){"mnist"}, NULL};
    int argc = 4;
    char **argv = words;
    assert_int_equal(options_choose("program", list, &argc, &argv, &chosen), ERR_OK);
    assert_ptr_equal(chosen, &list[0]);
    assert_int_equal(argc, 2);
    assert_string_equal(argv[0], "program data get");
    assert_string_equal(argv[1], "mnist");
    char *others[] = {(char[]){"program"}, (char[]){"get"}, (char[]){"get"}, NULL};
    argc = 3;
    argv = others;
    assert_int_equal(options_choose("program", list, &argc, &argv, &chosen), ERR_USAGE);
    assert_told("'get get' is no command");
}

/* What a program shows for `line`: its exit status, and its first bytes of output. */
static int shown(const char *line, char *text, size_t size) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(CHILD_SECONDS);
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        argp_err_exit_status = 2; /* as every program of ours sets it */
        settings s;
        exit(err_exit_code(parse(line, &s)));
    }
    assert_true(child > 0);
    close(ends[1]);
    size_t length = 0;
    for (ssize_t got = 1; got > 0 && length < size - 1; length += (size_t)got) {
        got = read(ends[0], text + length, size - 1 - length);
        assert_true(got >= 0);
    }
    text[length] = '\0';
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void options_end_the_program_as_promised(void **state) {
    (void)state;
    char text[4096];
    assert_int_equal(shown("program --help", text, sizeof text), 0);
    assert_non_null(strstr(text, "--batch-size=N"));
    assert_int_equal(shown("program --unheard-of", text, sizeof text), 2);
    assert_non_null(strstr(text, "--unheard-of"));
    assert_int_equal(shown("program --name", text, sizeof text), 2);
    assert_non_null(strstr(text, "--name"));
    assert_int_equal(shown("program --batch-size=0", text, sizeof text), 2);
}

static void numbers_are_whole_and_in_range(void **state) {
    (void)state;
    int64_t value = 0;
    assert_int_equal(options_number("-5", "n", -5, 5, &value), ERR_OK);
    assert_int_equal(value, -5);
    assert_int_equal(options_number("9223372036854775807", "n", 0, INT64_MAX, &value), ERR_OK);
    assert_true(value == INT64_MAX);
    static const char *const wrong[] = {"",    "-6",  "6", "1x", "0x1", "1.0", "one", "1 ", "9223372036854775808",
                                        "1e1", "--1", "-"};
    assert_int_equal(options_number("9223372036854775808", "n", 0, INT64_MAX, &value), ERR_USAGE);
    assert_int_equal(options_number("-9223372036854775809", "n", INT64_MIN, 0, &value), ERR_USAGE);
    value = 77;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(options_number(wrong[i], "the size", -5, 5, &value), ERR_USAGE);
        assert_told("the size is '");
        assert_told("from -5 to 5");
        assert_int_equal(value, 77);
    }
}

static void addresses_are_parted(void **state) {
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port;
    } cases[] = {
        {"localhost:7000", "localhost", 7000},
        {"192.0.2.1:65535", "192.0.2.1", 65535},
        {"host.example:0", "host.example", 0},
        {":80", "0.0.0.0", 80},
        {"[::1]:7000", "::1", 7000},
        {"[2001:db8::7]:1", "2001:db8::7", 1},
        {"[::]:7000", "::", 7000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        address a = {.port = 1};
        assert_int_equal(options_take_address(cases[i].text, &a, NULL), ERR_OK);
        assert_string_equal(a.host, cases[i].host);
        assert_int_equal(a.port, cases[i].port);
    }
}

static void addresses_that_are_none_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"localhost",  "7000",       "",      "host:", "host:65536", "host:-1",
                                        "host:7000x", "host:seven", "[::1]", "[::1",  "[::1]7000",  "::1:7000"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        address a;
        assert_int_equal(options_take_address(wrong[i], &a, NULL), ERR_USAGE);
        assert_told(wrong[i]);
    }
    address a;
    char text[sizeof a.host + 3];
    memset(text, 'x', sizeof text);
    strcpy(text + sizeof a.host - 1, ":1");
    assert_int_equal(options_take_address(text, &a, NULL), ERR_OK); /* fits to the byte */
    assert_int_equal(strlen(a.host), sizeof a.host - 1);
    strcpy(text + sizeof a.host - 1, "x:1");
    assert_int_equal(options_take_address(text, &a, NULL), ERR_USAGE);
}

static void log_levels_are_named(void **state) {
    (void)state;
    static const char *const names[] = {"debug", "info", "warn", "error", "none"};
    for (int i = LOG_DEBUG; i <= LOG_NONE; i++) {
        assert_int_equal(log_choose_level(names[i]), ERR_OK);
        assert_true(log_wants((log_level)i));
        assert_true(i == LOG_DEBUG || !log_wants((log_level)(i - 1)));
    }
    assert_int_equal(log_choose_level("loud"), ERR_USAGE);
    log_choose_level("info");
    assert_told("'loud'");
    assert_int_equal(log_choose_format("json"), ERR_OK);
    assert_true(log_is_json());
    assert_int_equal(log_choose_format("text"), ERR_OK);
    assert_false(log_is_json());
    assert_int_equal(log_choose_format("auto"), ERR_OK);
    assert_int_equal(log_is_json(), !isatty(STDERR_FILENO));
    assert_int_equal(log_choose_format("xml"), ERR_USAGE);
    assert_told("'xml'");
}

/* What `body` writes on standard error, in `text`; its length. */
static size_t written_by(void (*body)(void), char *text, size_t size) {
    int ends[2], kept = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_true(kept >= 0 && dup2(ends[1], STDERR_FILENO) >= 0);
    body();
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[1]);
    ssize_t length = read(ends[0], text, size - 1);
    close(ends[0]);
    assert_true(length >= 0);
    text[length] = '\0';
    return (size_t)length;
}

static void write_lines(void) {
    char large[3000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    log_choose_level("warn");
    log_info("not written");
    log_warn("%d of %d%s", 3, 4, "\n\x1b\x7f"); /* what a peer said stays one line */
    log_error("%s", large);
    log_choose_level("info");
}

static void log_lines_are_whole(void **state) {
    (void)state;
    char text[4096];
    log_choose_format("text");
    size_t length = written_by(write_lines, text, sizeof text);
    static const char expected[] = " warn  3 of 4   \n";
    char *behind_time = text + strlen("12:34:56.789");
    assert_memory_equal(behind_time, expected, sizeof expected - 1);
    assert_true(text[2] == ':' && text[5] == ':' && text[8] == '.');
    char *second = behind_time + sizeof expected - 1;
    assert_non_null(strstr(second, " error xxx"));
    assert_ptr_equal(strchr(second, '\n'), text + length - 1);
}

static void fail_plainly(void) {
    err_fail(ERR_INPUT, "some \"file\"");
    log_failure();
}

/* Quotes, control characters, UTF-8 of every length and whatever is none. */
static void write_strange_lines(void) {
    log_info("a \"b\" \\ c\td");
    log_info("%s", "\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80");
    log_info("%s", "\x80 \xc0\xaf \xe0\x80\x80 \xed\xa0\x80 \xf4\x90\x80\x80 \xf5 \xe2\x82");
    log_event(LOG_INFO, "something", "it is so");
    log_event_with(LOG_WARN, "more", "\"portion\":3", "and so");
    fail_plainly();
    write_lines();
}

static void log_lines_are_json(void **state) {
    (void)state;
    static const struct {
        const char *level, *event, *message; /* message NULL: the large one */
        json_int_t portion;
    } expected[] = {
        {"info", NULL, "a \"b\" \\ c d", 0},
        {"info", NULL, "\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80", 0},
        {"info", NULL, "? ?? ??? ??? ???? ? ??", 0},
        {"info", "something", "it is so", 0},
        {"warn", "more", "and so", 3},
        {"error", "failed", "some \"file\"", 0},
        {"warn", NULL, "3 of 4   ", 0},
        {"error", NULL, NULL, 0},
    };
    char text[8192];
    log_choose_format("auto"); /* a pipe is no terminal */
    written_by(write_strange_lines, text, sizeof text);
    char *line = text;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        json_t *j = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(j);
        assert_string_equal(json_string_value(json_object_get(j, "level")), expected[i].level);
        assert_string_equal(json_string_value(json_object_get(j, "program")), "test_options");
        assert_int_equal(strlen(json_string_value(json_object_get(j, "time"))), strlen("2026-01-31T12:34:56.789Z"));
        const char *message = json_string_value(json_object_get(j, "message"));
        const char *event = json_string_value(json_object_get(j, "event"));
        assert_true(event && expected[i].event ? strcmp(event, expected[i].event) == 0 : event == expected[i].event);
        assert_int_equal(json_integer_value(json_object_get(j, "portion")), expected[i].portion);
        if (expected[i].message) {
            assert_string_equal(message, expected[i].message);
        } else {
            assert_true(strlen(message) > 900 && strspn(message, "x") == strlen(message));
        }
        json_decref(j);
        line = end + 1;
    }
    assert_string_equal(line, "");
}

/* A program that fails before it logged anything says so to a person. */
static void log_failure_may_be_plain(void **state) {
    (void)state;
    char text[256];
    written_by(fail_plainly, text, sizeof text);
    assert_string_equal(text, "test_options: some \"file\"\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(options_are_taken_from_the_command_line, forget_environment),
        cmocka_unit_test_setup(options_are_taken_from_the_environment, forget_environment),
        cmocka_unit_test_setup(options_take_flags_from_the_environment, forget_environment),
        cmocka_unit_test_setup(options_name_what_is_wrong, forget_environment),
        cmocka_unit_test_setup(options_may_lack_their_value, forget_environment),
        cmocka_unit_test_setup(options_that_must_be_there_are_missed, forget_environment),
        cmocka_unit_test(commands_are_chosen_by_their_words),
        cmocka_unit_test_setup(options_end_the_program_as_promised, forget_environment),
        cmocka_unit_test(numbers_are_whole_and_in_range),
        cmocka_unit_test(addresses_are_parted),
        cmocka_unit_test(addresses_that_are_none_are_refused),
        cmocka_unit_test(log_levels_are_named),
        cmocka_unit_test(log_failure_may_be_plain), /* before any line of JSON */
        cmocka_unit_test(log_lines_are_whole),
        cmocka_unit_test(log_lines_are_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
