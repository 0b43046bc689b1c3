/* A stand-in for a node: a link that takes a portion's place at a server and sends random codes for it, under the
 * protocol of a node. Where the server asks for a code's first rounds alone, it sends these, and random bits for what
 * is asked of it then. It has one model only, so a server cannot change to another meanwhile.
 *
 * Not thread-safe: all of it on the loop's thread, but for stand_in_asked. */
#ifndef FEWBIT_CLIENT_STAND_IN_H
#define FEWBIT_CLIENT_STAND_IN_H

#include "base/err.h"
#include "data/split.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

typedef struct stand_in stand_in;

typedef struct stand_in_config {
    const char *host; /* where nodes connect */
    uint16_t port;
    const char *data_set; /* its name */
    const split *split;
    uint32_t portion;
    uint32_t bits; /* of one code */
    /* The link is down, by stand_in_close or otherwise (ERR_NETWORK), or the server refuses or makes no sense; the text
     * is in err_text(). */
    void (*failed)(void *context, err e);
    void *context;
} stand_in_config;

/* Connects. `config` is copied; what it points to must outlive the stand-in. */
err stand_in_new(stand_in **s, uv_loop_t *loop, const stand_in_config *config);

/* Only once the loop has run after stand_in_close. NULL is fine. */
void stand_in_free(stand_in *s);

void stand_in_close(stand_in *s, const char *reason);

/* Whether the server lets it begin. */
bool stand_in_may_push(const stand_in *s);

/* Pushes until `due` codes are sent in all, or as many as the server takes now; `due` is a multiple of 8, for a frame
 * ends with a byte. */
void stand_in_push(stand_in *s, uint64_t due);

/* Bytes that the kernel has not taken yet. */
size_t stand_in_backlog(const stand_in *s);

/* Codes pushed. */
uint64_t stand_in_sent(const stand_in *s);

/* Of them, those of which more was asked for, counted once a round. From any thread. */
uint64_t stand_in_asked(stand_in *s);

/* Whether, as the server tells it, nothing more can be asked of what is sent. */
bool stand_in_is_settled(const stand_in *s);

#endif
