#include "decoder_server/core/data_check.h"

#include "experiment/derive.h"

#include <stdio.h>
#include <string.h>

static bool take_text(char *to, size_t size, const char *from) {
    snprintf(to, size, "%s", from);
    return strlen(from) < size;
}

err data_check_read(const Fewbit__Hello *h, portion_info *claimed) {
    *claimed = (portion_info){.samples = {h->train_samples, h->test_samples}, .validation = h->validation_samples};
    if (!take_text(claimed->name, sizeof claimed->name, h->portion) || !portion_name_is_valid(claimed->name)) {
        return err_fail(ERR_INPUT, "its portion has no name of 1 to %d letters, digits, '.', '_' and '-'",
                        PORTION_NAME_MAX);
    }
    if (!take_text(claimed->dataset, sizeof claimed->dataset, h->dataset) ||
        !take_text(claimed->digest, sizeof claimed->digest, h->digest) ||
        !take_text(claimed->ids_digest, sizeof claimed->ids_digest, h->ids_digest)) {
        return err_fail(ERR_INPUT, "portion %s: its data set's name or a digest is too long", claimed->name);
    }
    if (portion_type_parse(h->type, &claimed->shape.type)) {
        return err_prefix(ERR_INPUT, "portion %s", claimed->name);
    }
    if (h->n_shape == 0 || h->n_shape > PORTION_RANK_MAX) {
        return err_fail(ERR_INPUT, "portion %s: a portion has 1 to %d dimensions, not %zu", claimed->name,
                        PORTION_RANK_MAX, h->n_shape);
    }
    claimed->shape.rank = (uint32_t)h->n_shape;
    memcpy(claimed->shape.dims, h->shape, h->n_shape * sizeof *h->shape);
    claimed->has_ids = h->ids_digest[0];
    return portion_shape_check(&claimed->shape) ? err_prefix(ERR_INPUT, "portion %s", claimed->name) : ERR_OK;
}

/* Nodes and labels count alike, or both have ids: which are common, an alignment finds. */
static err check_samples(const portion_info *claimed, const run_identity *of) {
    if (claimed->has_ids != (of->ids[0] != '\0')) {
        return err_fail(ERR_INPUT, "portion %s %s, the labels %s: pack both with ids, or both without", claimed->name,
                        claimed->has_ids ? "has ids" : "counts its samples",
                        claimed->has_ids ? "count theirs" : "have ids");
    }
    if (!claimed->has_ids && memcmp(claimed->samples, of->samples, sizeof of->samples) != 0) {
        return err_fail(ERR_INPUT, "portion %s has %u training and %u test samples, the labels %u and %u",
                        claimed->name, claimed->samples[DATASET_TRAIN], claimed->samples[DATASET_TEST],
                        of->samples[DATASET_TRAIN], of->samples[DATASET_TEST]);
    }
    return ERR_OK;
}

err data_check(const portion_info *claimed, const experiment *e, const run_identity *of) {
    uint32_t k;
    const experiment_portion *wanted = experiment_find_portion(e, claimed->name, &k);
    if (strcmp(claimed->dataset, e->dataset.name) != 0 || !portion_shape_equals(&claimed->shape, &wanted->shape)) {
        char theirs[PORTION_SHAPE_TEXT], ours[PORTION_SHAPE_TEXT];
        return err_fail(ERR_INPUT, "portion %s of %s, %s, does not fit: this run wants %s, %s", claimed->name,
                        claimed->dataset, portion_shape_text(&claimed->shape, theirs), e->dataset.name,
                        portion_shape_text(&wanted->shape, ours));
    }
    err failed = of ? check_samples(claimed, of) : ERR_OK;
    if (failed || !of || !of->portion[k].digest[0] || strcmp(claimed->digest, of->portion[k].digest) == 0) {
        return failed;
    }
    return err_fail(ERR_INPUT, "the data of portion %s is not what %s (its digest differs)%s", claimed->name,
                    of->is_pinned ? "it was when this run began" : "the labels were split from",
                    of->is_pinned ? ": a new run, in another --out, takes it as it is now" : "");
}
