/* The bottom layer: errors, arena, byte_reader, sha256, files, random numbers, lanes, log and options. */
#include "base/arena.h"
#include "base/byte_reader.h"
#include "base/file.h"
#include "base/log.h"
#include "base/options.h"
#include "base/rng.h"
#include "base/sha256.h"
#include "base/thread_pool.h"
#include "tests/lib/child.h"
#include "tests/lib/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- errors ---- */

static void err_lines_are_clean_and_bounded(void **state) {
    (void)state;
    assert_int_equal(err_fail(ERR_INPUT, "a%cb%cc\x7f%s", '\n', '\x1b', "ü"), ERR_INPUT);
    assert_string_equal(err_text(), "a b c ü");
    char large[2000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    assert_int_equal(err_fail(ERR_IO, "%s", large), ERR_IO);
    assert_int_equal(strlen(err_text()), 511);
    errno = ENOSPC;
    assert_int_equal(err_system(ERR_IO, "%s", large), ERR_IO);
    assert_told("", "No space left on device");
    assert_true(strlen(err_text()) <= 511);
}

static void err_prefix_puts_a_place_in_front(void **state) {
    (void)state;
    err_fail(ERR_INPUT, "bad shape");
    assert_int_equal(err_prefix(ERR_INPUT, "%s, line %d", "net.yaml", 3), ERR_INPUT);
    assert_string_equal(err_text(), "net.yaml, line 3: bad shape");
    assert_int_equal(err_prefix(ERR_OK, "other"), ERR_OK);
    assert_string_equal(err_text(), "net.yaml, line 3: bad shape");
    assert_int_equal(err_fail(ERR_IO, "again: %s", err_text()), ERR_IO);
    assert_string_equal(err_text(), "again: net.yaml, line 3: bad shape");
}

static void *fail_elsewhere(void *seen) {
    snprintf(seen, 64, "%s", err_text());
    err_fail(ERR_IO, "of the other thread");
    return NULL;
}

static void err_lines_belong_to_their_thread(void **state) {
    (void)state;
    pthread_t thread;
    char seen[64] = "unset";
    err_fail(ERR_INPUT, "of this thread");
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, seen), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(seen, "");
    assert_string_equal(err_text(), "of this thread");
}

static void err_codes_have_exit_codes(void **state) {
    (void)state;
    static const int expected[] = {
        [ERR_OK] = 0,      [ERR_USAGE] = 2, [ERR_INPUT] = 3,  [ERR_NOT_FOUND] = 4, [ERR_IO] = 5,      [ERR_NETWORK] = 6,
        [ERR_REFUSED] = 7, [ERR_FULL] = 1,  [ERR_MEMORY] = 1, [ERR_STOPPED] = 130, [ERR_INTERNAL] = 1};
    for (int code = ERR_OK; code <= ERR_INTERNAL; code++) {
        assert_int_equal(err_exit_code((err)code), expected[code]);
    }
}

/* ---- arena ---- */

static void arena_pieces_are_aligned_and_apart(void **state) {
    (void)state;
    arena a;
    assert_int_equal(arena_init(&a, 1000), ERR_OK);
    assert_true(a.capacity >= 1000);
    unsigned char *end = a.block;
    for (size_t size = 1; size <= 200; size += 33) {
        unsigned char *piece = arena_take(&a, size);
        assert_non_null(piece);
        assert_int_equal((uintptr_t)piece % ARENA_ALIGNMENT, 0);
        assert_true(piece >= end && piece + size <= a.block + a.capacity);
        for (size_t i = 0; i < size; i++) {
            assert_int_equal(piece[i], 0);
        }
        memset(piece, 0xff, size);
        end = piece + size;
    }
    arena_reset(&a);
    assert_ptr_equal(arena_take(&a, 1), a.block);
    arena_free(&a);
    assert_null(a.block);
}

static void arena_refuses_what_does_not_fit(void **state) {
    (void)state;
    arena a;
    assert_int_equal(arena_init(&a, 128), ERR_OK);
    assert_null(arena_take(&a, 129));
    assert_null(arena_take(&a, SIZE_MAX)); /* rounding up must not wrap */
    assert_null(arena_take(&a, SIZE_MAX - 63));
    assert_int_equal(a.used, 0);
    assert_non_null(arena_take(&a, 65));
    assert_null(arena_take(&a, 1));
    arena_free(&a);
    assert_int_equal(arena_init(&a, 0), ERR_OK);
    assert_non_null(arena_take(&a, 1));
    arena_free(&a);
}

