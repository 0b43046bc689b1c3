/* Result lines, as they stand in the file. */
#include "decoder_server/serve/results.h"

#include "base/log.h"
#include "base/process.h"
#include "tests/lib/child.h"
#include "tests/lib/folder.h"

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PORTIONS = 3, BITS = 5, LINES_MAX = 64 };

static const uint8_t code_bits[64] = {5, 5, 5, 5};

static const uint64_t codes[PORTIONS] = {0x16, 0, 0x1F};
static char lines[LINES_MAX][512];

static err try_to_open(results **r, const char *path) {
    static class_names classes;
    const dataset *set;
    assert_int_equal(dataset_find("cifar10", &set), ERR_OK);
    class_names_of(&classes, set);
    return results_open(r, path, &classes, PORTIONS);
}

static results *open_in(const char *path) {
    results *r = NULL;
    assert_int_equal(try_to_open(&r, path), ERR_OK);
    return r;
}

static size_t read_lines(const char *path) {
    FILE *file = fopen(path, "r");
    size_t count = 0;
    assert_non_null(file);
    while (count < LINES_MAX && fgets(lines[count], sizeof lines[count], file)) {
        count++;
    }
    fclose(file);
    return count;
}

static void a_line_says_all(void **state) {
    (void)state;
    const char *path = in_folder("results.jsonl");
    results *r = open_in(path);
    assembler_sample sample = {.id = 17, .have = 7, .codes = codes};
    results_write(r, &(results_line){&sample, "stream", code_bits, 0, 3, 0.998714f, false, 1.2344});
    sample = (assembler_sample){.id = UINT64_MAX, .have = 5, .codes = codes};
    results_write(r, &(results_line){&sample, "http", code_bits, 0, 0, 1.0f, true, 123456.78951});
    sample = (assembler_sample){.id = 0, .have = 2, .codes = codes};
    results_write(r, &(results_line){&sample, "http", code_bits, 0, 9, 0.1f, true, 0});
    results_write(r, &(results_line){&sample, "stream", code_bits, 0, 9, NAN, true, 0.0004});
    assert_int_equal(read_lines(path), 0); /* not yet */
    results_flush(r);
    assert_int_equal(read_lines(path), 4);
    assert_string_equal(lines[0],
                        "{\"id\":17,\"from\":\"stream\",\"class\":3,\"label\":\"cat\",\"probability\":0.998714,"
                        "\"bits\":[\"01101\",\"00000\",\"11111\"],\"degraded\":false,\"ms\":1.234}\n");
    assert_string_equal(lines[1], "{\"id\":18446744073709551615,\"from\":\"http\",\"class\":0,\"label\":\"airplane\","
                                  "\"probability\":1.000000,\"bits\":[\"01101\",null,\"11111\"],\"degraded\":true,"
                                  "\"ms\":123456.790}\n");
    assert_string_equal(lines[2],
                        "{\"id\":0,\"from\":\"http\",\"class\":9,\"label\":\"truck\",\"probability\":0.100000,"
                        "\"bits\":[null,\"00000\",null],\"degraded\":true,\"ms\":0.000}\n");
    assert_non_null(strstr(lines[3], "\"probability\":null"));
    results_close(r);
}

/* A file is appended to, and what was written is there once it is closed. */
static void a_file_grows(void **state) {
    (void)state;
    const char *path = in_folder("results.jsonl");
    assembler_sample sample = {.have = 7, .codes = codes};
    for (size_t round = 1; round <= 3; round++) {
        results *r = open_in(path);
        results_write(r, &(results_line){&sample, "stream", code_bits, 0, 0, 0.5f, false, 1});
        results_close(r);
        assert_int_equal(read_lines(path), round);
    }
}

/* More than the buffer holds, without a flush in between. */
static void no_line_is_lost(void **state) {
    (void)state;
    enum { MANY = 20000 };
    const char *path = in_folder("results.jsonl");
    results *r = open_in(path);
    for (uint64_t id = 0; id < MANY; id++) {
        assembler_sample sample = {.id = id, .have = 7, .codes = codes};
        results_write(r, &(results_line){&sample, "stream", code_bits, 0, 0, 0.5f, false, 1});
    }
    results_close(r);
    FILE *file = fopen(path, "r");
    for (uint64_t id = 0; id < MANY; id++) {
        assert_non_null(fgets(lines[0], sizeof lines[0], file));
        json_t *line = json_loads(lines[0], JSON_REJECT_DUPLICATES, NULL);
        assert_int_equal(json_integer_value(json_object_get(line, "id")), id);
        json_decref(line);
    }
    assert_null(fgets(lines[0], sizeof lines[0], file));
    fclose(file);
}

