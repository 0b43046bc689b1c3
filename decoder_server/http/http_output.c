#include "decoder_server/http/http_output.h"

#include <string.h>

void http_output_start(http_output *o) {
    o->write.data = o;
}

static void on_written(uv_write_t *write, int status) {
    http_output *o = write->data;
    o->is_waiting = false;
    if (status != UV_ECANCELED) {
        o->done(o->context, status);
    }
}

/* All that is left in one piece. */
static uv_buf_t gather(const uv_buf_t *parts, unsigned count, char *spare) {
    size_t length = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(spare + length, parts[i].base, parts[i].len);
        length += parts[i].len;
    }
    return uv_buf_init(spare, (unsigned)length);
}

bool http_output_send(http_output *o, uv_buf_t *parts, unsigned count, char *spare) {
    int status = uv_try_write((uv_stream_t *)o->tcp, parts, count);
    if (status < 0 && status != UV_EAGAIN) {
        return false;
    }
    size_t sent = status > 0 ? (size_t)status : 0;
    unsigned first = 0;
    for (; first < count && sent >= parts[first].len; first++) {
        sent -= parts[first].len;
    }
    if (first == count) {
        return true;
    }
    parts[first] = uv_buf_init(parts[first].base + sent, (unsigned)(parts[first].len - sent));
    if (spare) {
        parts[first] = gather(parts + first, count - first, spare);
        count = first + 1;
    }
    status = uv_write(&o->write, (uv_stream_t *)o->tcp, parts + first, count - first, on_written);
    o->is_waiting = status == 0;
    o->unsent = uv_stream_get_write_queue_size((uv_stream_t *)o->tcp);
    return status == 0;
}

bool http_output_has_moved(http_output *o) {
    size_t unsent = uv_stream_get_write_queue_size((const uv_stream_t *)o->tcp);
    bool has_moved = o->is_waiting && unsent < o->unsent;
    o->unsent = unsent;
    return has_moved;
}
