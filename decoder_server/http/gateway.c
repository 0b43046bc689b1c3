#include "decoder_server/http/gateway_inside.h"

#include "decoder_server/http/site.h"

#include <stdlib.h>

/* Events. */

static void on_wanted(void *context, bool wanted) {
    gateway *g = context;
    g->config.listen(g->config.context, wanted);
}

static void on_taken(void *context) {
    gateway *g = context;
    g->config.events_taken(g->config.context);
}

static void on_resume(void *context, http_request *r) {
    (void)context;
    events_resume(((exchange *)r->mark)->listener);
}

void gateway_events(gateway *g, uint64_t dropped, const char *bytes, size_t length) {
    events_add(g->events, dropped, bytes, length);
}

void gateway_greet(gateway *g, const char *bytes, size_t length) {
    events_greet(g->events, bytes, length);
}

/* What comes from outside. */

void gateway_answer(gateway *g, uint64_t request, const answer *a) {
    question *q = g->asked[request % REQUESTS_MAX];
    if (q && q->number == request) { /* else the client has gone */
        classify_answered(g, q, a);
    }
}

void gateway_report(gateway *g, const report *r) {
    g->report = *r;
    routes_reported(g);
}

void gateway_set_ready(gateway *g, uint32_t nodes, uint32_t of) {
    g->ready_nodes = nodes;
    g->nodes = of;
}

err gateway_set_model(gateway *g, const char *model) {
    text_reset(&g->model);
    text_add(&g->model, model);
    return g->model.has_failed ? err_fail(ERR_MEMORY, "no memory for the model's description") : ERR_OK;
}

void gateway_stop(gateway *g) {
    g->is_stopping = true;
}

void gateway_reloaded(gateway *g, const char *text) {
    routes_reloaded(g, text);
}

/* Start and end. */

static void free_gateway(void *context) {
    gateway *g = context;
    events_free(g->events);
    exchange_pool_free(&g->pool);
    text_free(&g->model);
    if (g->images) {
        image_queue_close(g->images);
    }
    free(g);
}

err gateway_new(gateway **out, uv_loop_t *loop, const gateway_config *config) {
    gateway *g = calloc(1, sizeof *g);
    if (!g) {
        return err_fail(ERR_MEMORY, "no memory for the HTTP side");
    }
    g->config = *config;
    g->loop = loop;
    const http_host host = {routes_begin, routes_take, routes_refuse, on_resume, routes_end, g};
    const events_host listeners = {on_wanted, on_taken, g};
    err e = image_queue_new(&g->images, loop, &config->shape, &classify_images);
    e = e ? e : page_init(&g->page);
    e = e || !config->allowed_hosts ? e : site_check_list(config->allowed_hosts);
    e = e ? e : http_server_new(&g->server, loop, config->host, config->port, &host);
    e = e ? e : events_new(&g->events, loop, &listeners, config->mode == GATEWAY_TRAINS);
    if (!e) {
        *out = g;
    } else if (g->server) {
        http_server_close(g->server, free_gateway);
    } else {
        free_gateway(g);
    }
    return e;
}

uint16_t gateway_port(const gateway *g) {
    return http_server_port(g->server);
}

void gateway_close(gateway *g) {
    answer busy = {.outcome = ANSWER_BUSY};
    g->is_closing = true;
    image_queue_close(g->images);
    g->images = NULL;
    for (size_t i = 0; i < REQUESTS_MAX; i++) {
        if (g->asked[i]) {
            classify_answered(g, g->asked[i], &busy);
        }
    }
    routes_reloaded(g, "the server is stopping");
    routes_reported(g); /* with the last report there was */
    events_end(g->events);
    http_server *server = g->server;
    g->server = NULL;
    http_server_close(server, free_gateway);
}
