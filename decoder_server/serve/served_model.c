#include "decoder_server/serve/served_model.h"

#include "experiment/derive.h"
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

static err check_layout(const codeword *served, const served_model *other) {
    const codeword *theirs = predictor_layout(other->predictor);
    for (uint32_t k = 0; k < served->portions; k++) {
        uint32_t here = codeword_portion_bits(served, k), there = codeword_portion_bits(theirs, k);
        if (here != there) {
            return err_fail(ERR_INPUT, "%s: portion %u has %u bits; it has %u in what is served here",
                            other->run->folder, k, there, here);
        }
    }
    if (!codeword_equal(served, theirs)) {
        return err_fail(ERR_INPUT, "%s: its bits come in other stages than those of what is served here",
                        other->run->folder);
    }
    return ERR_OK;
}

err served_model_fits(const served_model *m, const served_model *other) {
    const experiment *a = &m->run->experiment, *b = &other->run->experiment;
    partition s, t;
    err e = experiment_partition(a, &s, NULL);
    e = e ? e : experiment_partition(b, &t, NULL);
    if (e) {
        return e;
    }
    if (strcmp(a->dataset.name, b->dataset.name) != 0 || s.kind != t.kind || s.portions != t.portions) {
        return err_fail(ERR_INPUT, "%s: %s in %u %s; what is served here is %s in %u %s", other->run->folder,
                        b->dataset.name, t.portions, partition_name(t.kind), a->dataset.name, s.portions,
                        partition_name(s.kind));
    }
    return check_layout(predictor_layout(m->predictor), other);
}
