#include "decoder_server/core/manifest.h"

#include "base/json.h"
#include "base/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is read of it, and so what is written. */
enum { BYTES_MAX = 56 << 20 };

/* The figures of an evaluation, by their names; one that may not be measured is NAN where it is not there. */
static const struct {
    const char *key;
    size_t at;
    bool is_optional;
} figures[] = {
    {"epoch", offsetof(manifest_evaluation, epoch), false},
    {"loss", offsetof(manifest_evaluation, loss), false},
    {"train_accuracy", offsetof(manifest_evaluation, train), false},
    {"soft_accuracy", offsetof(manifest_evaluation, soft), true},
    {"rounded_accuracy", offsetof(manifest_evaluation, rounded), true},
    {"soft_validation_accuracy", offsetof(manifest_evaluation, soft_validation), true},
    {"validation_accuracy", offsetof(manifest_evaluation, validation), true},
    {"seconds", offsetof(manifest_evaluation, seconds), false},
};

enum { FIGURES = sizeof figures / sizeof figures[0] };

/* Reading. */

static bool take_whole(const json_t *j, const char *key, uint64_t most, uint64_t *to) {
    const json_t *value = json_object_get(j, key);
    *to = (uint64_t)json_integer_value(value);
    return json_is_integer(value) && json_integer_value(value) >= 0 && *to <= most;
}

static bool take_real(const json_t *j, const char *key, double *to) {
    *to = json_number_value(json_object_get(j, key));
    return json_is_number(json_object_get(j, key));
}

static bool position_from(const json_t *j, manifest_position *p) {
    uint64_t epoch, batch, evaluations;
    bool good = take_whole(j, "step", INT64_MAX, &p->step) && take_whole(j, "epoch", INT32_MAX, &epoch) &&
                take_whole(j, "batch", INT32_MAX, &batch) && take_whole(j, "evaluations", INT32_MAX, &evaluations) &&
                take_whole(j, "correct", INT64_MAX, &p->correct) && take_whole(j, "seen", INT64_MAX, &p->seen) &&
                take_real(j, "loss_sum", &p->loss_sum) && take_real(j, "seconds", &p->seconds);
    p->epoch = good ? (uint32_t)epoch : 0;
    p->batch = good ? (uint32_t)batch : 0;
    p->evaluations = good ? (uint32_t)evaluations : 0;
    return good;
}

static err commit_from(const manifest *m, const char *path, const json_t *j, manifest_commit *c) {
    const json_t *encoders = json_object_get(j, "encoders");
    if (!position_from(j, &c->position)) {
        return err_fail(ERR_INPUT, "%s: a commit's position is missing or malformed", path);
    }
    bool good = sha256_parse(json_string_value(json_object_get(j, "head")), c->head) && json_is_array(encoders) &&
                json_array_size(encoders) == m->encoders;
    for (size_t i = 0; good && i < json_array_size(encoders); i++) {
        good = sha256_parse(json_string_value(json_array_get(encoders, i)), c->encoders[i]);
    }
    return good ? ERR_OK : err_fail(ERR_INPUT, "%s: a commit's digests are missing or malformed", path);
}

/* The text of a list or an object; NULL where there is none, or no memory for it. */
static char *text_from(const json_t *j, const char *key, json_type type) {
    const json_t *value = json_object_get(j, key);
    return value && json_typeof(value) == type ? json_dumps(value, JSON_COMPACT) : NULL;
}

static err evaluations_from(manifest *m, const json_t *list) {
    size_t index;
    json_t *j;
    json_array_foreach(list, index, j) {
        manifest_evaluation e = {.encoders = text_from(j, "encoders", JSON_ARRAY),
                                 .metrics = text_from(j, "metrics", JSON_OBJECT),
                                 .refinement = text_from(j, "refinement", JSON_ARRAY)};
        for (size_t i = 0; i < FIGURES; i++) {
            const json_t *value = json_object_get(j, figures[i].key);
            double number = figures[i].is_optional && !json_is_number(value) ? (double)NAN : json_number_value(value);
            memcpy((char *)&e + figures[i].at, &number, sizeof number);
        }
        err failed = manifest_add(m, &e);
        if (failed) {
            return failed;
        }
    }
    return ERR_OK;
}

