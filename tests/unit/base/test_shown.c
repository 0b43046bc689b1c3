/* What the other side can bring to a log or a terminal: which texts are plain, how addresses are written, and how many
 * lines of a kind are. */
#include "base/address.h"
#include "base/json_writer.h"
#include "base/log_limit.h"
#include "base/utf8.h"
#include "tests/lib/child.h"
#include "tests/lib/folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* As RFC 3629 has it, of any code point, also such that are none. */
static size_t encode(uint32_t point, char to[5]) {
    size_t length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length; i-- > 1;) {
        to[i] = (char)(0x80 | (point & 63));
        point >>= 6;
    }
    to[0] = (char)(first[length] | point);
    to[length] = '\0';
    return length;
}

static void every_code_point_is_told(void **state) {
    (void)state;
    for (uint32_t point = 1; point < 0x120000; point++) {
        char text[5];
        uint32_t seen;
        size_t length = encode(point, text);
        bool is_none = (point >= 0xd800 && point < 0xe000) || point > 0x10ffff;
        assert_int_equal(utf8_take(text, &seen), is_none ? 0 : length);
        assert_true(is_none || seen == point);
        bool is_control = point < 0x20 || (point >= 0x7f && point <= 0x9f) || point == 0x2028 || point == 0x2029 ||
                          (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
        assert_int_equal(utf8_is_plain(text), !is_none && !is_control);
        text[length - 1] = '\0'; /* cut */
        assert_int_equal(utf8_is_plain(text), length == 1);
    }
    assert_false(utf8_is_plain("\xc0\x80"));     /* two bytes for a zero */
    assert_false(utf8_is_plain("\xe0\x80\xaf")); /* three for a slash */
    assert_false(utf8_is_plain("a\x80"));
    assert_true(utf8_is_plain("north \xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"));
}

/* Whatever three bytes there are. */
static void what_is_made_plain_is_plain(void **state) {
    (void)state;
    for (uint32_t bytes = 0; bytes < 1 << 24; bytes++) {
        char text[4] = {(char)(bytes >> 16), (char)(bytes >> 8), (char)bytes, 0}, was[4];
        memcpy(was, text, sizeof was);
        utf8_make_plain(text);
        assert_true(strlen(text) <= strlen(was) && utf8_is_plain(text));
        assert_true(!utf8_is_plain(was) || strcmp(text, was) == 0);
    }
}

static const char evil[] = "a\x1b[31m\x9b\xc2\x9b\r\n\xe2\x80\xae"
                           "gnp\xe2\x81\xa7\xc3\xbc";
static const char tame[] = "a [31m??  ?gnp?\xc3\xbc";

/* What a line of the log is, as text or as JSON. */
static void read_line(const char *format, char line[512]) {
    int ends[2], standard = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    log_choose_format(format);
    log_info("%s", evil);
    dup2(standard, STDERR_FILENO);
    close(standard);
    close(ends[1]);
    ssize_t length = read(ends[0], line, 511);
    close(ends[0]);
    assert_true(length > 0);
    line[length] = '\0';
}

static void all_lines_are_plain(void **state) {
    (void)state;
    char line[512];
    static const char *const formats[] = {"text", "json"};
    for (size_t i = 0; i < 2; i++) {
        read_line(formats[i], line);
        assert_non_null(strstr(line, tame));
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    }
    err_fail(ERR_INPUT, "%s", evil);
    assert_string_equal(err_text(), tame);
    err_prefix(ERR_INPUT, "%s", evil);
    snprintf(line, sizeof line, "%s: %s", tame, tame);
    assert_string_equal(err_text(), line);
}

static void json_keeps_it_escaped(void **state) {
    (void)state;
    dynbuf t = dynbuf_make(1024);
    json_writer w = json_writer_make(&t);
    json_writer_string(&w, NULL, evil);
    assert_string_equal(t.bytes, "\"a\\u001b[31m?\\u009b\\u000d\\u000a\\u202egnp\\u2067\xc3\xbc\"");
    dynbuf_free(&t);
}

static void addresses_are_written_as_they_are_read(void **state) {
    (void)state;
    char to[ADDRESS_TEXT_MAX], host[256];
    assert_string_equal(address_text(to, "127.0.0.1", 7000), "127.0.0.1:7000");
    assert_string_equal(address_text(to, "::1", 7000), "[::1]:7000");
    assert_string_equal(address_text(to, "fe80::1%eth0", 65535), "[fe80::1%eth0]:65535");
    assert_string_equal(address_text(to, "a.example", 0), "a.example:0");
    memset(host, 'h', 255);
    host[255] = '\0';
    assert_int_equal(strlen(address_text(to, host, 65535)), 261);
}

enum { FLOOD = 50000 };

/* A child's standard error. */
static FILE *lines_of(void (*child)(void)) {
    char path[FILE_PATH_MAX];
    snprintf(path, sizeof path, "%s", in_folder("log"));
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(to, STDERR_FILENO);
        log_choose_format("text");
        log_choose_level("info");
        child();
        exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    FILE *from = fopen(path, "r");
    assert_non_null(from);
    return from;
}

static void flood(void) {
    for (uint64_t i = 0; i < FLOOD; i++) {
        for (uint64_t about = 0; about < 3; about++) {
            log_limited(LOG_WARN, "one", about, "one of %d: %d", (int)about, (int)i);
        }
        log_limited(LOG_ERROR, "another", 1, "another of %d", 1);
        log_limited(LOG_DEBUG, "not_wanted", 1, "not wanted");
    }
}

/* Each kind from each is bounded by itself, and no line is lost without being counted. */
static void a_flood_of_lines_is_few_and_counted(void **state) {
    (void)state;
    char line[1200];
    unsigned long told[4] = {0}, counted[4] = {0}, count, lines = 0;
    FILE *from = lines_of(flood);
    while (fgets(line, sizeof line, from)) {
        const char *text = line + strlen("12:34:56.789 error ");
        const char *more = strstr(text, " more lines like this: ");
        const char *said = more ? more + strlen(" more lines like this: ") : text;
        unsigned kind = strncmp(said, "another", 7) == 0 ? 3 : (unsigned)(said[7] - '0');
        assert_true(kind < 4);
        told[kind] += !more;
        counted[kind] += more && sscanf(text, "%lu", &count) == 1 ? count : 0;
        lines++;
    }
    fclose(from);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(told[i] + counted[i], FLOOD);
        assert_true(told[i] >= LOG_LIMIT_BURST);
    }
    assert_true(lines < 4 * (LOG_LIMIT_BURST + 60)); /* it takes seconds at most */
}

