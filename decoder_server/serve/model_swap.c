#include "decoder_server/serve/model_swap.h"

void model_swap_begin(model_swap *s, uint64_t step, uint64_t until_ns) {
    /* The step, or the next number that is not taken: 0 is none. */
    uint32_t number = (uint32_t)step;
    while (number == 0 || number == s->numbers[s->active] || number == s->gone) {
        number++;
    }
    s->numbers[model_swap_other(s)] = number;
    s->stage = MODEL_SWAP_PREPARING;
    s->until_ns = until_ns;
    s->first = 0;
}

void model_swap_asked(model_swap *s, uint32_t portion) {
    s->asked[portion]++;
    s->prepared &= ~((uint64_t)1 << portion);
}

void model_swap_forget(model_swap *s, uint32_t portion) {
    s->asked[portion] = 0;
}

bool model_swap_prepared(model_swap *s, uint32_t portion, uint32_t number, uint64_t next, bool has_failed) {
    s->asked[portion]--;
    if (s->stage != MODEL_SWAP_PREPARING || s->asked[portion] > 0 || number != s->numbers[model_swap_other(s)]) {
        return false;
    }
    if (!has_failed) {
        s->prepared |= (uint64_t)1 << portion;
        s->first = next > s->first ? next : s->first;
    }
    return true;
}

void model_swap_give_up(model_swap *s) {
    s->stage = MODEL_SWAP_NONE;
}

static model_swap_action poll_preparing(model_swap *s, uint64_t awaited, uint64_t now_ns, uint64_t until_ns) {
    if ((awaited & ~s->prepared) == 0) {
        s->active = model_swap_other(s);
        s->stage = MODEL_SWAP_ENDING;
        s->until_ns = until_ns;
        s->is_told = false;
        return MODEL_SWAP_SWITCH;
    }
    if (now_ns < s->until_ns) {
        return MODEL_SWAP_WAIT;
    }
    model_swap_give_up(s);
    return MODEL_SWAP_GIVE_UP;
}

model_swap_action model_swap_poll(model_swap *s, uint64_t awaited, bool has_ended, uint64_t now_ns, uint64_t until_ns) {
    if (s->stage == MODEL_SWAP_PREPARING) {
        return poll_preparing(s, awaited, now_ns, until_ns);
    }
    if (s->stage == MODEL_SWAP_NONE) {
        return MODEL_SWAP_WAIT;
    }
    if (!s->is_told && (has_ended || now_ns >= s->until_ns)) {
        s->is_told = true; /* one far behind: its samples' deadlines have passed */
        return MODEL_SWAP_TELL_OVER;
    }
    if (!has_ended) {
        return MODEL_SWAP_WAIT;
    }
    s->gone = s->numbers[model_swap_other(s)];
    s->stage = MODEL_SWAP_NONE;
    return MODEL_SWAP_RELEASE;
}

uint64_t model_swap_next_ns(const model_swap *s) {
    bool is_timed = s->stage == MODEL_SWAP_PREPARING || (s->stage == MODEL_SWAP_ENDING && !s->is_told);
    return is_timed ? s->until_ns : UINT64_MAX;
}

bool model_swap_find(const model_swap *s, uint32_t number, uint8_t *model) {
    *model = number == s->numbers[s->active] ? s->active : model_swap_other(s);
    return *model == s->active || (s->stage == MODEL_SWAP_ENDING && number == s->numbers[*model]);
}
