#include "decoder_server/serve/on_demand.h"

#include <stdio.h>

static void ask(on_demand *o, uint64_t id, uint32_t portion, const question *q, const engine_host *host) {
    Fewbit__Request request = FEWBIT__REQUEST__INIT;
    request.id = id;
    if (q->sample) {
        request.sample = (char *)(uintptr_t)q->sample;
    } else {
        const question_portion *p = &q->portions[portion];
        request.portion = (ProtobufCBinaryData){p->length, (uint8_t *)(uintptr_t)p->bytes};
        request.format = p->format;
    }
    on_demand_count_frame(o, id, TRAFFIC_OUT, message_frame_size(&request.base));
    engine_host_send(host, portion, MESSAGE_REQUEST, &request.base);
}

void on_demand_ask(on_demand *o, uint64_t id, const question *q, responders *responders, const engine_host *host) {
    for (uint64_t left = on_demand_find(o, id)->asked; left > 0; left &= left - 1) {
        uint32_t portion = (uint32_t)__builtin_ctzll(left);
        ask(o, id, portion, q, host);
        responders_asked(responders, portion);
    }
}

void on_demand_refuse(uint64_t request, classification_outcome outcome, const engine_host *host) {
    classification c = {.outcome = outcome};
    host->answer(host->context, request, &c);
}

bool on_demand_take_error(on_demand *o, uint32_t portion, const Fewbit__RequestError *error, assembler *samples,
                          const engine_host *host, assembler_sample *out) {
    on_demand_request *r = on_demand_find(o, error->id);
    if (!r->waits || r->id != error->id) {
        return false; /* too late, or of a probe */
    }
    assembler_outcome outcome = assembler_skip(samples, error->id, portion, out);
    if (outcome == ASSEMBLER_IGNORED) {
        return false;
    }
    on_demand_count_frame(o, error->id, TRAFFIC_IN, message_frame_size(&error->base));
    r->asked &= ~((uint64_t)1 << portion);
    if (error->problem != FEWBIT__REQUEST_PROBLEM__PROBLEM_UNKNOWN_SAMPLE && !r->is_refused) {
        classification c = {.outcome = CLASSIFICATION_REFUSED};
        snprintf(c.text, sizeof c.text, "%s", error->text);
        r->is_refused = true;
        host->answer(host->context, r->request, &c);
    }
    return outcome == ASSEMBLER_COMPLETE;
}

bool on_demand_end(on_demand *o, const assembler_sample *sample, const engine_host *host) {
    on_demand_request *r = on_demand_find(o, sample->id);
    if (sample->have > 0 && !r->is_refused) {
        return true;
    }
    r->waits = false;
    if (!r->is_refused) { /* where each of those that were asked has said so, nobody has the sample */
        on_demand_refuse(r->request, r->asked == 0 ? CLASSIFICATION_UNKNOWN_SAMPLE : CLASSIFICATION_TIMEOUT, host);
    }
    return false;
}
