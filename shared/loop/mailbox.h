/* Mailbox: records from one thread to another, in order.
 *
 * Any thread puts; one thread takes. Records are copied into one of two buffers: one is filled while the taker
 * reads the other, so nothing is allocated once both have grown to their working size. A mailbox that holds more
 * than `high` bytes says so; whoever feeds it then stops its own source and goes on when `low` is called. Records
 * that must get through (a peer came, went; stop) are taken all the same: for them there is room in reserve, which no
 * lack of memory takes away. */
#ifndef FEWBIT_LOOP_MAILBOX_H
#define FEWBIT_LOOP_MAILBOX_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mailbox mailbox;

typedef struct mail {
    uint32_t kind;
    uint64_t about;       /* a peer, a request: the two sides agree */
    const uint8_t *bytes; /* 8-byte aligned; the mailbox's until the next take */
    size_t length;
} mail;

/* `wake` is called (from the putting thread) when a record comes into an empty mailbox; `low` (from the taking
 * thread) when a mailbox that was high is taken. Either may be NULL. */
err mailbox_new(mailbox **m, size_t high, void (*wake)(void *context), void (*low)(void *context), void *context);
void mailbox_free(mailbox *m);

/* ERR_MEMORY is the only failure; the record is then not in. It takes of the reserve where there is no memory, so what
 * is put by it must be few and small while the taker does not take. */
enum { MAILBOX_RESERVE = 1 << 20 };
err mailbox_put(mailbox *m, uint32_t kind, uint64_t about, const void *bytes, size_t length);

/* For what comes from outside, in any number: leaves the reserve alone, and does not wake a taker that sleeps, which
 * mailbox_wake does, for all that were put. */
err mailbox_put_quietly(mailbox *m, uint32_t kind, uint64_t about, const void *bytes, size_t length);
void mailbox_wake(mailbox *m);

/* The same in place: room for `length` bytes of a record, which the caller fills before mailbox_end. The mailbox is
 * locked in between. NULL: no memory, and no mailbox_end. */
uint8_t *mailbox_begin(mailbox *m, uint32_t kind, uint64_t about, size_t length);
void mailbox_end(mailbox *m);

bool mailbox_is_high(mailbox *m);

/* Bytes that wait to be taken. */
size_t mailbox_bytes(mailbox *m);

/* The next record, or false when there is none. */
bool mailbox_take(mailbox *m, mail *out);

/* Sleeps until there is a record or so many microseconds have passed; negative: for ever. */
void mailbox_wait(mailbox *m, int64_t us);

#endif
