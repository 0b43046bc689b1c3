#include "decoder_server/http/http_api_inside.h"

#include "decoder_server/http/json_views.h"
#include "decoder_server/http/request_origin.h"

#include <stdlib.h>

/* Events. */

static void on_wanted(void *context, bool wanted) {
    http_api *api = context;
    api->config.listen(api->config.context, wanted);
}

static void on_taken(void *context) {
    http_api *api = context;
    api->config.events_taken(api->config.context);
}

static void on_resume(void *context, http_request *r) {
    (void)context;
    sse_resume(((api_request *)r->data)->subscriber);
}

void http_api_events(http_api *api, uint64_t dropped, const char *bytes, size_t length) {
    sse_add(api->sse, dropped, bytes, length);
}

void http_api_add_replay(http_api *api, const char *bytes, size_t length) {
    sse_add_replay(api->sse, bytes, length);
}

/* What comes from outside. */

void http_api_answer(http_api *api, uint64_t request, const classification *a) {
    classify_item *q = api->asked[request % REQUESTS_MAX];
    if (q && q->number == request) { /* else the client has gone */
        classify_answered(api, q, a);
    }
}

void http_api_stats(http_api *api, const stats *r) {
    api->stats = *r;
    routes_reported(api);
}

void http_api_set_ready(http_api *api, uint32_t nodes, uint32_t of) {
    api->ready_nodes = nodes;
    api->nodes = of;
}

err http_api_set_model(http_api *api, const char *model) {
    dynbuf_reset(&api->model);
    dynbuf_add_text(&api->model, model);
    return dynbuf_check(&api->model, "the model's description");
}

void http_api_stop(http_api *api) {
    api->is_stopping = true;
}

void http_api_reloaded(http_api *api, const char *text) {
    routes_reloaded(api, text);
}

/* Start and end. */

static void free_http_api(void *context) {
    http_api *api = context;
    sse_free(api->sse);
    api_request_pool_free(&api->pool);
    dynbuf_free(&api->model);
    if (api->images) {
        image_queue_close(api->images);
    }
    free(api);
}

err http_api_new(http_api **out, uv_loop_t *loop, const http_api_config *config) {
    http_api *api = calloc(1, sizeof *api);
    if (!api) {
        return err_fail(ERR_MEMORY, "no memory for the HTTP side");
    }
    api->config = *config;
    api->loop = loop;
    api->model = dynbuf_make(JSON_VIEWS_MAX);
    const http_callbacks callbacks = {routes_begin, routes_take, routes_refuse, on_resume, routes_end, api};
    const sse_callbacks listeners = {on_wanted, on_taken, api};
    err e = image_queue_new(&api->images, loop, &config->shape, &classify_images);
    e = e ? e : ui_init(&api->ui);
    e = e || !config->allowed_hosts ? e : request_origin_check_hosts(config->allowed_hosts);
    e = e ? e : http_server_new(&api->server, loop, config->host, config->port, &callbacks);
    e = e ? e : sse_new(&api->sse, loop, &listeners, config->mode == HTTP_API_TRAINS);
    if (!e) {
        *out = api;
    } else if (api->server) {
        http_server_close(api->server, free_http_api);
    } else {
        free_http_api(api);
    }
    return e;
}

uint16_t http_api_port(const http_api *api) {
    return http_server_port(api->server);
}

void http_api_close(http_api *api) {
    classification busy = {.outcome = CLASSIFICATION_BUSY};
    api->is_closing = true;
    image_queue_close(api->images);
    api->images = NULL;
    for (size_t i = 0; i < REQUESTS_MAX; i++) {
        if (api->asked[i]) {
            classify_answered(api, api->asked[i], &busy);
        }
    }
    routes_reloaded(api, "the server is stopping");
    routes_reported(api); /* with the last report there was */
    sse_end(api->sse);
    http_server *server = api->server;
    api->server = NULL;
    http_server_close(server, free_http_api);
}
