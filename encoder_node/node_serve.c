#include "encoder_node/node_serve.h"

#include "base/log_limit.h"

#include <inttypes.h>

/* Models. */

void node_serve_drop_next(node_serve *s) {
    encoder_model_free(s->next);
    s->next = NULL;
    s->is_switching = false;
}

void node_serve_set_model(node_serve *s, encoder_model *m) {
    node_serve_drop_next(s);
    encoder_model_free(s->model);
    s->model = m;
}

void node_serve_free(node_serve *s) {
    node_serve_set_model(s, NULL);
}

/* The model to come is the one in use. */
static void end_switch(node_serve *s) {
    encoder_model_free(s->model);
    s->model = s->next;
    s->initial_stages = s->next_initial_stages;
    s->next = NULL;
    s->is_switching = false;
}

void node_serve_disconnected(node_serve *s) {
    s->request_count = 0; /* nobody waits any more */
    if (s->is_switching) {
        end_switch(s);
    }
    node_serve_drop_next(s);
    s->is_ready = false;
    s->stream.has_begun = s->stream.is_held = s->stream.is_outside = false; /* the server will say anew */
}

void node_serve_restored(node_serve *s) {
    const node_stream *t = &s->stream;
    Fewbit__Ready ready = FEWBIT__READY__INIT;
    s->streamed = s->acked = 0;
    s->is_ready = true;
    ready.step = encoder_model_get_info(s->model)->step;
    ready.stream = !t->exists   ? FEWBIT__STREAM__STREAM_NONE
                   : t->is_over ? FEWBIT__STREAM__STREAM_ENDED
                                : FEWBIT__STREAM__STREAM_NEW;
    ready.session = t->session;
    ready.next = t->next;
    if (s->offered) {
        ready.n_samples = s->offered->count;
        ready.samples = (char **)(uintptr_t)s->offered->ids;
    }
    node_host_send(&s->sender->host, MESSAGE_READY, &ready.base);
}

static err load_next(node_serve *s, const Fewbit__Prepare *p, const encoder_model_config *config) {
    experiment described;
    encoder_model_config with = *config;
    err e = encoder_model_check(p->experiment, config->data, &described);
    if (!e && with.max_memory > 0) { /* both are there at a time */
        size_t here = encoder_model_bytes(s->model);
        with.max_memory = here < with.max_memory ? with.max_memory - here : 1;
    }
    e = e ? e : encoder_model_new(&s->next, &described, &with);
    e = e ? e : encoder_model_load(s->next, p->step, p->digest.len == SHA256_BYTES ? p->digest.data : NULL);
    e = e ? e : code_sender_take_stages(s->sender, s->next, p->stages, &s->next_initial_stages);
    if (e) {
        node_serve_drop_next(s);
        return e;
    }
    encoder_model_set_number(s->next, p->model);
    return ERR_OK;
}

err node_serve_prepare(node_serve *s, const Fewbit__Prepare *p, const encoder_model_config *config) {
    if (s->next && !s->is_switching) {
        return node_host_out_of_turn("Prepare");
    }
    if (s->is_switching) {
        end_switch(s);
    }
    Fewbit__Prepared prepared = FEWBIT__PREPARED__INIT;
    prepared.model = p->model;
    prepared.next = s->stream.next;
    if (load_next(s, p, config)) {
        log_limited(LOG_ERROR, "model_load_failed", 0, "the model to come cannot be loaded: %s", err_text());
        prepared.error = (char *)(uintptr_t)err_text();
    }
    node_host_send(&s->sender->host, MESSAGE_PREPARED, &prepared.base);
    return ERR_OK;
}

err node_serve_switch(node_serve *s, const Fewbit__Switch *to) {
    bool is_back = to->model == encoder_model_number(s->model);
    if (!is_back && (!s->next || to->model != encoder_model_number(s->next))) {
        return node_host_out_of_turn("Switch");
    }
    if (is_back) {
        node_serve_drop_next(s);
        return ERR_OK;
    }
    if (!s->is_switching) {
        log_limited(LOG_INFO, "model_changing", 0, "changing to step %" PRIu64 " of run %016" PRIx64,
                    encoder_model_get_info(s->next)->step, encoder_model_get_info(s->next)->run);
    }
    s->is_switching = true;
    s->switch_from = to->from;
    if (s->stream.next >= to->from) {
        end_switch(s);
    }
    return ERR_OK;
}

/* Requests. */

void node_serve_request(node_serve *s, const Fewbit__Request *r) {
    Fewbit__RequestProblem problem;
    const void *values = request_input_take(s->input, r, &problem);
    if (!values) {
        Fewbit__RequestError error = FEWBIT__REQUEST_ERROR__INIT;
        error.id = r->id;
        error.problem = problem;
        error.text = (char *)(uintptr_t)err_text();
        node_host_send(&s->sender->host, MESSAGE_REQUEST_ERROR, &error.base);
        return;
    }
    s->request_model = s->is_switching ? s->next : s->model;
    encoder_model_load_inputs(s->request_model, s->request_count, values, 1);
    s->request_ids[s->request_count++] = r->id;
    if (s->request_count == NODE_SERVE_REQUESTS ||
        s->request_count == encoder_model_get_info(s->request_model)->net_rows) {
        node_serve_flush(s);
    }
}

