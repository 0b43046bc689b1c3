#include "decoder_server/http/gateway.h"

#include "base/log.h"
#include "decoder_server/http/image.h"
#include "decoder_server/http/reply.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { REQUESTS_MAX = 1024, IDLE_SECONDS = 10, TURN_MS = 1000, CONNECTION_BYTES = 16 * 1024 };

/* One HTTP exchange. */
typedef struct exchange {
    gateway *gateway;
    struct MHD_Connection *connection;
    bool is_asked, is_answered; /* handed on; answered (and resumed) */
    uint64_t request;
    answer answer;
    size_t length, capacity; /* of body */
    bool is_too_long;
    uint8_t body[];
} exchange;

struct gateway {
    gateway_config config;
    struct MHD_Daemon *daemon;
    uv_poll_t *poll;
    uv_timer_t *timer;
    exchange *exchanges[REQUESTS_MAX]; /* by request % REQUESTS_MAX */
    uint64_t last_request;
    uint32_t ready_nodes, nodes;
    uint8_t *sample;
    bool is_running; /* inside MHD_run */
    bool is_stopping;
};

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status, char *text) {
    if (!text) {
        return MHD_NO;
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    }
    enum MHD_Result queued = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result send_error(struct MHD_Connection *connection, unsigned status, const char *code,
                                  const char *message) {
    return send_text(connection, status, reply_error(code, message));
}

static enum MHD_Result send_answer(exchange *x) {
    switch (x->answer.outcome) {
    case ANSWER_CLASSIFIED:
        return send_text(x->connection, MHD_HTTP_OK, reply_classified(x->request, &x->answer, x->gateway->config.set));
    case ANSWER_NO_NODES:
        return send_error(x->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "no_nodes", "no node is ready");
    case ANSWER_NO_CODES:
        return send_error(x->connection, MHD_HTTP_GATEWAY_TIMEOUT, "no_codes", "no node answered by the deadline");
    case ANSWER_STOPPING:
        return send_error(x->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "stopping", "the server is stopping");
    case ANSWER_BUSY:
        break;
    }
    return send_error(x->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "busy", "too many requests are under way");
}

/* A media type, in any case of letters, with or without parameters. */
static bool is_type(const char *type, const char *wanted) {
    size_t length = strlen(wanted);
    return type && strncasecmp(type, wanted, length) == 0 && (type[length] == '\0' || strchr("; \t", type[length]));
}

/* The whole body is here: turns it into a sample and hands it on. */
static enum MHD_Result ask(exchange *x) {
    gateway *g = x->gateway;
    if (x->is_too_long) {
        return send_error(x->connection, MHD_HTTP_CONTENT_TOO_LARGE, "too_large", "the body has more than 1 MiB");
    }
    const char *type = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);
    err e;
    if (is_type(type, "image/png")) {
        e = image_from_png(x->body, x->length, &g->config.shape, g->sample);
    } else if (is_type(type, "application/octet-stream")) {
        e = image_from_raw(x->body, x->length, &g->config.shape, g->sample);
    } else {
        return send_error(x->connection, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "unsupported_type",
                          "send image/png or application/octet-stream");
    }
    if (e) {
        return send_error(x->connection, MHD_HTTP_BAD_REQUEST, "bad_image", err_text());
    }
    exchange **place = NULL;
    for (size_t tries = 0; tries < REQUESTS_MAX && (!place || *place); tries++) { /* past those that still wait */
        place = &g->exchanges[++g->last_request % REQUESTS_MAX];
    }
    if (*place) {
        return send_error(x->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "busy", "too many requests are under way");
    }
    x->request = g->last_request;
    if (g->config.classify(g->config.context, x->request, g->sample, split_sample_elements(&g->config.shape))) {
        return send_error(x->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "busy", err_text());
    }
    *place = x;
    x->is_asked = true;
    MHD_suspend_connection(x->connection);
    return MHD_YES;
}

static void take_body(exchange *x, const char *bytes, size_t *length) {
    if (*length > x->capacity - x->length) {
        x->is_too_long = true;
    } else if (!x->is_too_long) {
        memcpy(x->body + x->length, bytes, *length);
        x->length += *length;
    }
    *length = 0;
}

static bool is_path(const char *url, const char *method, const char *path, const char *wanted, enum MHD_Result *sent,
                    struct MHD_Connection *connection) {
    if (strcmp(url, path) != 0) {
        return false;
    }
    *sent = MHD_YES;
    if (strcmp(method, wanted) != 0) {
        *sent = send_error(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "method_not_allowed", "not with this method");
    }
    return true;
}

static enum MHD_Result show_state(const gateway *g, struct MHD_Connection *connection, bool ready_matters) {
    char text[64];
    bool ready = !g->is_stopping && g->nodes > 0 && g->ready_nodes == g->nodes;
    snprintf(text, sizeof text, "{\"ready\":%s,\"nodes_ready\":%u,\"nodes\":%u}", ready ? "true" : "false",
             g->ready_nodes, g->nodes);
    return send_text(connection, ready_matters && !ready ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK, strdup(text));
}

/* The size of the body buffer: what the client announces, within the cap; the cap where it does not, or where a
 * Transfer-Encoding makes the announcement void. */
static size_t body_capacity(struct MHD_Connection *connection) {
    const char *text = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    bool is_void = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    unsigned long long length = text && !is_void ? strtoull(text, NULL, 10) : GATEWAY_BODY_MAX;
    return length < GATEWAY_BODY_MAX ? (size_t)length : GATEWAY_BODY_MAX;
}

