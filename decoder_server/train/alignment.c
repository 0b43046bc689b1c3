#include "decoder_server/train/alignment.h"

#include <stdlib.h>

typedef struct picker {
    alignment *a;
    const alignment_rule *rule;
    const uint64_t *have;
    uint32_t count; /* kept so far */
} picker;

static uint64_t all_portions(const alignment_rule *rule) {
    return rule->portions < 64 ? ((uint64_t)1 << rule->portions) - 1 : UINT64_MAX;
}

/* Keeps those of samples `first` to `end` - 1 that are complete, or those that are not and have enough portions. */
static void pick(picker *p, uint32_t first, uint32_t end, bool complete, bool incomplete) {
    uint64_t all = all_portions(p->rule);
    for (uint32_t i = first; i < end; i++) {
        bool is_complete = p->have[i] == all;
        bool is_enough = (uint32_t)__builtin_popcountll(p->have[i]) >= p->rule->min_portions;
        if (is_complete ? complete : incomplete && is_enough) {
            p->a->numbers[p->count] = i;
            p->a->have[p->count++] = p->have[i];
        }
    }
}

static uint32_t count_complete(const alignment *a, const alignment_rule *rule, uint32_t count) {
    uint32_t complete = 0;
    for (uint32_t i = 0; i < count; i++) {
        complete += a->have[i] == all_portions(rule);
    }
    return complete;
}

err alignment_new(alignment *a, const alignment_rule *rule, const uint64_t *have) {
    uint32_t train = rule->samples[DATASET_TRAIN], all = train + rule->samples[DATASET_TEST];
    uint32_t held_back = rule->validation < train ? rule->validation : train;
    *a = (alignment){.numbers = malloc(all * sizeof *a->numbers + 1), .have = malloc(all * sizeof *a->have + 1)};
    if (!a->numbers || !a->have) {
        alignment_free(a);
        return err_fail(ERR_MEMORY, "no memory to align %u samples", all);
    }
    picker p = {a, rule, have, 0};
    pick(&p, 0, train - held_back, true, true);
    uint32_t trained = p.count;
    pick(&p, train - held_back, train, true, false);
    a->samples[DATASET_TRAIN] = p.count;
    a->validation = p.count - trained;
    a->complete = count_complete(a, rule, trained);
    pick(&p, train, all, true, false);
    a->complete_test = p.count - a->samples[DATASET_TRAIN];
    pick(&p, train, all, false, true);
    a->samples[DATASET_TEST] = p.count - a->samples[DATASET_TRAIN];
    return ERR_OK;
}

void alignment_free(alignment *a) {
    free(a->numbers);
    free(a->have);
    *a = (alignment){0};
}

err alignment_check(const alignment *a, const alignment_rule *rule, uint32_t batch_size) {
    uint32_t trained = a->samples[DATASET_TRAIN] - a->validation;
    const char *of_whom = rule->min_portions < rule->portions ? "" : "all portions and ";
    if (trained < batch_size && !alignment_is_identity(a, rule)) {
        return err_fail(ERR_INPUT,
                        "%u training samples are common to %sthe labels, by their ids: fewer than a batch of %u",
                        trained, of_whom, batch_size);
    }
    if (rule->validation > 0 && a->validation == 0) {
        return err_fail(ERR_INPUT, "none of the %u samples held back is common to all portions, by their ids",
                        rule->validation);
    }
    if (a->complete_test == 0) {
        return err_fail(ERR_INPUT, "none of the %u test samples is common to all portions, by their ids",
                        rule->samples[DATASET_TEST]);
    }
    return ERR_OK;
}

bool alignment_is_identity(const alignment *a, const alignment_rule *rule) {
    uint32_t kept = a->samples[DATASET_TRAIN] + a->samples[DATASET_TEST];
    return kept == rule->samples[DATASET_TRAIN] + rule->samples[DATASET_TEST] && count_complete(a, rule, kept) == kept;
}
