#include "encoder_node/source.h"

#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

struct source {
    source_kind kind;
    const portion *data;
    portion_shape shape;
    size_t bytes;    /* of a portion */
    uint64_t next;   /* portions consumed in all */
    uint32_t peeked; /* portions lent out by source_peek */
    uint32_t taken;  /* portions of buffer consumed so far */
    void (*arrived)(void *context);
    void *context;
    /* The reading thread fills `buffer`, then waits until it is consumed. */
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t mutex;
    pthread_cond_t emptied;
    uint8_t *buffer;
    size_t capacity; /* whole portions */
    uint32_t filled; /* portions in buffer, under the mutex */
    bool ended;
    int failure;       /* errno of a read; 0: none */
    size_t rest;       /* bytes of a portion that is not whole */
    uint64_t taken_in; /* portions that the thread has handed over, all good */
    char unfit[96];    /* what is wrong with the portion after them; "": nothing */
    bool is_live;
    bool stopping;
    int stop_fd; /* readable once the thread shall end, wherever it waits */
};

enum { CHUNK_BYTES = 64 * 1024 };

err source_parse(const char *name, source_kind *kind) {
    static const char *const names[] = {"none", "test", "stdin"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(name, names[i]) == 0) {
            *kind = (source_kind)i;
            return ERR_OK;
        }
    }
    return err_fail(ERR_USAGE, "the source '%s' is none of none, test, stdin", name);
}

err source_check(source_kind kind) {
    struct stat status;
    if (kind != SOURCE_STDIN) {
        return ERR_OK;
    }
    if (!process_has_input() || fstat(STDIN_FILENO, &status) != 0) {
        return err_fail(ERR_IO, "--stream stdin: standard input is closed");
    }
    if (S_ISDIR(status.st_mode)) {
        return err_fail(ERR_IO, "--stream stdin: standard input is a folder");
    }
    int flags = fcntl(STDIN_FILENO, F_GETFL);
    bool is_readable = flags >= 0 && ((flags & O_ACCMODE) == O_RDONLY || (flags & O_ACCMODE) == O_RDWR);
    return is_readable ? ERR_OK : err_fail(ERR_IO, "--stream stdin: standard input is not open for reading");
}

/* One read from standard input, or 0 at its end, on an error, or when told to stop. */
static size_t read_some(source *s, uint8_t *to, size_t room) {
    struct pollfd waits[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = s->stop_fd, .events = POLLIN}};
    for (;;) {
        if (poll(waits, 2, -1) < 0) {
            if (errno == EINTR) {
                continue;
            }
            s->failure = errno;
            return 0;
        }
        if (waits[1].revents) {
            return 0;
        }
        ssize_t got = waits[0].revents ? read(STDIN_FILENO, to, room) : -1;
        if (got >= 0) {
            return (size_t)got;
        }
        if (waits[0].revents && errno != EINTR && errno != EAGAIN) {
            s->failure = errno;
            return 0;
        }
    }
}

/* Reads until there is at least one whole portion; `have` carries a partial one over. Returns whole portions. */
static uint32_t read_portions(source *s, size_t *have) {
    while (*have < s->bytes) {
        size_t got = read_some(s, s->buffer + *have, s->capacity - *have);
        if (got == 0) {
            break;
        }
        *have += got;
    }
    return (uint32_t)(*have / s->bytes);
}

/* How many of the portions read are good, up to the first that is none. */
static uint32_t count_good(source *s, uint32_t portions) {
    for (uint32_t i = 0; i < portions; i++) {
        if (portion_check_values(&s->shape, s->buffer + i * s->bytes)) {
            snprintf(s->unfit, sizeof s->unfit, "portion %llu: %s", (unsigned long long)(s->taken_in + i), err_text());
            s->taken_in += i;
            return i;
        }
    }
    s->taken_in += portions;
    return portions;
}

/* Hands `portions` of `have` bytes over and waits until they are consumed; false when told to stop. */
static bool hand_over(source *s, uint32_t portions, size_t have) {
    pthread_mutex_lock(&s->mutex);
    s->filled = portions;
    s->ended = portions == 0;
    s->rest = s->ended && !s->stopping ? have : 0;
    pthread_mutex_unlock(&s->mutex);
    s->arrived(s->context);
    pthread_mutex_lock(&s->mutex);
    while (s->filled > 0 && !s->stopping) {
        pthread_cond_wait(&s->emptied, &s->mutex);
    }
    bool go_on = !s->ended && !s->stopping;
    pthread_mutex_unlock(&s->mutex);
    return go_on;
}

