#include "decoder_server/http/image_queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 200 };

typedef struct outcome {
    image_source source; /* its bytes are the queue's copy */
    uint8_t *sample;
    err e;
    char text[TEXT_MAX]; /* with `e` */
} outcome;

struct image_queue {
    uv_loop_t *loop;
    image_queue_callbacks callbacks;
    STAILQ_HEAD(, image_task) waiting; /* for their turn */
    uint8_t *at_once;                  /* [elements_max] */
    /* The turn under way. */
    uv_work_t work;
    bool is_busy, is_closing;
    image_task *task; /* NULL: it was cancelled */
    uint32_t count;
    outcome *outcomes; /* [IMAGE_QUEUE_TURN_IMAGES] */
    uint8_t *bytes;    /* [IMAGE_QUEUE_BYTES_MAX] */
    uint8_t *samples;  /* [most] */
    size_t most;
};

static void free_queue(image_queue *q) {
    free(q->at_once);
    free(q->outcomes);
    free(q->bytes);
    free(q->samples);
    free(q);
}

err image_queue_new(image_queue **out, uv_loop_t *loop, size_t elements_max, const image_queue_callbacks *callbacks) {
    image_queue *q = calloc(1, sizeof *q);
    if (!q) {
        return err_fail(ERR_MEMORY, "no memory for reading images");
    }
    q->loop = loop;
    q->callbacks = *callbacks;
    q->most = elements_max > IMAGE_QUEUE_TURN_BYTES ? elements_max : IMAGE_QUEUE_TURN_BYTES;
    STAILQ_INIT(&q->waiting);
    q->work.data = q;
    q->at_once = malloc(elements_max > 0 ? elements_max : 1);
    q->outcomes = calloc(IMAGE_QUEUE_TURN_IMAGES, sizeof *q->outcomes);
    q->bytes = malloc(IMAGE_QUEUE_BYTES_MAX);
    q->samples = malloc(q->most);
    if (!q->at_once || !q->outcomes || !q->bytes || !q->samples) {
        free_queue(q);
        return err_fail(ERR_MEMORY, "no memory for reading images");
    }
    *out = q;
    return ERR_OK;
}

/* A turn. */

static void start_turn(image_queue *q);

static void read_turn(uv_work_t *work) {
    image_queue *q = work->data;
    for (uint32_t i = 0; i < q->count; i++) {
        outcome *o = &q->outcomes[i];
        o->e = image_read(o->source.type, o->source.bytes, o->source.length, &o->source.shape, o->sample);
        if (o->e) {
            snprintf(o->text, sizeof o->text, "%s", err_text());
        }
    }
}

static void wait_for_a_turn(image_queue *q, image_task *task) {
    task->is_waiting = true;
    STAILQ_INSERT_TAIL(&q->waiting, task, waiting);
}

static image_task *take_first(image_queue *q) {
    image_task *task = STAILQ_FIRST(&q->waiting);
    STAILQ_REMOVE_HEAD(&q->waiting, waiting);
    task->is_waiting = false;
    return task;
}

/* The next image's outcome. With its last one the task is let go: its memory may be another's when this returns. */
static void tell(image_queue *q, err e, const uint8_t *sample) {
    image_task *task = q->task;
    uint32_t index = task->read++;
    if (task->read == task->count) {
        q->task = NULL;
    }
    q->callbacks.on_image(task, index, e, sample);
}

static void hand_back(image_queue *q) {
    for (uint32_t i = 0; i < q->count && q->task; i++) {
        outcome *o = &q->outcomes[i];
        tell(q, o->e ? err_fail(o->e, "%s", o->text) : ERR_OK, o->sample);
    }
    if (q->task) {
        wait_for_a_turn(q, q->task);
    }
    q->task = NULL;
}

static void on_read(uv_work_t *work, int status) {
    image_queue *q = work->data;
    (void)status; /* only a closing queue's is cancelled */
    if (q->is_closing) {
        free_queue(q);
        return;
    }
    hand_back(q);
    q->is_busy = false;
    start_turn(q);
}

/* Copies as many of the task's images as one turn takes, one at least. */
static void fill_turn(image_queue *q, image_task *task) {
    size_t length = 0, elements = 0;
    q->count = 0;
    while (task->read + q->count < task->count && q->count < IMAGE_QUEUE_TURN_IMAGES) {
        image_source s = q->callbacks.source(task, task->read + q->count);
        size_t more = image_shape_elements(&s.shape);
        bool fits = length + s.length <= IMAGE_QUEUE_TURN_BYTES && elements + more <= q->most;
        if (q->count > 0 && !fits) {
            return;
        }
        if (s.length > 0) {
            memcpy(q->bytes + length, s.bytes, s.length);
        }
        s.bytes = q->bytes + length;
        length += s.length;
        q->outcomes[q->count].source = s;
        q->outcomes[q->count++].sample = q->samples + elements;
        elements += more;
    }
}

static void start_turn(image_queue *q) {
    if (q->is_busy || q->is_closing || STAILQ_EMPTY(&q->waiting)) {
        return;
    }
    q->task = take_first(q);
    q->is_busy = true;
    fill_turn(q, q->task);
    if (uv_queue_work(q->loop, &q->work, read_turn, on_read) != 0) {
        abort(); /* it refuses a missing callback only */
    }
}

/* Tasks. */

static bool is_small(const image_queue *q, image_task *task) {
    size_t bytes = 0, pixels = 0;
    for (uint32_t i = 0; i < task->count; i++) {
        image_source s = q->callbacks.source(task, i);
        if (image_is_picture(s.bytes, s.length)) {
            bytes += s.length;
            pixels += (size_t)s.shape.width * s.shape.height;
        }
    }
    return bytes <= IMAGE_QUEUE_AT_ONCE_BYTES && pixels <= IMAGE_QUEUE_AT_ONCE_PIXELS;
}

void image_queue_add(image_queue *q, image_task *task, uint32_t count) {
    *task = (image_task){.count = count};
    if (!is_small(q, task)) {
        wait_for_a_turn(q, task);
        start_turn(q);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        image_source s = q->callbacks.source(task, i);
        q->callbacks.on_image(task, i, image_read(s.type, s.bytes, s.length, &s.shape, q->at_once), q->at_once);
    }
}

void image_queue_cancel(image_queue *q, image_task *task) {
    if (q->task == task) {
        q->task = NULL;
    }
    if (task->is_waiting) {
        STAILQ_REMOVE(&q->waiting, task, image_task, waiting);
        task->is_waiting = false;
    }
}

static void stop_task(image_queue *q, image_task *task) {
    q->task = task;
    while (q->task) {
        tell(q, err_fail(ERR_STOPPED, "the server is stopping"), NULL);
    }
}

void image_queue_close(image_queue *q) {
    q->is_closing = true;
    if (q->task) {
        stop_task(q, q->task);
    }
    while (!STAILQ_EMPTY(&q->waiting)) {
        stop_task(q, take_first(q));
    }
    if (q->is_busy) {
        uv_cancel((uv_req_t *)&q->work); /* on_read comes all the same */
    } else {
        free_queue(q);
    }
}
