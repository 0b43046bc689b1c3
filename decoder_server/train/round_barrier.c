#include "decoder_server/train/round_barrier.h"

static uint64_t bit(uint32_t portion) {
    return (uint64_t)1 << portion;
}

static uint64_t all(const round_barrier *b) {
    return b->portions < 64 ? bit(b->portions) - 1 : UINT64_MAX;
}

void round_barrier_join(round_barrier *b, uint32_t portion) {
    b->here |= bit(portion);
    b->answered &= ~bit(portion);
    b->restores[portion] = 0;
}

void round_barrier_leave(round_barrier *b, uint32_t portion) {
    round_barrier_join(b, portion);
    b->here &= ~bit(portion);
}

bool round_barrier_is_here(const round_barrier *b, uint32_t portion) {
    return (b->here & bit(portion)) != 0;
}

bool round_barrier_all_here(const round_barrier *b) {
    return b->here == all(b);
}

void round_barrier_await(round_barrier *b, message_type answer) {
    b->awaited = answer;
    b->answered = 0;
    for (uint32_t k = 0; k < b->portions; k++) {
        pending_replies_begin(&b->pending, k, answer);
    }
}

bool round_barrier_awaits(const round_barrier *b, uint32_t portion, message_type answer) {
    return b->awaited == answer && !(b->answered & bit(portion));
}

bool round_barrier_answered(round_barrier *b, uint32_t portion) {
    b->answered |= bit(portion);
    pending_replies_answered(&b->pending, portion, b->awaited, false);
    return round_barrier_is_met(b);
}

bool round_barrier_is_met(const round_barrier *b) {
    return b->answered == all(b);
}

void round_barrier_forget(round_barrier *b) {
    for (uint32_t k = 0; k < b->portions; k++) {
        pending_replies_forget(&b->pending, k);
    }
}