static err take_all(manifest *m, const char *path, uint64_t run, const json_t *j) {
    char id[20];
    snprintf(id, sizeof id, "%016" PRIx64, run);
    const char *named = json_string_value(json_object_get(j, "run"));
    if (!named || strcmp(named, id) != 0) {
        return err_fail(ERR_INPUT, "%s: belongs to run %s, identity.json to %s", path, named ? named : "?", id);
    }
    err e = commit_from(m, path, json_object_get(j, "last"), &m->last);
    m->has_commit = !e;
    const json_t *best = json_object_get(j, "best");
    uint64_t evaluation = 0;
    if (!e && best) {
        e = commit_from(m, path, best, &m->best);
        if (!e && !take_whole(j, "best_evaluation", INT32_MAX, &evaluation)) {
            e = err_fail(ERR_INPUT, "%s: its best_evaluation is missing or malformed", path);
        }
        m->has_best = !e;
        m->best_evaluation = (uint32_t)evaluation;
    }
    e = e ? e : evaluations_from(m, json_object_get(j, "evaluations"));
    if (!e && (m->evaluation_count != m->last.position.evaluations ||
               (m->has_best && m->best_evaluation >= m->evaluation_count))) {
        e = err_fail(ERR_INPUT, "%s: its evaluations and its commit contradict each other", path);
    }
    return e;
}

err manifest_read(manifest *m, const char *path, uint64_t run) {
    json_t *j = NULL;
    if (!file_exists(path)) {
        return ERR_OK;
    }
    err e = json_read(path, BYTES_MAX, &j);
    e = e ? e : take_all(m, path, run, j);
    json_decref(j);
    return e;
}

/* Evaluations. */

static void forget(manifest_evaluation *e) {
    free(e->encoders);
    free(e->metrics);
    free(e->refinement);
    e->encoders = e->metrics = e->refinement = NULL;
}

static void keep_evaluations(manifest *m, uint32_t count) {
    while (m->evaluation_count > count) {
        forget(&m->evaluations[--m->evaluation_count]);
    }
}

void manifest_free(manifest *m) {
    keep_evaluations(m, 0);
    free(m->evaluations);
    m->evaluations = NULL;
}

/* They are large, and asked for of what stands for the run alone: the last evaluation, and those of commits. */
static void forget_metrics(manifest *m) {
    for (uint32_t i = 0; i + 1 < m->evaluation_count; i++) {
        bool is_best = m->has_best && i == m->best_evaluation;
        if (!is_best && !(m->has_commit && i + 1 == m->last.position.evaluations)) {
            free(m->evaluations[i].metrics);
            m->evaluations[i].metrics = NULL;
        }
    }
}

err manifest_add(manifest *m, const manifest_evaluation *e) {
    manifest_evaluation *grown = realloc(m->evaluations, (m->evaluation_count + 1) * sizeof *grown);
    if (!grown) {
        manifest_evaluation lost = *e;
        forget(&lost);
        return err_fail(ERR_MEMORY, "no memory for evaluation %u", m->evaluation_count);
    }
    m->evaluations = grown;
    m->evaluations[m->evaluation_count++] = *e;
    forget_metrics(m);
    return ERR_OK;
}

void manifest_rewind(manifest *m) {
    keep_evaluations(m, m->has_commit ? m->last.position.evaluations : 0);
}

const manifest_commit *manifest_served(const manifest *m) {
    return m->has_best ? &m->best : m->has_commit ? &m->last : NULL;
}

const manifest_evaluation *manifest_final(const manifest *m) {
    return &m->evaluations[m->has_best ? m->best_evaluation : m->evaluation_count - 1];
}

