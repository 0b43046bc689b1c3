#include "decoder_server/core/pending_replies.h"

#include <stdio.h>

void pending_replies_read_clock(pending_replies *o, uint64_t now_ns) {
    uint64_t passed = now_ns > o->read_ns ? now_ns - o->read_ns : 0;
    o->now_ns += o->rests ? 0 : passed < PENDING_REPLIES_STEP_NS ? passed : PENDING_REPLIES_STEP_NS;
    o->rests = false;
    o->read_ns = now_ns;
}

void pending_replies_begin(pending_replies *o, uint32_t portion, message_type answer) {
    pending_replies_node *n = &o->nodes[portion];
    if (!(n->types >> answer & 1)) {
        n->types |= 1u << answer;
        n->since_ns[answer] = o->now_ns;
    }
}

void pending_replies_answered(pending_replies *o, uint32_t portion, message_type answer, bool others) {
    pending_replies_node *n = &o->nodes[portion];
    n->types &= ~(1u << answer);
    n->answered_ns = o->now_ns;
    if (others) {
        pending_replies_begin(o, portion, answer);
    }
}

void pending_replies_forget(pending_replies *o, uint32_t portion) {
    o->nodes[portion].types = 0;
}

bool pending_replies_for_ns(const pending_replies *o, uint32_t portion, uint64_t *ns, message_type *answer) {
    const pending_replies_node *n = &o->nodes[portion];
    *ns = 0;
    *answer = MESSAGE_PING;
    for (uint32_t left = n->types; left > 0; left &= left - 1) {
        uint32_t type = (uint32_t)__builtin_ctz(left);
        uint64_t owed_ns = o->now_ns - n->since_ns[type];
        if (left == n->types || owed_ns > *ns) {
            *ns = owed_ns;
            *answer = (message_type)type;
        }
    }
    return n->types != 0;
}

bool pending_replies_take_overdue(pending_replies *o, uint32_t portion, uint64_t timeout_ns,
                                  char text[PENDING_REPLIES_TEXT_MAX]) {
    message_type answer;
    uint64_t owed_ns;
    if (!pending_replies_for_ns(o, portion, &owed_ns, &answer) || owed_ns < timeout_ns) {
        return false;
    }
    snprintf(text, PENDING_REPLIES_TEXT_MAX, "its %s has not come within %.3g s (--answer-timeout)",
             message_name((uint8_t)answer), (double)timeout_ns * 1e-9);
    o->nodes[portion].timeouts++;
    pending_replies_forget(o, portion);
    return true;
}

bool pending_replies_rests(pending_replies *o, uint32_t portions) {
    uint32_t k = 0;
    while (k < portions && o->nodes[k].types == 0) {
        k++;
    }
    o->rests = k == portions;
    return o->rests;
}

void pending_replies_stats(const pending_replies *o, uint32_t portion, stats_node *n) {
    message_type answer;
    const pending_replies_node *node = &o->nodes[portion];
    uint64_t owed_ns;
    n->owes = pending_replies_for_ns(o, portion, &owed_ns, &answer) ? message_name((uint8_t)answer) : NULL;
    n->owed_seconds = (double)owed_ns * 1e-9;
    n->answered_seconds = node->answered_ns > 0 ? (double)(o->now_ns - node->answered_ns) * 1e-9 : -1;
    n->timeouts = node->timeouts;
}
