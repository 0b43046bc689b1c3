/* The image queue: decodes the images of requests; those that take long on a thread of libuv's pool.
 *
 * Raw elements, and a request whose pictures are small together, are decoded at once. All others queue: a turn decodes
 * some images of one request, then the next request has its turn, so that a batch does not delay the others for long.
 * One turn at a time is under way, with its own copy of the bytes, so a request may go at any moment. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_IMAGE_QUEUE_H
#define FEWBIT_DECODER_SERVER_HTTP_IMAGE_QUEUE_H

#include "image/image.h"

#include <sys/queue.h>
#include <uv.h>

enum {
    IMAGE_QUEUE_BYTES_MAX = 1 << 20,   /* of an image */
    IMAGE_QUEUE_AT_ONCE_BYTES = 8192,  /* what is read at once has no more bytes in its pictures, */
    IMAGE_QUEUE_AT_ONCE_PIXELS = 8192, /* and no more pixels */
    IMAGE_QUEUE_TURN_IMAGES = 64,
    IMAGE_QUEUE_TURN_BYTES = 64 * 1024, /* of images, and of samples; a larger image has a turn of its own */
};

typedef struct image_queue image_queue;

typedef struct image_source {
    image_type type;
    const uint8_t *bytes;
    size_t length;
    image_shape shape; /* that it is to have */
} image_source;

/* The images of one request; it lives in the request. */
typedef struct image_task {
    STAILQ_ENTRY(image_task) waiting;
    uint32_t read, count;
    bool is_waiting;
} image_task;

typedef struct image_queue_callbacks {
    /* An image of a task; good until the call that asked for it returns. */
    image_source (*source)(image_task *task, uint32_t index);
    /* An image was read, or was not (err_text() says why; ERR_STOPPED: the queue was closed before). In order, each
     * once. The task may be cancelled in here, and with its last image its memory may go. */
    void (*on_image)(image_task *task, uint32_t index, err e, const uint8_t *sample);
} image_queue_callbacks;

/* No image has more than `elements_max` elements. */
err image_queue_new(image_queue **q, uv_loop_t *loop, size_t elements_max, const image_queue_callbacks *callbacks);

/* Decodes all images of a task, now or later. */
void image_queue_add(image_queue *q, image_task *task, uint32_t count);

/* No callback follows for it; its memory may be freed. */
void image_queue_cancel(image_queue *q, image_task *task);

/* Fails at once, with ERR_STOPPED, what was not decoded. The memory is freed in the loop's next turns. */
void image_queue_close(image_queue *q);

#endif