static enum MHD_Result start_exchange(gateway *g, struct MHD_Connection *connection, const char *url,
                                      const char *method, void **state) {
    enum MHD_Result sent;
    if (is_path(url, method, "/v1/classify", "POST", &sent, connection)) {
        if (strcmp(method, "POST") != 0) {
            return sent;
        }
        size_t capacity = body_capacity(connection);
        exchange *x = calloc(1, sizeof *x + capacity);
        if (!x) {
            return send_error(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "busy", "no memory");
        }
        x->gateway = g;
        x->capacity = capacity;
        x->connection = connection;
        *state = x;
        return MHD_YES;
    }
    if (is_path(url, method, "/healthz", "GET", &sent, connection)) {
        return strcmp(method, "GET") == 0 ? show_state(g, connection, false) : sent;
    }
    if (is_path(url, method, "/readyz", "GET", &sent, connection)) {
        return strcmp(method, "GET") == 0 ? show_state(g, connection, true) : sent;
    }
    return send_error(connection, MHD_HTTP_NOT_FOUND, "not_found", "there is nothing here");
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_length, void **state) {
    (void)version;
    exchange *x = *state;
    if (!x) {
        return start_exchange(context, connection, url, method, state);
    }
    if (*upload_length > 0) {
        take_body(x, upload, upload_length);
        return MHD_YES;
    }
    if (x->is_answered) {
        return send_answer(x);
    }
    return x->is_asked ? MHD_YES : ask(x);
}

static void forget(gateway *g, const exchange *x) {
    exchange **place = &g->exchanges[x->request % REQUESTS_MAX];
    if (x->is_asked && *place == x) {
        *place = NULL;
    }
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
    (void)connection, (void)code;
    exchange *x = *state;
    if (x) {
        forget(context, x);
        free(x);
        *state = NULL;
    }
}

/* The loop's side. */

static void run_daemon(gateway *g);

static void on_timer(uv_timer_t *timer) {
    run_daemon(timer->data);
}

static void run_daemon(gateway *g) {
    if (g->is_running) {
        return;
    }
    g->is_running = true;
    MHD_run(g->daemon);
    g->is_running = false;
    /* Now and then in any case: a turn that closes connections at the limit leaves the listening socket unwatched until
     * the next one. */
    MHD_UNSIGNED_LONG_LONG ms;
    bool is_due = MHD_get_timeout(g->daemon, &ms) == MHD_YES && ms < TURN_MS;
    uv_timer_start(g->timer, on_timer, is_due ? (ms ? ms : 1) : TURN_MS, 0);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    run_daemon(poll->data);
}

void gateway_answer(gateway *g, uint64_t request, const answer *a) {
    exchange *x = g->exchanges[request % REQUESTS_MAX];
    if (!x || x->request != request) {
        return; /* the client has gone */
    }
    x->answer = *a;
    x->is_answered = true;
    g->exchanges[request % REQUESTS_MAX] = NULL;
    MHD_resume_connection(x->connection);
    run_daemon(g);
}

void gateway_set_ready(gateway *g, uint32_t nodes, uint32_t of) {
    g->ready_nodes = nodes;
    g->nodes = of;
}

void gateway_stop(gateway *g) {
    g->is_stopping = true;
}

static err start_daemon(gateway *g) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(g->config.port)};
    const char *host = strcmp(g->config.host, "localhost") == 0 ? "127.0.0.1" : g->config.host;
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        return err_fail(ERR_USAGE, "--http: '%s' is no IPv4 address", g->config.host);
    }
    g->daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, g->config.port, NULL, NULL, on_request, g,
                         MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_CONNECTION_LIMIT, GATEWAY_CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t)CONNECTION_BYTES, MHD_OPTION_NOTIFY_COMPLETED, on_completed, g, MHD_OPTION_END);
    return g->daemon ? ERR_OK
                     : err_system(ERR_NETWORK, "cannot listen for HTTP on %s:%u", g->config.host, g->config.port);
}

static void free_handle(uv_handle_t *handle) {
    free(handle);
}

err gateway_new(gateway **out, uv_loop_t *loop, const gateway_config *config) {
    gateway *g = calloc(1, sizeof *g);
    uint8_t *sample = malloc(split_sample_elements(&config->shape));
    uv_poll_t *poll = malloc(sizeof *poll);
    uv_timer_t *timer = malloc(sizeof *timer);
    err e = g && sample && poll && timer ? ERR_OK : err_fail(ERR_MEMORY, "no memory for the HTTP side");
    if (!e) {
        *g = (gateway){.config = *config, .sample = sample, .poll = poll, .timer = timer};
        e = start_daemon(g);
    }
    if (e) {
        free(g);
        free(sample);
        free(poll);
        free(timer);
        return e;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(g->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    uv_poll_init(loop, poll, info->epoll_fd);
    uv_timer_init(loop, timer);
    poll->data = timer->data = g;
    uv_poll_start(poll, UV_READABLE, on_poll);
    *out = g;
    return ERR_OK;
}

uint16_t gateway_port(const gateway *g) {
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(g->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

void gateway_close(gateway *g) {
    answer busy = {.outcome = ANSWER_BUSY};
    for (size_t i = 0; i < REQUESTS_MAX; i++) {
        if (g->exchanges[i]) {
            gateway_answer(g, g->exchanges[i]->request, &busy);
        }
    }
    uv_close((uv_handle_t *)g->poll, free_handle);
    uv_close((uv_handle_t *)g->timer, free_handle);
    MHD_stop_daemon(g->daemon);
    free(g->sample);
    free(g);
}