void node_serve_flush(node_serve *s) {
    if (s->request_count == 0) {
        return;
    }
    encoder_model *m = s->request_model;
    uint32_t stages = m == s->next ? s->next_initial_stages : s->initial_stages;
    encoder_model_evaluate(m, 0, s->request_count);
    for (uint32_t i = 0; i < s->request_count; i++) {
        const float *soft = encoder_model_soft(m) + (size_t)i * encoder_model_get_info(m)->bits;
        code_sender_send(s->sender, m, MESSAGE_ANSWER, s->request_ids[i], soft, 1, stages);
    }
    s->request_count = 0;
}

/* The stream. */

static bool keeps_stages_back(const node_serve *s) {
    return s->initial_stages < encoder_model_get_info(s->model)->refinement.count;
}

void node_serve_ack(node_serve *s, const Fewbit__Ack *a) {
    uint64_t most = s->streamed - s->acked; /* untrusted */
    s->acked += a->samples < most ? a->samples : most;
}

err node_serve_begin(node_serve *s, const Fewbit__Begin *b) {
    node_stream *t = &s->stream;
    bool is_known = t->session != 0;
    if (b->session == 0 || (is_known && (b->session != t->session || b->first != t->next))) {
        return node_host_out_of_turn("Begin");
    }
    if (!is_known && t->exists) {
        t->session = b->session;
        t->next = b->first;
        log_limited(LOG_INFO, "stream_session_began", 0, "streaming in session %" PRIx64 ", from sample %" PRIu64 " on",
                    t->session, t->next);
    }
    t->has_begun = true;
    t->is_held = t->is_outside = false;
    return ERR_OK;
}

void node_serve_hold(node_serve *s, const Fewbit__StreamHold *h) {
    if (h->outside && !s->stream.is_outside) {
        log_limited(LOG_WARN, "stream_refused", 0, "nothing is streamed: %s", h->text);
    }
    s->stream.is_outside = h->outside;
    s->stream.is_held = h->held;
}

bool node_serve_may_stream(const node_serve *s) {
    const node_stream *t = &s->stream;
    bool may_send = t->exists && t->has_begun && !t->is_over && !t->is_held;
    if (!s->is_ready || !may_send || (s->next && !s->is_switching)) {
        return false;
    }
    return !keeps_stages_back(s) || s->streamed <= s->acked + (REFINEMENT_BUFFER_STREAMED - NODE_SERVE_ROWS);
}

void node_serve_end_stream(node_serve *s) {
    bool is_news = s->stream.has_begun && !s->stream.is_over;
    s->stream.is_over = true;
    if (is_news) {
        Fewbit__StreamEnd over = FEWBIT__STREAM_END__INIT;
        node_host_send(&s->sender->host, MESSAGE_STREAM_END, &over.base);
    }
}

bool node_serve_may_be_refined(const node_serve *s) {
    return s->is_ready && s->sender->refinements && keeps_stages_back(s) && s->acked < s->streamed;
}

static void encode_and_send(node_serve *s, const uint8_t *portions, uint32_t count) {
    encoder_model *m = s->model;
    for (size_t done = 0, piece; done < count; done += piece) {
        piece = encoder_model_piece(m, count - done);
        encoder_model_load_inputs(m, 0, portions + done * encoder_model_get_info(m)->bytes, piece);
        encoder_model_evaluate(m, done, piece);
    }
    code_sender_send(s->sender, m, MESSAGE_CODES, s->stream.next, encoder_model_soft(m), count, s->initial_stages);
    s->stream.next += count;
    s->streamed += count;
}

void node_serve_stream(node_serve *s, const uint8_t *portions, uint32_t count) {
    node_serve_flush(s);
    if (s->is_switching && s->stream.next < s->switch_from) {
        uint64_t left = s->switch_from - s->stream.next;
        uint32_t before = left < count ? (uint32_t)left : count;
        encode_and_send(s, portions, before);
        portions += before * encoder_model_get_info(s->model)->bytes;
        count -= before;
    }
    if (s->is_switching && s->stream.next >= s->switch_from) {
        end_switch(s);
    }
    if (count > 0) {
        encode_and_send(s, portions, count);
    }
}

/* What takes how long. */

double node_serve_flush_macs(const node_serve *s) {
    return s->request_count > 0 ? s->request_count * encoder_model_get_info(s->request_model)->macs : 0;
}

double node_serve_request_macs(const node_serve *s) {
    const encoder_model *m = s->is_switching ? s->next : s->model;
    uint32_t count = s->request_count + 1;
    bool is_due = m && (count == NODE_SERVE_REQUESTS || count == encoder_model_get_info(m)->net_rows);
    return is_due ? count * encoder_model_get_info(m)->macs : 0;
}

double node_serve_stream_macs(const node_serve *s, uint32_t count) {
    return s->model ? count * encoder_model_get_info(s->model)->macs + node_serve_flush_macs(s) : 0;
}
