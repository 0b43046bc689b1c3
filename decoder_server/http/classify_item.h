/* The images of a request to POST /v1/classify, and what became of each: plain data, which lives in the request. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_CLASSIFY_ITEM_H
#define FEWBIT_DECODER_SERVER_HTTP_CLASSIFY_ITEM_H

#include "decoder_server/core/classification.h"
#include "decoder_server/http/image_queue.h"

enum { CLASSIFY_ITEM_MESSAGE_MAX = 200, CLASSIFY_BATCH_MAX = 64 };

typedef struct classify_item {
    struct api_request *request;
    image_type type;
    size_t from, length;                     /* in the body */
    uint64_t number;                         /* while its answer is to come; else 0 */
    const char *code;                        /* why it was refused; NULL: it was not */
    char message[CLASSIFY_ITEM_MESSAGE_MAX]; /* with `code` */
    uint64_t asked_ns, answered_ns;
} classify_item;

/* Of multipart/form-data, answered in the order of its parts. */
typedef struct classify_batch {
    classify_item items[CLASSIFY_BATCH_MAX];
    classification answers[CLASSIFY_BATCH_MAX];
} classify_batch;

typedef struct classify_items {
    struct classify *of;
    bool is_multipart;
    classify_item single;
    classify_batch *batch;   /* instead of `single`, for multipart */
    uint32_t count, pending; /* what is not read yet is pending too */
    image_task images;
} classify_items;

#endif
