/* The main of every fuzz target where libFuzzer is not linked: it replays a corpus and mutations of it.
 *
 *     TARGET FOLDER|FILE... [-m MUTATIONS]
 *
 * Every file is run as it is, then MUTATIONS times changed at random; the changes depend on the file's name
 * and the number of the mutation alone, so a failure comes again. The input that failed is kept in /tmp and
 * named. Prints "N inputs".
 *
 * A target includes this file and defines LLVMFuzzerTestOneInput; before, it may define
 *     FUZZ_MUTATIONS     how many mutations a file, by default 300
 *     FUZZ_HAS_RECORDS   the input is a sequence of records (mutate.h)
 *     FUZZ_MEMORY_MB     the largest single allocation that is no fault, by default 64
 *     FUZZ_REFUSES_MORE  larger ones are not faults but fail, as on a machine without memory */
#ifndef FEWBIT_TESTS_LIB_FUZZ_REPLAY_H
#define FEWBIT_TESTS_LIB_FUZZ_REPLAY_H

#include "tests/lib/fuzz/check.h"
#include "tests/lib/fuzz/mutate.h"

#include <stdint.h>

#ifndef FUZZ_MUTATIONS
#define FUZZ_MUTATIONS 300
#endif
#ifndef FUZZ_MEMORY_MB
#define FUZZ_MEMORY_MB 64
#endif
#ifdef FUZZ_REFUSES_MORE
#define FUZZ_MAY_RETURN_NULL "1"
#else
#define FUZZ_MAY_RETURN_NULL "0"
#endif
#define FUZZ_TEXT_OF(number) #number
#define FUZZ_TEXT(number) FUZZ_TEXT_OF(number)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifdef FEWBIT_SANITIZE
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
void __sanitizer_set_death_callback(void (*callback)(void));

const char *__asan_default_options(void) {
    return "max_allocation_size_mb=" FUZZ_TEXT(FUZZ_MEMORY_MB) ":allocator_may_return_null=" FUZZ_MAY_RETURN_NULL
                                                               ":detect_stack_use_after_return=0:quarantine_size_mb=16";
}

const char *__ubsan_default_options(void) {
    return "halt_on_error=1:abort_on_error=1:print_stacktrace=1";
}
#endif

static inline void fuzz_mutate_payload(fuzz_input *payload, rng *r) {
    fuzz_mutate_bytes(payload, r, payload->bytes, payload->length);
}

#ifdef FEWBIT_LIBFUZZER

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    log_choose_level("none");
    return 0;
}

#ifdef FUZZ_HAS_RECORDS
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size, const uint8_t *two, size_t two_size, uint8_t *out,
                                 size_t max_size, unsigned seed);

static void fuzz_libfuzzer_payload(fuzz_input *payload, rng *r) {
    (void)r;
    payload->length = LLVMFuzzerMutate(payload->bytes, payload->length, payload->capacity);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    rng r = rng_at(seed, rng_stream(RNG_TEST, 0), 0);
    if (fuzz_below(&r, 8) == 0) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    fuzz_input in = {data, size, max_size};
    fuzz_mutate_records(&in, &r, data, size, fuzz_libfuzzer_payload);
    return in.length;
}

/* Some of the records of one, then some of the other. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size, const uint8_t *two, size_t two_size, uint8_t *out,
                                 size_t max_size, unsigned seed) {
    static fuzz_record ones[FUZZ_RECORDS_MAX], twos[FUZZ_RECORDS_MAX];
    rng r = rng_at(seed, rng_stream(RNG_TEST, 1), 0);
    size_t one_count = fuzz_list_records(one, one_size, ones), two_count = fuzz_list_records(two, two_size, twos);
    size_t head = one_count ? ones[fuzz_below(&r, one_count)].at : 0;
    size_t tail = two_count ? twos[fuzz_below(&r, two_count)].at : 0;
    fuzz_input in = {out, 0, max_size};
    fuzz_replace(&in, 0, 0, one, head);
    fuzz_replace(&in, in.length, 0, two + tail, two_size - tail);
    return in.length;
}
#endif

#else

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { FUZZ_FILES_MAX = 512, FUZZ_FILE_MAX = 1 << 20, FUZZ_INPUT_MAX = 1 << 18, FUZZ_SECONDS_MAX = 30 };

typedef struct fuzz_file {
    char name[256];
    uint8_t *bytes;
    size_t length;
} fuzz_file;

static fuzz_file fuzz_files[FUZZ_FILES_MAX];
static size_t fuzz_file_count;

/* What is being run, for the report of a crash. */
static struct {
    const char *file;
    long mutation; /* 0: the file itself */
    const uint8_t *bytes;
    size_t length;
} fuzz_now;