/* Writing. What memory runs out for is NULL, and so is all it would be in. */

static void put_text(json_t **j, const char *key, const char *text) {
    if (text) {
        json_put(j, key, json_loads(text, 0, NULL));
    }
}

json_t *manifest_evaluation_json(const manifest_evaluation *e) {
    json_t *j = json_object();
    for (size_t i = 0; i < FIGURES; i++) {
        double number;
        memcpy(&number, (const char *)e + figures[i].at, sizeof number);
        json_put(&j, figures[i].key, json_finite(number));
    }
    put_text(&j, "encoders", e->encoders);
    put_text(&j, "metrics", e->metrics);
    put_text(&j, "refinement", e->refinement);
    return j;
}

static json_t *digest_to(const uint8_t digest[SHA256_BYTES]) {
    char hex[SHA256_HEX];
    sha256_hex(digest, hex);
    return json_string(hex);
}

static json_t *commit_to(const manifest *m, const manifest_commit *c) {
    json_t *encoders = json_array();
    for (uint32_t k = 0; k < m->encoders; k++) {
        json_list_add(&encoders, digest_to(c->encoders[k]));
    }
    const manifest_position *p = &c->position;
    return json_pack("{s:I, s:i, s:i, s:i, s:o, s:I, s:I, s:f, s:o, s:o}", "step", (json_int_t)p->step, "epoch",
                     (int)p->epoch, "batch", (int)p->batch, "evaluations", (int)p->evaluations, "loss_sum",
                     json_finite(p->loss_sum), "correct", (json_int_t)p->correct, "seen", (json_int_t)p->seen,
                     "seconds", p->seconds, "head", digest_to(c->head), "encoders", encoders);
}

static json_t *manifest_to(const manifest *m, uint64_t run) {
    char id[20];
    snprintf(id, sizeof id, "%016" PRIx64, run);
    json_t *j = json_object(), *evaluations = json_array();
    for (uint32_t i = 0; i < m->evaluation_count; i++) {
        json_list_add(&evaluations, manifest_evaluation_json(&m->evaluations[i]));
    }
    json_put(&j, "run", json_string(id));
    json_put(&j, "last", commit_to(m, &m->last));
    json_put(&j, "evaluations", evaluations);
    if (m->has_best) {
        json_put(&j, "best", commit_to(m, &m->best));
        json_put(&j, "best_evaluation", json_integer(m->best_evaluation));
    }
    return j;
}

/* A long training of many encoders tells more of them than there is room for: of the older half of the evaluations that
 * tell any, what they say of encoders and stages goes. false: there is nothing to go. */
static bool forget_details(manifest *m, const char *path) {
    uint32_t telling = 0, forgotten = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i + 1 < m->evaluation_count && (pass == 0 || 2 * forgotten < telling); i++) {
            manifest_evaluation *e = &m->evaluations[i];
            bool is_told = (e->encoders || e->refinement) && !(m->has_best && i == m->best_evaluation);
            telling += pass == 0 && is_told;
            if (pass == 1 && is_told) {
                forget(e);
                forgotten++;
            }
        }
    }
    if (forgotten > 0) {
        log_warn("%s: has no room for what %u older evaluations say of encoders and stages", path, forgotten);
    }
    return forgotten > 0;
}

err manifest_write(manifest *m, const char *path, uint64_t run, const manifest_commit *commit, bool is_best) {
    manifest before = *m;
    m->last = *commit;
    m->has_commit = true;
    if (is_best) {
        m->best = *commit;
        m->has_best = true;
        m->best_evaluation = m->evaluation_count - 1;
    }
    err e;
    do {
        json_t *j = manifest_to(m, run);
        e = json_write(path, j, BYTES_MAX);
        json_decref(j);
    } while (e == ERR_FULL && forget_details(m, path));
    if (e) {
        *m = before;
    }
    return e;
}
