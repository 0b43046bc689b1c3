#include "decoder_server/http/json_question.h"

#include "data/sample_ids.h"
#include "decoder_server/http/portion_input.h"

static err take_samples(json_question *q, const json_t *ids) {
    size_t count = json_array_size(ids);
    if (count == 0) {
        return err_fail(ERR_INPUT, "\"samples\" is no list with an id in it");
    }
    if (count > JSON_QUESTION_SAMPLES_MAX) {
        return err_fail(ERR_FULL, "a request names at most %d samples, this one %zu", JSON_QUESTION_SAMPLES_MAX, count);
    }
    for (size_t i = 0; i < count; i++) {
        const char *id = json_string_value(json_array_get(ids, i));
        if (!id || !sample_id_is_valid(id)) {
            return err_fail(ERR_INPUT, "sample %zu of the list is no id: 1 to %d bytes without control characters", i,
                            SAMPLE_ID_MAX);
        }
    }
    q->samples = (uint32_t)count;
    return ERR_OK;
}

static err take_body(json_question *q) {
    const json_t *samples = json_object_get(q->root, "samples");
    q->portions = json_object_get(q->root, "portions");
    if (json_object_size(q->root) != 1 || (!samples && !q->portions)) {
        return err_fail(ERR_INPUT, "the body is no object with \"portions\" or \"samples\" alone");
    }
    if (samples) {
        return take_samples(q, samples);
    }
    return json_is_object(q->portions) ? ERR_OK : err_fail(ERR_INPUT, "\"portions\" is no object");
}

err json_question_read(json_question *q, span body) {
    json_error_t problem;
    *q = (json_question){0};
    if (portion_input_check_json(body.length)) {
        return ERR_FULL;
    }
    *q = (json_question){.root = json_loadb(body.at ? body.at : "", body.length, JSON_REJECT_DUPLICATES, &problem)};
    if (!q->root) {
        return err_fail(ERR_INPUT, "the body is no JSON: line %d, column %d: %s", problem.line, problem.column,
                        problem.text);
    }
    return take_body(q);
}

void json_question_free(json_question *q) {
    json_decref(q->root);
    *q = (json_question){0};
}

const char *json_question_sample(const json_question *q, uint32_t index) {
    return json_string_value(json_array_get(json_object_get(q->root, "samples"), index));
}