static void many_kinds(void) {
    for (uint64_t i = 0; i < FLOOD; i++) {
        log_limited(LOG_WARN, "many", i % 5000, "one of many");
    }
}

/* More kinds than have room: still bounded. */
static void a_flood_of_kinds_is_few_too(void **state) {
    (void)state;
    char line[1200];
    unsigned long lines = 0;
    FILE *from = lines_of(many_kinds);
    while (fgets(line, sizeof line, from)) {
        lines++;
    }
    fclose(from);
    assert_true(lines >= LOG_LIMIT_BURST && lines < 256 * (LOG_LIMIT_BURST + 60));
}

static void what_is_written_elsewhere_is_limited_too(void **state) {
    (void)state;
    unsigned allowed = 0;
    for (unsigned i = 0; i < FLOOD; i++) {
        allowed += log_limit_allows(7, "elsewhere");
    }
    assert_true(allowed >= LOG_LIMIT_BURST && allowed < LOG_LIMIT_BURST + 60);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_is_told),
        cmocka_unit_test(what_is_made_plain_is_plain),
        cmocka_unit_test(all_lines_are_plain),
        cmocka_unit_test(json_keeps_it_escaped),
        cmocka_unit_test(addresses_are_written_as_they_are_read),
        cmocka_unit_test_setup_teardown(a_flood_of_lines_is_few_and_counted, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_flood_of_kinds_is_few_too, make_folder, remove_folder),
        cmocka_unit_test(what_is_written_elsewhere_is_limited_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