static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A disk that fills up loses lines; those that come when there is room again are whole. */
static void a_full_disk_spoils_no_later_line(void **state) {
    (void)state;
    const char *path = in_folder("results.jsonl");
    results *r = open_in(path);
    assembler_sample sample = {.have = 7, .codes = codes};
    const results_line one = {&sample, "stream", code_bits, 0, 0, 0.5f, false, 1};
    signal(SIGXFSZ, SIG_IGN);
    results_write(r, &one);
    results_flush(r);
    limit_files(strlen(lines[0]) + 300); /* some bytes more, to the middle of a line */
    for (int i = 0; i < 5; i++) {
        results_write(r, &one);
        results_flush(r);
    }
    limit_files(RLIM_INFINITY);
    size_t before = read_lines(path);
    assert_non_null(strchr(lines[before - 1], '\n'));
    assert_int_equal(before + results_lost(r), 6);
    results_write(r, &one);
    results_write(r, &one);
    results_close(r);
    assert_int_equal(read_lines(path), before + 2);
    assert_string_equal(lines[before], lines[0]);
    assert_string_equal(lines[before + 1], lines[0]);
}

/* Whatever is left of a last line, of any length, is cut off; nothing else is. */
static void half_a_line_is_cut_off(void **state) {
    (void)state;
    static const char whole[] = "{\"id\":1}\n{\"id\":2}\n";
    static char text[sizeof whole + 10000];
    static const size_t halves[] = {0, 1, 2, 100, 4095, 4096, 4097, 8192, 10000};
    for (int begins = 0; begins < 2; begins++) {
        for (size_t i = 0; i < sizeof halves / sizeof halves[0]; i++) {
            size_t length = begins ? strlen(whole) : 0;
            memcpy(text, whole, length);
            memset(text + length, 'x', halves[i]);
            text[length] = '{';
            put("results.jsonl", text, length + halves[i]);
            results *r = open_in(in_folder("results.jsonl"));
            assembler_sample sample = {.have = 7, .codes = codes};
            results_write(r, &(results_line){&sample, "stream", code_bits, 0, 0, 0.5f, false, 1});
            results_close(r);
            assert_int_equal(read_lines(in_folder("results.jsonl")), begins ? 3 : 1);
            assert_memory_equal(lines[begins ? 2 : 0], "{\"id\":0,", 8);
        }
    }
}

/* A file of another kind, named by mistake, is refused and stays as it is. */
static void nothing_is_cut_off_another_file(void **state) {
    (void)state;
    static const char other[] = "x\n\x89PNG\r\n and then no more";
    results *r;
    put("results.jsonl", other, strlen(other));
    assert_int_equal(try_to_open(&r, in_folder("results.jsonl")), ERR_INPUT);
    assert_non_null(strstr(err_text(), "ends in something else than lines of JSON"));
    assert_int_equal(read_lines(in_folder("results.jsonl")), 3);
}

/* A named pipe that nobody reads is waited for until the process is asked to stop. */
static int open_a_pipe_without_reader(void) {
    results *r;
    if (process_start() || mkfifo(in_folder("pipe"), 0600) != 0) {
        return 1;
    }
    if (fork() == 0) {
        usleep(200000);
        kill(getppid(), SIGTERM);
        _exit(0);
    }
    return try_to_open(&r, in_folder("pipe")) == ERR_STOPPED ? STATUS_FINE : 2;
}

static void a_stop_ends_the_wait_for_a_reader(void **state) {
    (void)state;
    assert_int_equal(status_of(open_a_pipe_without_reader), STATUS_FINE);
}

/* Of a pipe that nobody reads nothing is waited for once the process is asked to stop. */
static int write_to_a_full_pipe(void) {
    int ends[2];
    if (pipe(ends) != 0 || dup2(ends[1], STDOUT_FILENO) < 0 || process_start()) {
        return 1;
    }
    results *r = open_in("-");
    raise(SIGTERM);
    for (uint64_t id = 0; id < 2000; id++) {
        assembler_sample sample = {.id = id, .have = 7, .codes = codes};
        results_write(r, &(results_line){&sample, "stream", code_bits, 0, 0, 0.5f, false, 1});
    }
    results_flush(r);
    return results_lost(r) > 0 && results_lost(r) < 2000 ? STATUS_FINE : 2;
}

static void a_stop_ends_the_wait_for_a_pipe(void **state) {
    (void)state;
    assert_int_equal(status_of(write_to_a_full_pipe), STATUS_FINE);
}

static void none_is_nothing_and_a_bad_path_is_told(void **state) {
    (void)state;
    results *r = open_in("none");
    assembler_sample sample = {.have = 7, .codes = codes};
    results_write(r, &(results_line){&sample, "stream", code_bits, 0, 0, 0.5f, false, 1});
    results_flush(r);
    results_close(r);
    assert_int_equal(try_to_open(&r, in_folder("no/such/folder")), ERR_IO);
    assert_non_null(strstr(err_text(), "no/such/folder"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_line_says_all),
        IN_FOLDER(a_file_grows),
        IN_FOLDER(no_line_is_lost),
        IN_FOLDER(a_full_disk_spoils_no_later_line),
        IN_FOLDER(half_a_line_is_cut_off),
        IN_FOLDER(nothing_is_cut_off_another_file),
        IN_FOLDER(a_stop_ends_the_wait_for_a_reader),
        cmocka_unit_test(a_stop_ends_the_wait_for_a_pipe),
        IN_FOLDER(none_is_nothing_and_a_bad_path_is_told),
    };
    log_choose_level("none");
    return cmocka_run_group_tests_name("results", tests, NULL, NULL);
}
