#include "decoder_server/serve/served_model.h"

#include "experiment/serialize.h"

#include <stdlib.h>
#include <string.h>

static err describe(served_model *m) {
    char text[EXPERIMENT_TEXT_MAX];
    size_t length;
    err e = experiment_serialize(&m->run->experiment, text, &length);
    if (e) {
        return e;
    }
    m->text = strndup(text, length);
    return m->text ? ERR_OK : err_fail(ERR_MEMORY, "no memory for a model's description");
}

static err fill(served_model *m, const run_dir *r, const predictor_options *options) {
    m->run = r;
    err e = run_dir_served_commit(r, &m->commit);
    if (!e) {
        run_dir_log_unfinished(r, m->commit);
    }
    e = e ? e : describe(m);
    return e ? e : predictor_new(&m->predictor, r, m->commit, options);
}

static err fill_or_free(served_model *m, const run_dir *r, const predictor_options *options, served_model **out) {
    err e = fill(m, r, options);
    if (e) {
        served_model_free(m);
    } else {
        *out = m;
    }
    return e;
}

err served_model_new(served_model **out, const run_dir *r, const predictor_options *options) {
    served_model *m = calloc(1, sizeof *m);
    return m ? fill_or_free(m, r, options, out) : err_fail(ERR_MEMORY, "no memory for a model");
}

void served_model_identify(const run_dir *r, const manifest_commit *commit, served_model_identity *id) {
    *id = (served_model_identity){.run = r->id, .step = commit->position.step};
    memcpy(id->head, commit->head, sizeof id->head);
    memcpy(id->encoders, commit->encoders, sizeof id->encoders);
}

static bool is_known(const run_dir *r, const served_model_identity *known) {
    const manifest_commit *commit;
    served_model_identity here;
    if (!known || run_dir_served_commit(r, &commit)) {
        return false;
    }
    served_model_identify(r, commit, &here);
    return memcmp(&here, known, sizeof here) == 0;
}

err served_model_open(served_model **out, const char *folder, const served_model_identity *known,
                      const predictor_options *options) {
    *out = NULL;
    served_model *m = calloc(1, sizeof *m);
    if (!m) {
        return err_fail(ERR_MEMORY, "no memory for a model");
    }
    err e = run_dir_open(&m->own, folder);
    if (e) {
        free(m);
        return e;
    }
    m->run = &m->own;
    if (is_known(m->run, known)) {
        served_model_free(m);
        return ERR_OK;
    }
    return fill_or_free(m, &m->own, options, out);
}

void served_model_free(served_model *m) {
    if (m) {
        predictor_free(m->predictor);
        if (m->run == &m->own) {
            run_dir_close(&m->own);
        }
        free(m->text);
        free(m);
    }
}

/* "breast in 2 listed portions", "mnist in 4 slices". */
static const char *portions_word(const experiment *e) {
    return experiment_lists_portions(e) ? "listed portions" : partition_name(e->dataset.partition);
}

/* What the nodes have of a sample. */
static err check_portions(const experiment *here, const experiment *there, const char *folder) {
    if (strcmp(here->dataset.name, there->dataset.name) != 0 || here->dataset.partition != there->dataset.partition ||
        here->portion_count != there->portion_count) {
        return err_fail(ERR_INPUT, "%s: %s in %u %s; what is served here is %s in %u %s", folder, there->dataset.name,
                        there->portion_count, portions_word(there), here->dataset.name, here->portion_count,
                        portions_word(here));
    }
    for (uint32_t k = 0; k < here->portion_count; k++) {
        const experiment_portion *a = &here->portions[k], *b = &there->portions[k];
        char ours[PORTION_SHAPE_TEXT], theirs[PORTION_SHAPE_TEXT];
        if (strcmp(a->name, b->name) != 0 || !portion_shape_equals(&a->shape, &b->shape)) {
            return err_fail(ERR_INPUT, "%s: portion %u is %s of %s; it is %s of %s in what is served here", folder, k,
                            b->name, portion_shape_text(&b->shape, theirs), a->name,
                            portion_shape_text(&a->shape, ours));
        }
    }
    return ERR_OK;
}

/* What it is classified as. */
static err check_classes(const class_names *here, const class_names *there, const char *folder) {
    if (here->count != there->count) {
        return err_fail(ERR_INPUT, "%s: has %u classes; there are %u in what is served here", folder, there->count,
                        here->count);
    }
    for (uint32_t c = 0; c < here->count; c++) {
        if (strcmp(here->names[c], there->names[c]) != 0) {
            return err_fail(ERR_INPUT, "%s: class %u is '%s'; it is '%s' in what is served here", folder, c,
                            there->names[c], here->names[c]);
        }
    }
    return ERR_OK;
}

/* What they send of it. */
static err check_layout(const served_model *m, const served_model *other) {
    const codeword *here = predictor_layout(m->predictor), *there = predictor_layout(other->predictor);
    for (uint32_t k = 0; k < here->portions; k++) {
        if (codeword_portion_bits(here, k) != codeword_portion_bits(there, k)) {
            return err_fail(ERR_INPUT, "%s: portion %s has %u bits; it has %u in what is served here",
                            other->run->folder, other->run->experiment.portions[k].name,
                            codeword_portion_bits(there, k), codeword_portion_bits(here, k));
        }
    }
    if (!codeword_equal(here, there)) {
        return err_fail(ERR_INPUT, "%s: its bits come in other stages than those of what is served here",
                        other->run->folder);
    }
    return ERR_OK;
}

err served_model_fits(const served_model *m, const served_model *other) {
    err e = check_portions(&m->run->experiment, &other->run->experiment, other->run->folder);
    e = e ? e : check_classes(&m->run->identity.classes, &other->run->identity.classes, other->run->folder);
    return e ? e : check_layout(m, other);
}