static void arena_refuses_a_capacity_that_wraps(void **state) {
    (void)state;
    arena a;
    assert_int_equal(arena_init(&a, SIZE_MAX), ERR_MEMORY);
    arena_free(&a);
}

/* ---- byte_reader ---- */

static void byte_reader_reads_both_byte_orders(void **state) {
    (void)state;
    static const uint8_t bytes[] = {0xfe, 1, 2, 3, 0x84, 1, 2, 3, 0x84, 1, 2, 3, 4, 5, 6, 7, 0x88, 9};
    byte_reader c = byte_reader_over(bytes, sizeof bytes);
    assert_int_equal(byte_reader_u8(&c), 0xfe);
    assert_int_equal(byte_reader_u32_be(&c), 0x01020384);
    assert_int_equal(byte_reader_u32_le(&c), 0x84030201);
    assert_true(byte_reader_u64_le(&c) == 0x8807060504030201u);
    assert_int_equal(byte_reader_left(&c), 1);
    assert_ptr_equal(byte_reader_bytes(&c, 1), bytes + sizeof bytes - 1);
    assert_non_null(byte_reader_bytes(&c, 0));
    assert_false(c.failed);
    uint8_t put[12];
    byte_put_u32_le(put, 0x84030201);
    byte_put_u64_le(put + 4, 0x8807060504030201u);
    assert_memory_equal(put, bytes + 5, sizeof put);
}

static void byte_reader_failures_stick(void **state) {
    (void)state;
    static const uint8_t bytes[] = {1, 2, 3};
    byte_reader c = byte_reader_over(bytes, sizeof bytes);
    assert_int_equal(byte_reader_u32_le(&c), 0);
    assert_true(c.failed);
    assert_int_equal(byte_reader_u8(&c), 0); /* would fit, but comes after the failure */
    assert_null(byte_reader_bytes(&c, 0));
    assert_true(c.failed);
    c = byte_reader_over(bytes, sizeof bytes);
    assert_null(byte_reader_bytes(&c, SIZE_MAX));
    assert_true(c.failed);
    c = byte_reader_over(bytes, 0);
    assert_int_equal(byte_reader_u64_le(&c), 0);
    assert_true(c.failed);
}

/* ---- digest ---- */

static void digest_gives_the_published_values(void **state) {
    (void)state;
    static const struct {
        const char *text, *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t length = strlen(cases[i].text);
        assert_int_equal(sha256_bytes(cases[i].text, length, digest), ERR_OK);
        sha256_hex(digest, hex);
        assert_string_equal(hex, cases[i].hex);
        for (size_t cut = 0; cut <= length; cut++) {
            sha256_state *pieces;
            assert_int_equal(sha256_start(&pieces), ERR_OK);
            assert_int_equal(sha256_add(pieces, cases[i].text, cut), ERR_OK);
            assert_int_equal(sha256_add(pieces, cases[i].text + cut, length - cut), ERR_OK);
            assert_int_equal(sha256_finish(pieces, digest), ERR_OK);
            sha256_hex(digest, hex);
            assert_string_equal(hex, cases[i].hex);
        }
    }
    sha256_state *given_up;
    assert_int_equal(sha256_start(&given_up), ERR_OK);
    assert_int_equal(sha256_finish(given_up, NULL), ERR_OK);
}

/* ---- files ---- */

static void write_text(const char *name, const char *text) {
    const file_span span = {text, strlen(text)};
    assert_int_equal(file_write_atomic(in_folder(name), &span, 1), ERR_OK);
}

static void assert_holds(const char *name, const char *text) {
    uint8_t *bytes;
    size_t length;
    assert_int_equal(file_read(in_folder(name), 1 << 20, &bytes, &length), ERR_OK);
    assert_int_equal(length, strlen(text));
    assert_string_equal((char *)bytes, text); /* the terminating zero is there */
    free(bytes);
}

static void file_writes_spans_and_reads_them(void **state) {
    (void)state;
    const file_span spans[] = {{"one ", 4}, {NULL, 0}, {"two", 3}};
    assert_false(file_exists(in_folder("new")));
    assert_int_equal(file_write_atomic(in_folder("new"), spans, 3), ERR_OK);
    assert_true(file_exists(in_folder("new")));
    assert_holds("new", "one two");
    write_text("new", "other");
    assert_holds("new", "other");
    write_text("new", "");
    assert_holds("new", "");
    assert_int_equal(files_in_folder(), 1);
}

