#include "decoder_server/train/refinement_eval.h"

#include "base/json.h"
#include "bits/pack.h"
#include "experiment/derive.h"
#include "wire/id_set.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Tried where the experiment names none: never, more and more often, always. */
static const float usual[] = {0,     0.4f,  0.5f,  0.6f,  0.65f, 0.7f,  0.75f,  0.8f,  0.825f, 0.85f,  0.875f, 0.9f,
                              0.92f, 0.94f, 0.95f, 0.96f, 0.97f, 0.98f, 0.985f, 0.99f, 0.995f, 0.998f, 0.999f, 1.1f};

/* Of all samples so far, what one threshold alone sends. */
typedef struct tally {
    uint64_t correct, asked, payload_bits, up_bytes, down_bytes;
} tally;

struct refinement_eval {
    head_trainer *trainer;
    codeword layout;
    uint32_t count; /* of thresholds */
    float thresholds[EXPERIMENT_THRESHOLDS_MAX];
    tally tallies[EXPERIMENT_THRESHOLDS_MAX];
    uint64_t samples;
    /* of the batch */
    uint64_t first;
    size_t rows;
    uint32_t threshold; /* that is under way, from 0 */
    tally codes_sent;   /* the first stage of all portions */
    bool is_judged;     /* by the first stage */
    uint32_t picked;    /* samples that were asked for, 0: none; of stage `stage` */
    uint32_t stage;
    uint32_t places[ID_SET_MAX]; /* of them, among the rows */
    uint64_t ids[ID_SET_MAX];
    id_set id_set;
    float confidences[ID_SET_MAX];
    uint8_t classes[ID_SET_MAX], reached[ID_SET_MAX]; /* `reached`: the last stage that is here */
    float *codes;                                     /* [ID_SET_MAX, portions * bits] */
    float *unsure;                                    /* the same, of the picked ones */
};

err refinement_eval_new(refinement_eval **out, const experiment *e, head_trainer *s) {
    codeword layout = experiment_codeword(e);
    *out = NULL;
    if (layout.stages == 1) {
        return ERR_OK;
    }
    refinement_eval *t = calloc(1, sizeof *t);
    size_t numbers = (size_t)ID_SET_MAX * codeword_bits(&layout);
    if (t) {
        t->codes = malloc(numbers * sizeof *t->codes);
        t->unsure = malloc(numbers * sizeof *t->unsure);
    }
    if (!t || !t->codes || !t->unsure) {
        refinement_eval_free(t);
        return err_fail(ERR_MEMORY, "no memory to evaluate %u stages", layout.stages);
    }
    t->trainer = s;
    t->layout = layout;
    t->count = e->refinement.thresholds_count ? e->refinement.thresholds_count : sizeof usual / sizeof usual[0];
    memcpy(t->thresholds, e->refinement.thresholds_count ? e->refinement.thresholds : usual, t->count * sizeof(float));
    *out = t;
    return ERR_OK;
}

void refinement_eval_free(refinement_eval *t) {
    if (t) {
        free(t->codes);
        free(t->unsure);
        free(t);
    }
}

void refinement_eval_start(refinement_eval *t) {
    memset(t->tallies, 0, sizeof t->tallies);
    t->samples = 0;
}

void refinement_eval_begin(refinement_eval *t, uint64_t first, size_t rows) {
    t->first = first;
    t->rows = rows;
    t->threshold = t->picked = t->stage = 0;
    t->codes_sent = (tally){0};
    t->is_judged = false;
    memset(t->reached, 0, sizeof t->reached);
}

/* A portion's part of one row: `width` bits of a stream become the bits of a stage. */
static void place(refinement_eval *t, uint32_t portion, size_t row, const uint8_t *bits, size_t at) {
    const codeword *c = &t->layout;
    uint32_t width = refinement_width(&c->portion[portion], t->stage);
    float *to = t->codes + row * codeword_bits(c) + c->offset[portion] + c->portion[portion].upto[t->stage] - width;
    uint64_t code = pack_get(bits, at * width, width);
    for (uint32_t bit = 0; bit < width; bit++) {
        to[bit] = (float)(code >> bit & 1);
    }
}

size_t refinement_eval_bits(const refinement_eval *t, uint32_t portion) {
    return (t->is_judged ? t->picked : t->rows) * refinement_width(&t->layout.portion[portion], t->stage);
}

bool refinement_eval_take_codes(refinement_eval *t, uint32_t portion, const Fewbit__Codes *codes) {
    size_t bits = refinement_eval_bits(t, portion);
    if (t->is_judged || (uint64_t)codes->more + 1 != t->rows || codes->bits.len != pack_bytes(bits) ||
        !pack_tail_is_clear(codes->bits.data, bits)) {
        return false;
    }
    for (size_t row = 0; row < t->rows; row++) {
        place(t, portion, row, codes->bits.data, row);
    }
    t->codes_sent.payload_bits += bits;
    t->codes_sent.up_bytes += message_frame_size(&codes->base);
    return true;
}

