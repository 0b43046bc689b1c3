#include "loop/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIRST_BYTES = MAILBOX_RESERVE + 16384 };

typedef struct record {
    uint32_t kind;
    uint32_t unused;
    uint64_t about;
    uint64_t length;
} record;

typedef struct heap {
    uint8_t *bytes;
    size_t used, capacity;
} heap;

struct mailbox {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    heap in;  /* under the mutex */
    heap out; /* the taker's */
    size_t at;
    size_t high;
    bool was_high;
    bool wakes; /* the put under way is the first into an empty mailbox */
    void (*wake)(void *context);
    void (*low)(void *context);
    void *context;
};

static size_t padded(size_t length) {
    return (length + 7) & ~(size_t)7;
}

static bool grow(heap *h, size_t need) {
    if (h->capacity - h->used >= need) {
        return true;
    }
    size_t capacity = h->capacity ? h->capacity : FIRST_BYTES;
    while (capacity - h->used < need) {
        capacity *= 2;
    }
    uint8_t *grown = realloc(h->bytes, capacity);
    if (!grown) {
        return false;
    }
    h->bytes = grown;
    h->capacity = capacity;
    return true;
}

err mailbox_new(mailbox **out, size_t high, void (*wake)(void *context), void (*low)(void *context), void *context) {
    mailbox *m = calloc(1, sizeof *m);
    if (!m || !grow(&m->in, FIRST_BYTES) || !grow(&m->out, FIRST_BYTES)) {
        free(m ? m->in.bytes : NULL);
        free(m);
        return err_fail(ERR_MEMORY, "no memory for a mailbox");
    }
    pthread_mutex_init(&m->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&m->filled, &attributes);
    pthread_condattr_destroy(&attributes);
    m->high = high;
    m->wake = wake;
    m->low = low;
    m->context = context;
    *out = m;
    return ERR_OK;
}

void mailbox_free(mailbox *m) {
    if (!m) {
        return;
    }
    pthread_mutex_destroy(&m->mutex);
    pthread_cond_destroy(&m->filled);
    free(m->in.bytes);
    free(m->out.bytes);
    free(m);
}

/* `spared`: bytes of room that it must leave. */
static uint8_t *begin(mailbox *m, uint32_t kind, uint64_t about, size_t length, size_t spared) {
    pthread_mutex_lock(&m->mutex);
    if (!grow(&m->in, sizeof(record) + padded(length) + spared)) {
        pthread_mutex_unlock(&m->mutex);
        err_fail(ERR_MEMORY, "no memory for a record of %zu bytes", length);
        return NULL;
    }
    record head = {.kind = kind, .about = about, .length = length};
    m->wakes = m->in.used == 0;
    memcpy(m->in.bytes + m->in.used, &head, sizeof head);
    uint8_t *to = m->in.bytes + m->in.used + sizeof head;
    m->in.used += sizeof head + padded(length);
    m->was_high = m->was_high || m->in.used > m->high;
    return to;
}

uint8_t *mailbox_begin(mailbox *m, uint32_t kind, uint64_t about, size_t length) {
    return begin(m, kind, about, length, 0);
}

void mailbox_end(mailbox *m) {
    bool wakes = m->wakes;
    pthread_mutex_unlock(&m->mutex);
    if (wakes) {
        mailbox_wake(m);
    }
}

/* Not under the mutex: the taker would wake only to wait for it. */
void mailbox_wake(mailbox *m) {
    pthread_cond_signal(&m->filled);
    if (m->wake) {
        m->wake(m->context);
    }
}

err mailbox_put_quietly(mailbox *m, uint32_t kind, uint64_t about, const void *bytes, size_t length) {
    uint8_t *to = begin(m, kind, about, length, MAILBOX_RESERVE);
    if (!to) {
        return ERR_MEMORY;
    }
    if (length > 0) {
        memcpy(to, bytes, length);
    }
    pthread_mutex_unlock(&m->mutex);
    return ERR_OK;
}

err mailbox_put(mailbox *m, uint32_t kind, uint64_t about, const void *bytes, size_t length) {
    uint8_t *to = mailbox_begin(m, kind, about, length);
    if (!to) {
        return ERR_MEMORY;
    }
    if (length > 0) {
        memcpy(to, bytes, length);
    }
    mailbox_end(m);
    return ERR_OK;
}

bool mailbox_is_high(mailbox *m) {
    pthread_mutex_lock(&m->mutex);
    bool high = m->in.used > m->high;
    pthread_mutex_unlock(&m->mutex);
    return high;
}

size_t mailbox_bytes(mailbox *m) {
    pthread_mutex_lock(&m->mutex);
    size_t bytes = m->in.used;
    pthread_mutex_unlock(&m->mutex);
    return bytes;
}

static bool swap(mailbox *m) {
    pthread_mutex_lock(&m->mutex);
    heap emptied = m->out;
    emptied.used = 0;
    m->out = m->in;
    m->in = emptied;
    m->at = 0;
    bool was_high = m->was_high;
    m->was_high = false;
    pthread_mutex_unlock(&m->mutex);
    if (was_high && m->low) {
        m->low(m->context);
    }
    return m->out.used > 0;
}

bool mailbox_take(mailbox *m, mail *out) {
    if (m->at == m->out.used && !swap(m)) {
        return false;
    }
    record head;
    memcpy(&head, m->out.bytes + m->at, sizeof head);
    *out = (mail){head.kind, head.about, m->out.bytes + m->at + sizeof head, (size_t)head.length};
    m->at += sizeof head + padded((size_t)head.length);
    return true;
}

void mailbox_wait(mailbox *m, int64_t us) {
    if (m->at < m->out.used) {
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    if (us > 0) {
        until.tv_sec += us / 1000000;
        until.tv_nsec += us % 1000000 * 1000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
    }
    pthread_mutex_lock(&m->mutex);
    int waited = 0;
    while (m->in.used == 0 && waited != ETIMEDOUT && us != 0) {
        waited =
            us < 0 ? pthread_cond_wait(&m->filled, &m->mutex) : pthread_cond_timedwait(&m->filled, &m->mutex, &until);
    }
    pthread_mutex_unlock(&m->mutex);
}
