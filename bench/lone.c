/* Lone classification requests over HTTP: one keep-alive connection, the next request after the last answer.
 *
 *     lone PORT IMAGES BYTES COUNT
 *
 * asks 127.0.0.1:PORT to classify the raw images of file IMAGES, BYTES each, in turn, COUNT times after a warm-up of
 * WARM_UP requests, and prints {"requests", "p50_ms", "p99_ms", "p999_ms", "max_ms", "frame_bytes": of the last}. The
 * clock runs from just before the request is written until the answer's last byte has been read. */
#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "bench/net.h"

#include <stdio.h>

enum { WARM_UP = 200, COUNT_MAX = 1000000, IMAGE_MAX = 65536, IMAGES_FILE_MAX = 64 << 20, ANSWER_MAX = 16384 };

typedef struct client {
    int socket;
    char answer[ANSWER_MAX + 1];
} client;

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void print_figures(const client *c, uint64_t *took_ns, size_t count) {
    const char *frames = strstr(c->answer, "\"frame_bytes\":");
    qsort(took_ns, count, sizeof *took_ns, by_size);
    printf("{\"requests\": %zu, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"p999_ms\": %.4f, \"max_ms\": %.4f, "
           "\"frame_bytes\": %ld}\n",
           count, (double)took_ns[count / 2] * 1e-6, (double)took_ns[count * 99 / 100] * 1e-6,
           (double)took_ns[count * 999 / 1000] * 1e-6, (double)took_ns[count - 1] * 1e-6,
           frames ? strtol(frames + 14, NULL, 10) : -1);
}

static err measure(client *c, const uint8_t *images, size_t image_bytes, size_t image_count, size_t count) {
    static uint8_t request[256 + IMAGE_MAX];
    uint64_t *took_ns = malloc(count * sizeof *took_ns);
    if (!took_ns) {
        return err_fail(ERR_MEMORY, "no memory for %zu times", count);
    }
    int header = snprintf((char *)request, 256,
                          "POST /v1/classify HTTP/1.1\r\nHost: bench\r\nContent-Type: application/octet-stream\r\n"
                          "Content-Length: %zu\r\n\r\n",
                          image_bytes);
    err e = ERR_OK;
    for (size_t i = 0; i < WARM_UP + count && !e; i++) {
        memcpy(request + header, images + i % image_count * image_bytes, image_bytes);
        uint64_t from = clock_now_ns();
        e = net_send_all(c->socket, request, (size_t)header + image_bytes);
        e = e ? e : net_read_answer(c->socket, c->answer, sizeof c->answer);
        e = e ? e : net_check_answer(c->answer);
        took_ns[i < WARM_UP ? 0 : i - WARM_UP] = clock_now_ns() - from;
    }
    if (!e) {
        print_figures(c, took_ns, count);
    }
    free(took_ns);
    return e;
}

static err run(int argc, char **argv) {
    static client c;
    long port = argc == 5 ? atol(argv[1]) : 0, image_bytes = argc == 5 ? atol(argv[3]) : 0;
    long count = argc == 5 ? atol(argv[4]) : 0;
    if (port < 1 || port > 65535 || image_bytes < 1 || image_bytes > IMAGE_MAX || count < 1 || count > COUNT_MAX) {
        return err_fail(ERR_USAGE, "usage: lone PORT IMAGES BYTES COUNT");
    }
    uint8_t *images;
    size_t length;
    err e = file_read(argv[2], IMAGES_FILE_MAX, &images, &length);
    if (e) {
        return e;
    }
    size_t image_count = length / (size_t)image_bytes;
    e = image_count > 0 ? net_dial(port, &c.socket) : err_fail(ERR_INPUT, "%s: holds no image", argv[2]);
    e = e ? e : measure(&c, images, (size_t)image_bytes, image_count, (size_t)count);
    free(images);
    return e;
}

int main(int argc, char **argv) {
    return process_end(run(argc, argv));
}