bool refinement_eval_take_refinement(refinement_eval *t, uint32_t portion, const Fewbit__Refinement *added) {
    size_t bits = refinement_eval_bits(t, portion);
    if (t->picked == 0 || added->stage != t->stage || added->first != t->ids[0] || added->n_gone > 0 ||
        added->bits.len != pack_bytes(bits) || !pack_tail_is_clear(added->bits.data, bits)) {
        return false;
    }
    for (uint32_t i = 0; i < t->picked; i++) {
        place(t, portion, t->places[i], added->bits.data, i);
    }
    return true;
}

/* The answers to the first stage of all, or to what the picked ones have had since. */
static void judge(refinement_eval *t) {
    size_t width = codeword_bits(&t->layout);
    if (!t->is_judged) {
        for (size_t row = 0; row < t->rows; row++) {
            refinement_batch_hide(&t->layout, 0, t->codes + row * width);
        }
        head_trainer_predict(t->trainer, t->codes, t->rows, t->confidences, t->classes);
        t->is_judged = true;
        return;
    }
    float confidences[ID_SET_MAX];
    uint8_t classes[ID_SET_MAX];
    for (uint32_t i = 0; i < t->picked; i++) {
        memcpy(t->unsure + i * width, t->codes + t->places[i] * width, width * sizeof(float));
    }
    head_trainer_predict(t->trainer, t->unsure, t->picked, confidences, classes);
    for (uint32_t i = 0; i < t->picked; i++) {
        uint32_t row = t->places[i];
        t->confidences[row] = confidences[i];
        t->classes[row] = classes[i];
        t->reached[row] = (uint8_t)t->stage;
    }
    t->picked = 0;
}

/* Those that have had `stage` - 1 and are not sure enough. */
static void pick(refinement_eval *t, uint32_t stage) {
    t->picked = 0;
    t->stage = stage;
    for (uint32_t row = 0; row < t->rows; row++) {
        if (t->reached[row] + 1u == stage && t->confidences[row] < t->thresholds[t->threshold]) {
            t->places[t->picked] = row;
            t->ids[t->picked++] = t->first + row;
        }
    }
}

/* What asking for a stage would cost, were every row that has had it asked for at once: a threshold alone does so,
 * while here the lower ones have asked for a part of them already. */
static void add_stage(refinement_eval *t, uint32_t stage, Fewbit__RefineRequest ask, tally *to) {
    uint64_t ids[ID_SET_MAX];
    size_t count = 0;
    for (uint32_t row = 0; row < t->rows; row++) {
        if (t->reached[row] >= stage) {
            ids[count++] = t->first + row;
        }
    }
    if (count == 0) {
        return;
    }
    ask.stage = stage;
    id_set_put(&t->id_set, ids, count, &ask);
    Fewbit__Refinement added = FEWBIT__REFINEMENT__INIT;
    added.stage = stage;
    added.first = ids[0];
    for (uint32_t k = 0; k < t->layout.portions; k++) {
        size_t bits = count * refinement_width(&t->layout.portion[k], stage);
        added.bits.len = pack_bytes(bits);
        to->payload_bits += bits;
        to->up_bytes += message_frame_size(&added.base);
        to->down_bytes += message_frame_size(&ask.base);
    }
}

/* What the threshold has come to. */
static void add_up(refinement_eval *t, const uint8_t *labels, const Fewbit__RefineRequest *ask) {
    tally *to = &t->tallies[t->threshold];
    for (size_t row = 0; row < t->rows; row++) {
        to->correct += t->classes[row] == labels[row];
        to->asked += t->reached[row] > 0;
    }
    to->payload_bits += t->codes_sent.payload_bits;
    to->up_bytes += t->codes_sent.up_bytes;
    for (uint32_t stage = 1; stage < t->layout.stages; stage++) {
        add_stage(t, stage, *ask, to);
    }
}

bool refinement_eval_next(refinement_eval *t, const uint8_t *labels, Fewbit__RefineRequest *ask) {
    judge(t);
    for (; t->threshold < t->count; t->threshold++) {
        for (uint32_t stage = 1; stage < t->layout.stages; stage++) {
            pick(t, stage);
            if (t->picked > 0) {
                ask->stage = stage;
                id_set_put(&t->id_set, t->ids, t->picked, ask);
                return true;
            }
        }
        add_up(t, labels, ask);
    }
    t->samples += t->rows;
    return false;
}

json_t *refinement_eval_json(const refinement_eval *t) {
    json_t *list = json_array();
    double samples = t->samples ? (double)t->samples : 1;
    for (uint32_t i = 0; i < t->count; i++) {
        const tally *of = &t->tallies[i];
        json_t *one =
            json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "confidence", round((double)t->thresholds[i] * 1e6) / 1e6,
                      "accuracy", 100 * (double)of->correct / samples, "bits", (double)of->payload_bits / samples,
                      "asked", (double)of->asked / samples, "bits_up", 8 * (double)of->up_bytes / samples, "bits_down",
                      8 * (double)of->down_bytes / samples);
        json_list_add(&list, one);
    }
    return list;
}