static void file_read_keeps_to_its_cap(void **state) {
    (void)state;
    uint8_t *bytes = NULL;
    size_t length = 0;
    write_text("five", "12345");
    assert_int_equal(file_read(in_folder("five"), 5, &bytes, &length), ERR_OK);
    free(bytes);
    bytes = NULL;
    assert_int_equal(file_read(in_folder("five"), 4, &bytes, &length), ERR_INPUT);
    assert_told("five", "5 bytes, more than the 4 allowed");
    assert_int_equal(file_read(in_folder("none"), 4, &bytes, &length), ERR_NOT_FOUND);
    assert_int_equal(file_read(folder, 4, &bytes, &length), ERR_INPUT);
    assert_told(folder, "not a regular file");
    assert_null(bytes);
}

static int read_a_pipe(void) {
    uint8_t *bytes;
    size_t length;
    const char *pipe_path = in_folder("pipe");
    return mkfifo(pipe_path, 0600) == 0 && file_read(pipe_path, 4, &bytes, &length) == ERR_INPUT ? STATUS_FINE : 1;
}

static void file_read_does_not_wait_for_a_pipe(void **state) {
    (void)state;
    assert_int_equal(status_of(read_a_pipe), STATUS_FINE);
}

/* The operating system refuses the write half way, as on a full disk. */
static void file_write_that_fails_keeps_the_old_file(void **state) {
    (void)state;
    enum { LIMIT = 4096 };
    static char large[2 * LIMIT];
    const file_span spans[] = {{large, 100}, {large, sizeof large}};
    write_text("kept", "old");
    struct rlimit before, low;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    low = before;
    low.rlim_cur = LIMIT;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    err e = file_write_atomic(in_folder("kept"), spans, 2);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(e, ERR_IO);
    assert_told("kept", "cannot write");
    assert_holds("kept", "old");
    assert_int_equal(files_in_folder(), 1);
}

static void file_write_refuses_places_that_are_none(void **state) {
    (void)state;
    const file_span span = {"text", 4};
    assert_int_equal(file_write_atomic(in_folder("no/such/file"), &span, 1), ERR_IO);
    assert_int_equal(file_make_folders(in_folder("a")), ERR_OK);
    assert_int_equal(file_write_atomic(in_folder("a"), &span, 1), ERR_IO);
    assert_told("", "cannot rename");
    assert_int_equal(files_in_folder(), 1);
    char large[FILE_PATH_MAX];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    assert_int_equal(file_write_atomic(large, &span, 1), ERR_INPUT);
    char small[5];
    assert_int_equal(file_path(small, 4, "%s", "abcd"), ERR_INPUT);
    assert_int_equal(file_path(small, 5, "%s", "abcd"), ERR_OK);
}

static void file_makes_folders(void **state) {
    (void)state;
    struct stat status;
    assert_int_equal(file_make_folders(in_folder("a/b/c")), ERR_OK);
    assert_int_equal(stat(in_folder("a/b/c"), &status), 0);
    assert_true(S_ISDIR(status.st_mode));
    assert_int_equal(file_make_folders(in_folder("a/b/c")), ERR_OK);
    assert_int_equal(file_make_folders(in_folder("a/b/d/")), ERR_OK);
    assert_int_equal(stat(in_folder("a/b/d"), &status), 0);
    write_text("plain", "text");
    assert_int_equal(file_make_folders(in_folder("plain/below")), ERR_IO);
}

static void file_make_folders_refuses_a_file_in_its_place(void **state) {
    (void)state;
    write_text("plain", "text");
    assert_int_equal(file_make_folders(in_folder("plain")), ERR_IO);
}

/* ---- random numbers ---- */

static void rng_gives_the_published_vectors(void **state) {
    (void)state;
    static const uint32_t cases[][10] = {
        /* Random123's kat_vectors, "philox4x32 10": counter, key, result */
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6,
         0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
         0x24126ea1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t out[4];
        rng_philox(cases[i], cases[i] + 4, out);
        assert_memory_equal(out, cases[i] + 6, sizeof out);
    }
}