/* Called on the way down: the heap may be broken, so nothing here allocates. */
static void fuzz_keep_input(void) {
    static char text[512], path[64];
    if (!fuzz_now.file) {
        return;
    }
    snprintf(path, sizeof path, "/tmp/fewbit-fuzz-failed-%d", (int)getpid());
    int length = snprintf(text, sizeof text, "failed: %s, mutation %ld; the input is kept in %s\n", fuzz_now.file,
                          fuzz_now.mutation, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    ssize_t written = fd < 0 ? 0 : write(fd, fuzz_now.bytes, fuzz_now.length);
    written += write(STDERR_FILENO, text, (size_t)length);
    (void)written;
    fuzz_now.file = NULL;
}

static void fuzz_on_signal(int number) {
    if (number == SIGALRM) {
        static const char text[] = "one input takes too long\n";
        ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
        (void)written;
    }
    fuzz_keep_input();
    signal(number, SIG_DFL);
    raise(number == SIGALRM ? SIGABRT : number);
}

static void fuzz_watch(void) {
    const int numbers[] = {SIGABRT, SIGALRM,
#ifndef FEWBIT_SANITIZE
                           SIGSEGV, SIGBUS,  SIGFPE,
                           SIGILL
#endif
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        signal(numbers[i], fuzz_on_signal);
    }
#ifdef FEWBIT_SANITIZE
    __sanitizer_set_death_callback(fuzz_keep_input);
#else
    struct rlimit limit = {(rlim_t)2 << 30, (rlim_t)2 << 30}; /* bytes of address space */
    setrlimit(RLIMIT_AS, &limit);
#endif
}

static void fuzz_load_file(const char *path) {
    FUZZ_CHECK(fuzz_file_count < FUZZ_FILES_MAX, "more than %d files", FUZZ_FILES_MAX);
    fuzz_file *file = &fuzz_files[fuzz_file_count++];
    snprintf(file->name, sizeof file->name, "%s", path);
    FUZZ_CHECK(file_read(path, FUZZ_FILE_MAX, &file->bytes, &file->length) == ERR_OK, "%s", err_text());
}

static int fuzz_is_visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static void fuzz_load(const char *path) {
    struct stat status;
    FUZZ_CHECK(stat(path, &status) == 0, "%s is not there", path);
    if (!S_ISDIR(status.st_mode)) {
        fuzz_load_file(path);
        return;
    }
    struct dirent **entries;
    int count = scandir(path, &entries, fuzz_is_visible, alphasort);
    FUZZ_CHECK(count > 0, "%s holds no input", path);
    for (int i = 0; i < count; i++) {
        char name[FILE_PATH_MAX];
        FUZZ_CHECK(file_path(name, sizeof name, "%s/%s", path, entries[i]->d_name) == ERR_OK, "%s", err_text());
        fuzz_load_file(name);
        free(entries[i]);
    }
    free(entries);
}

/* The same for a file wherever the corpus lies. */
static uint64_t fuzz_seed_of(const char *path) {
    const char *slash = strrchr(path, '/');
    uint64_t seed = 14695981039346656037u; /* FNV-1a */
    for (const char *c = slash ? slash + 1 : path; *c; c++) {
        seed = (seed ^ (uint8_t)*c) * 1099511628211u;
    }
    return seed;
}

/* The input lies in a block of its own size, so that a sanitizer sees the first byte read behind it. */
static void fuzz_run(const fuzz_file *file, long mutation, const uint8_t *bytes, size_t length) {
    uint8_t *exact = malloc(length ? length : 1);
    FUZZ_CHECK(exact, "no memory");
    memcpy(exact, bytes, length);
    fuzz_now.mutation = mutation;
    fuzz_now.bytes = exact;
    fuzz_now.length = length;
    fuzz_now.file = file->name;
    alarm(FUZZ_SECONDS_MAX);
    LLVMFuzzerTestOneInput(exact, length);
    alarm(0);
    fuzz_now.file = NULL;
    free(exact);
}

static void fuzz_run_mutation(const fuzz_file *file, uint64_t seed, long mutation) {
    static uint8_t bytes[FUZZ_INPUT_MAX];
    rng r = rng_at(seed, rng_stream(RNG_TEST, 2), (uint32_t)mutation);
    fuzz_input in = {bytes, file->length < sizeof bytes ? file->length : sizeof bytes, sizeof bytes};
    memcpy(bytes, file->bytes, in.length);
    for (size_t left = 1 + fuzz_below(&r, 4); left > 0; left--) {
        const fuzz_file *other = &fuzz_files[fuzz_below(&r, fuzz_file_count)];
#ifdef FUZZ_HAS_RECORDS
        if (fuzz_below(&r, 8) != 0) {
            fuzz_mutate_records(&in, &r, other->bytes, other->length, fuzz_mutate_payload);
            continue;
        }
#endif
        fuzz_mutate_bytes(&in, &r, other->bytes, other->length);
    }
    fuzz_run(file, mutation, bytes, in.length);
}

int main(int argc, char **argv) {
    long mutations = FUZZ_MUTATIONS, inputs = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-m") == 0 && i + 1 < argc) {
            mutations = atol(argv[++i]);
        } else {
            fuzz_load(argv[i]);
        }
    }
    if (fuzz_file_count == 0) {
        fprintf(stderr, "usage: %s FOLDER|FILE... [-m MUTATIONS]\n", argv[0]);
        return 2;
    }
    log_choose_level("none");
    fuzz_watch();
    for (size_t i = 0; i < fuzz_file_count; i++) {
        uint64_t seed = fuzz_seed_of(fuzz_files[i].name);
        fuzz_run(&fuzz_files[i], 0, fuzz_files[i].bytes, fuzz_files[i].length);
        for (long mutation = 1; mutation <= mutations; mutation++) {
            fuzz_run_mutation(&fuzz_files[i], seed, mutation);
        }
        inputs += 1 + mutations;
    }
    for (size_t i = 0; i < fuzz_file_count; i++) {
        free(fuzz_files[i].bytes);
    }
    printf("%ld inputs\n", inputs);
    return 0;
}

#endif
#endif