static void *read_standard_input(void *argument) {
    source *s = argument;
    size_t have = 0;
    for (;;) {
        uint32_t portions = count_good(s, read_portions(s, &have));
        if (!hand_over(s, portions, have)) {
            break;
        }
        size_t used = portions * s->bytes;
        memmove(s->buffer, s->buffer + used, have - used);
        have -= used;
    }
    return NULL;
}

err source_new(source **out, source_kind kind, const portion *data, void (*arrived)(void *context), void *context) {
    source *s = calloc(1, sizeof *s);
    if (!s) {
        return err_fail(ERR_MEMORY, "no memory for a source");
    }
    const portion_info *info = portion_get_info(data);
    s->kind = kind;
    s->data = data;
    s->shape = info->shape;
    s->bytes = portion_shape_bytes(&info->shape);
    s->arrived = arrived;
    s->context = context;
    s->capacity = s->bytes * (CHUNK_BYTES / s->bytes + 1);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->emptied, NULL);
    s->stop_fd = -1;
    if (kind == SOURCE_STDIN) {
        struct stat status;
        s->is_live = fstat(STDIN_FILENO, &status) != 0 || !S_ISREG(status.st_mode);
        s->stop_fd = eventfd(0, EFD_CLOEXEC);
        s->buffer = malloc(s->capacity);
        s->has_thread = s->stop_fd >= 0 && s->buffer && pthread_create(&s->thread, NULL, read_standard_input, s) == 0;
        if (!s->has_thread) {
            source_free(s);
            return err_fail(ERR_MEMORY, "no memory, or no thread, to read standard input");
        }
    }
    *out = s;
    return ERR_OK;
}

void source_stop(source *s) {
    if (!s || !s->has_thread) {
        return;
    }
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_cond_signal(&s->emptied);
    pthread_mutex_unlock(&s->mutex);
    eventfd_write(s->stop_fd, 1);
    pthread_join(s->thread, NULL);
    s->has_thread = false;
}

void source_free(source *s) {
    if (!s) {
        return;
    }
    source_stop(s);
    if (s->stop_fd >= 0) {
        close(s->stop_fd);
    }
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->emptied);
    free(s->buffer);
    free(s);
}

void source_peek(source *s, uint32_t most, const uint8_t **portions, uint32_t *count) {
    uint64_t there = 0;
    if (s->kind == SOURCE_TEST) {
        there = portion_get_info(s->data)->samples[DATASET_TEST] - s->next;
        *portions = there ? portion_sample(s->data, DATASET_TEST, (uint32_t)s->next) : NULL;
    } else if (s->kind == SOURCE_STDIN) {
        pthread_mutex_lock(&s->mutex);
        there = s->filled - s->taken;
        pthread_mutex_unlock(&s->mutex);
        *portions = s->buffer + s->taken * s->bytes;
    }
    *count = s->peeked = there < most ? (uint32_t)there : most;
}

void source_consume(source *s) {
    s->next += s->peeked;
    s->taken += s->peeked;
    s->peeked = 0;
    pthread_mutex_lock(&s->mutex);
    if (s->kind == SOURCE_STDIN && s->taken == s->filled) {
        s->filled = s->taken = 0;
        pthread_cond_signal(&s->emptied);
    }
    pthread_mutex_unlock(&s->mutex);
}

bool source_is_over(source *s) {
    if (s->kind == SOURCE_TEST) {
        return s->next == portion_get_info(s->data)->samples[DATASET_TEST];
    }
    if (s->kind == SOURCE_NONE) {
        return true;
    }
    pthread_mutex_lock(&s->mutex);
    bool over = s->ended && s->filled == 0;
    pthread_mutex_unlock(&s->mutex);
    return over;
}

err source_outcome(source *s) {
    if (s->failure) {
        return err_fail(ERR_IO, "standard input: %s", strerror(s->failure));
    }
    if (s->unfit[0]) {
        return err_fail(ERR_INPUT, "standard input: %s", s->unfit);
    }
    return s->rest ? err_fail(ERR_INPUT, "standard input ended inside a portion: %zu of %zu bytes", s->rest, s->bytes)
                   : ERR_OK;
}

bool source_is_live(const source *s) {
    return s->is_live;
}