static void rng_draws_depend_on_their_place_only(void **state) {
    (void)state;
    rng r = rng_at(0x0123456789abcdefu, rng_stream(RNG_TEST, 3), 7);
    const uint32_t key[2] = {0x89abcdef, 0x01234567};
    for (uint32_t block = 0; block < 50; block++) {
        const uint32_t counter[4] = {block, 0, rng_stream(RNG_TEST, 3), 7};
        uint32_t expected[4];
        rng_philox(counter, key, expected);
        for (int word = 0; word < 4; word++) {
            assert_int_equal(rng_u32(&r), expected[word]);
        }
    }
    const uint32_t first = rng_u32(&(rng){.seed = 1, .stream = 2, .step = 3});
    assert_int_not_equal(first, rng_u32(&(rng){.seed = 1ull << 32 | 1, .stream = 2, .step = 3}));
    assert_int_not_equal(first, rng_u32(&(rng){.seed = 1, .stream = 3, .step = 3}));
    assert_int_not_equal(first, rng_u32(&(rng){.seed = 1, .stream = 2, .step = 4}));
    assert_int_not_equal(rng_stream(RNG_DROPOUT, 1), rng_stream(RNG_DROPOUT, 2));
    assert_int_not_equal(rng_stream(RNG_DROPOUT, 1), rng_stream(RNG_BATCH_ORDER, 1));
}

static void rng_below_keeps_its_bound(void **state) {
    (void)state;
    static const uint32_t bounds[] = {1, 2, 3, 7, 10, 1000, 1u << 31, (1u << 31) + 1, UINT32_MAX};
    rng r = rng_at(5, RNG_TEST, 0);
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        uint32_t lowest = UINT32_MAX, highest = 0;
        for (int draw = 0; draw < 2000; draw++) {
            uint32_t value = rng_below(&r, bounds[i]);
            assert_true(value < bounds[i]);
            lowest = value < lowest ? value : lowest;
            highest = value > highest ? value : highest;
        }
        assert_true(lowest <= bounds[i] / 100);
        assert_true(highest >= bounds[i] - 1 - bounds[i] / 100);
    }
}

/* Of 3 * 2^30 values, taking the high word of a product without rejection hits every third twice as often. */
static void rng_below_has_no_bias(void **state) {
    (void)state;
    enum { DRAWS = 30000 };
    rng r = rng_at(6, RNG_TEST, 0);
    int counts[3] = {0};
    for (int draw = 0; draw < DRAWS; draw++) {
        counts[rng_below(&r, 3u << 30) % 3]++;
    }
    for (int i = 0; i < 3; i++) {
        assert_in_range(counts[i], DRAWS / 3 - 400, DRAWS / 3 + 400);
    }
}

static void rng_float_fills_its_range(void **state) {
    (void)state;
    enum { DRAWS = 20000 };
    rng r = rng_at(7, RNG_TEST, 0);
    double sum = 0;
    float highest = 0;
    for (int draw = 0; draw < DRAWS; draw++) {
        float value = rng_float(&r);
        assert_true(value >= 0.0f && value < 1.0f);
        assert_true(value * 0x1p24f == floorf(value * 0x1p24f));
        highest = value > highest ? value : highest;
        sum += (double)value;
    }
    assert_true(highest > 0.999f);
    assert_true(fabs(sum / DRAWS - 0.5) < 0.01);
}

static void rng_shuffle_permutes(void **state) {
    (void)state;
    enum { N = 1000 };
    uint32_t items[N], seen[N] = {0}, moved = 0;
    rng r = rng_at(8, RNG_TEST, 0);
    for (uint32_t i = 0; i < N; i++) {
        items[i] = i;
    }
    rng_shuffle(&r, items, N);
    for (uint32_t i = 0; i < N; i++) {
        assert_true(items[i] < N);
        seen[items[i]]++;
        moved += items[i] != i;
    }
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(seen[i], 1);
    }
    assert_true(moved > N - 20);
    rng_shuffle(&r, items, 0);
    uint32_t lone = 5;
    rng_shuffle(&r, &lone, 1);
    assert_int_equal(lone, 5);
}

static void rng_shuffle_gives_every_order_alike(void **state) {
    (void)state;
    enum { DRAWS = 24000 };
    int counts[256] = {0}, orders = 0;
    rng r = rng_at(9, RNG_TEST, 0);
    for (int draw = 0; draw < DRAWS; draw++) {
        uint32_t items[4] = {0, 1, 2, 3};
        rng_shuffle(&r, items, 4);
        counts[items[0] | items[1] << 2 | items[2] << 4 | items[3] << 6]++;
    }
    for (int i = 0; i < 256; i++) {
        if (counts[i] > 0) {
            assert_in_range(counts[i], DRAWS / 24 - 150, DRAWS / 24 + 150);
            orders++;
        }
    }
    assert_int_equal(orders, 24);
}

/* ---- lanes ---- */

enum { TASKS_MAX = 300 };

typedef struct tally {
    unsigned runs[TASKS_MAX]; /* plain on purpose: a thread sanitizer sees when two lanes touch one */
    unsigned salt;
} tally;

static void count_task(void *context, size_t task) {
    tally *t = context;
    t->runs[task] += t->salt;
}

static void lanes_run_every_task_once(void **state) {
    (void)state;
    static const size_t task_counts[] = {0, 1, 2, 3, 4, 5, 17, TASKS_MAX};
    static tally t;
    for (size_t count = 1; count <= 4; count++) {
        for (int spin = 0; spin < 2; spin++) {
            thread_pool *l;
            assert_int_equal(thread_pool_new(&l, count, spin), ERR_OK);
            assert_int_equal(thread_pool_count(l), count);
            for (unsigned round = 0; round < 400; round++) {
                size_t tasks = task_counts[round % (sizeof task_counts / sizeof task_counts[0])];
                memset(&t, 0, sizeof t);
                t.salt = round + 1;
                thread_pool_run(l, count_task, &t, tasks);
                for (size_t task = 0; task < TASKS_MAX; task++) {
                    assert_int_equal(t.runs[task], task < tasks ? t.salt : 0);
                }
            }
            thread_pool_free(l);
        }
    }
}

typedef struct meeting {
    pthread_mutex_t mutex;
    pthread_cond_t all_here;
    size_t here, expected;
} meeting;

/* Returns only when as many tasks run at one time as there are lanes. */
static void meet(void *context, size_t task) {
    (void)task;
    meeting *m = context;
    pthread_mutex_lock(&m->mutex);
    m->here++;
    pthread_cond_broadcast(&m->all_here);
    while (m->here < m->expected) {
        pthread_cond_wait(&m->all_here, &m->mutex);
    }
    pthread_mutex_unlock(&m->mutex);
}

static int meet_on_all_lanes(void) {
    for (size_t count = 1; count <= 4; count++) {
        thread_pool *l;
        meeting m = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, count};
        if (thread_pool_new(&l, count, 0)) {
            return 1;
        }
        thread_pool_run(l, meet, &m, count);
        thread_pool_free(l);
    }
    return STATUS_FINE;
}

static void lanes_run_side_by_side(void **state) {
    (void)state;
    assert_int_equal(status_of(meet_on_all_lanes), STATUS_FINE);
}

static void lanes_may_be_none(void **state) {
    (void)state;
    tally t = {.salt = 1};
    thread_pool_run(NULL, count_task, &t, TASKS_MAX);
    for (size_t task = 0; task < TASKS_MAX; task++) {
        assert_int_equal(t.runs[task], 1);
    }
    assert_int_equal(thread_pool_count(NULL), 1);
    thread_pool_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_lines_are_clean_and_bounded),
        cmocka_unit_test(err_prefix_puts_a_place_in_front),
        cmocka_unit_test(err_lines_belong_to_their_thread),
        cmocka_unit_test(err_codes_have_exit_codes),
        cmocka_unit_test(arena_pieces_are_aligned_and_apart),
        cmocka_unit_test(arena_refuses_what_does_not_fit),
        cmocka_unit_test(arena_refuses_a_capacity_that_wraps),
        cmocka_unit_test(byte_reader_reads_both_byte_orders),
        cmocka_unit_test(byte_reader_failures_stick),
        cmocka_unit_test(digest_gives_the_published_values),
        IN_FOLDER(file_writes_spans_and_reads_them),
        IN_FOLDER(file_read_keeps_to_its_cap),
        IN_FOLDER(file_read_does_not_wait_for_a_pipe),
        IN_FOLDER(file_write_that_fails_keeps_the_old_file),
        IN_FOLDER(file_write_refuses_places_that_are_none),
        IN_FOLDER(file_makes_folders),
        IN_FOLDER(file_make_folders_refuses_a_file_in_its_place),
        cmocka_unit_test(rng_gives_the_published_vectors),
        cmocka_unit_test(rng_draws_depend_on_their_place_only),
        cmocka_unit_test(rng_below_keeps_its_bound),
        cmocka_unit_test(rng_below_has_no_bias),
        cmocka_unit_test(rng_float_fills_its_range),
        cmocka_unit_test(rng_shuffle_permutes),
        cmocka_unit_test(rng_shuffle_gives_every_order_alike),
        cmocka_unit_test(lanes_run_every_task_once),
        cmocka_unit_test(lanes_run_side_by_side),
        cmocka_unit_test(lanes_may_be_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
