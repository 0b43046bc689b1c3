#include "decoder_server/core/run_dir.h"

#include "base/file.h"
#include "base/json.h"
#include "base/json_fields.h"
#include "base/line_file.h"
#include "base/log.h"
#include "experiment/load.h"
#include "experiment/serialize.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* What is read of a manifest or a result, and so what is written; a result's keys are a little longer. */
enum { FILE_MAX = 64 << 20, MANIFEST_MAX = 56 << 20 };

static err path_in(const run_dir *r, const char *name, char path[FILE_PATH_MAX]) {
    return file_path(path, FILE_PATH_MAX, "%s/%s", r->folder, name);
}

static err head_path(const run_dir *r, uint64_t step, char path[FILE_PATH_MAX]) {
    char folder[FILE_PATH_MAX];
    err e = path_in(r, "head", folder);
    return e ? e : checkpoint_path(folder, step, path);
}

static err start(run_dir *r, const char *folder) {
    *r = (run_dir){0};
    return file_path(r->folder, sizeof r->folder, "%s", folder);
}

err run_dir_create(run_dir *r, const char *folder, const experiment *e, const labels *l, const pretrained *w) {
    err failed = start(r, folder);
    char path[FILE_PATH_MAX], heads[FILE_PATH_MAX], text[EXPERIMENT_TEXT_MAX];
    size_t length;
    failed = failed ? failed : path_in(r, "experiment.yaml", path);
    if (!failed && file_exists(path)) {
        return err_fail(ERR_INPUT, "%s: holds a run already; continue it with --resume or choose another folder",
                        folder);
    }
    r->experiment = *e;
    failed = failed ? failed : run_identity_of(&r->identity, l);
    failed = failed ? failed : path_in(r, "head", heads);
    failed = failed ? failed : file_make_folders(heads);
    failed = failed ? failed : experiment_serialize(e, text, &length);
    if (!failed && w && w->file[0]) {
        r->pretrained = *w;
        memcpy(r->identity.weights, w->digest, SHA256_BYTES);
        failed = file_path(r->identity.weights_file, sizeof r->identity.weights_file, "%s", w->file);
    }
    failed = failed ? failed : run_identity_seal(&r->identity, text, length);
    failed = failed ? failed : run_identity_write(&r->identity, folder);
    r->id = r->identity.run;
    return failed ? failed : file_write_atomic(path, &(file_span){text, length}, 1);
}

uint32_t run_dir_encoders(const run_dir *r) {
    return experiment_is_classifier_alone(&r->experiment) ? 0 : r->experiment.dataset.portions;
}

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

static err commit_from(const run_dir *r, const char *path, const json_t *j, manifest_commit *c) {
    const json_t *encoders = json_object_get(j, "encoders");
    if (!position_from(j, &c->position)) {
        return err_fail(ERR_INPUT, "%s: a commit's position is missing or malformed", path);
    }
    bool good = sha256_parse(json_string_value(json_object_get(j, "head")), c->head) && json_is_array(encoders) &&
                json_array_size(encoders) == run_dir_encoders(r);
    for (size_t i = 0; good && i < json_array_size(encoders); i++) {
        good = sha256_parse(json_string_value(json_array_get(encoders, i)), c->encoders[i]);
    }
    return good ? ERR_OK : err_fail(ERR_INPUT, "%s: a commit's digests are missing or malformed", path);
}

static double accuracy_from(const json_t *j, const char *key) {
    const json_t *value = json_object_get(j, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static err evaluations_from(run_dir *r, const json_t *list) {
    size_t index;
    json_t *j;
    json_array_foreach(list, index, j) {
        manifest_evaluation e = {
            .epoch = json_number_value(json_object_get(j, "epoch")),
            .loss = json_number_value(json_object_get(j, "loss")),
            .train = json_number_value(json_object_get(j, "train")),
            .soft = accuracy_from(j, "soft"),
            .rounded = accuracy_from(j, "rounded"),
            .soft_validation = accuracy_from(j, "soft_validation"),
            .validation = accuracy_from(j, "validation"),
            .seconds = json_number_value(json_object_get(j, "seconds")),
            .encoders =
                json_is_array(json_object_get(j, "encoders")) ? json_incref(json_object_get(j, "encoders")) : NULL,
            .refinement =
                json_is_array(json_object_get(j, "rounds")) ? json_incref(json_object_get(j, "rounds")) : NULL,
        };
        err failed = run_dir_add_evaluation(r, &e);
        if (failed) {
            return failed;
        }
    }
    return ERR_OK;
}

static err manifest_from(run_dir *r, const char *path, const json_t *j) {
    char id[20];
    snprintf(id, sizeof id, "%016" PRIx64, r->id);
    const char *named = json_string_value(json_object_get(j, "run"));
    if (!named || strcmp(named, id) != 0) {
        return err_fail(ERR_INPUT, "%s: belongs to run %s, identity.json to %s", path, named ? named : "?", id);
    }
    err e = commit_from(r, path, json_object_get(j, "last"), &r->last);
    r->has_commit = !e;
    const json_t *best = json_object_get(j, "best");
    uint64_t evaluation = 0;
    if (!e && best) {
        e = commit_from(r, path, best, &r->best);
        if (!e && !take_whole(j, "best_evaluation", INT32_MAX, &evaluation)) {
            e = err_fail(ERR_INPUT, "%s: its best_evaluation is missing or malformed", path);
        }
        r->has_best = !e;
        r->best_evaluation = (uint32_t)evaluation;
    }
    e = e ? e : evaluations_from(r, json_object_get(j, "evaluations"));
    if (!e && (r->evaluation_count != r->last.position.evaluations ||
               (r->has_best && r->best_evaluation >= r->evaluation_count))) {
        e = err_fail(ERR_INPUT, "%s: its evaluations and its commit contradict each other", path);
    }
    return e;
}

static err read_manifest(run_dir *r) {
    char path[FILE_PATH_MAX];
    json_t *j = NULL;
    err e = path_in(r, "manifest.json", path);
    if (e || !file_exists(path)) {
        return e;
    }
    e = json_read(path, FILE_MAX, &j);
    e = e ? e : manifest_from(r, path, j);
    json_decref(j);
    return e;
}

static err read_experiment(run_dir *r) {
    char path[FILE_PATH_MAX];
    uint8_t *text = NULL;
    size_t length = 0;
    err e = path_in(r, "experiment.yaml", path);
    e = e ? e : file_read(path, EXPERIMENT_TEXT_MAX, &text, &length);
    e = e ? e : experiment_parse(path, (const char *)text, length, &r->experiment);
    e = e ? e : run_identity_read(&r->identity, r->folder, text, length);
    free(text);
    r->id = r->identity.run;
    return e;
}

err run_dir_open(run_dir *r, const char *folder) {
    err e = start(r, folder);
    e = e ? e : read_experiment(r);
    e = e ? e : read_manifest(r);
    if (e) {
        run_dir_close(r);
    }
    return e;
}

err run_dir_check(const run_dir *r, const experiment *wanted, const labels *l) {
    bool is_same = false;
    run_identity of_labels;
    err e = experiment_compare(&r->experiment, wanted, &is_same);
    if (!e && !is_same) {
        return err_fail(ERR_INPUT, "%s: is a run of another experiment (or other --epochs, --seed or --precision)",
                        r->folder);
    }
    e = e ? e : run_identity_of(&of_labels, l);
    return e ? e : run_identity_check_data(&r->identity, &of_labels, r->folder);
}

/* Forgets the evaluations from number `count` on. */
static void drop_evaluations(run_dir *r, uint32_t count) {
    while (r->evaluation_count > count) {
        json_decref(r->evaluations[--r->evaluation_count].encoders);
        json_decref(r->evaluations[r->evaluation_count].refinement);
    }
}

void run_dir_close(run_dir *r) {
    drop_evaluations(r, 0);
    free(r->evaluations);
    r->evaluations = NULL;
}

err run_dir_add_evaluation(run_dir *r, const manifest_evaluation *epoch) {
    manifest_evaluation *grown = realloc(r->evaluations, (r->evaluation_count + 1) * sizeof *grown);
    if (!grown) {
        json_decref(epoch->encoders);
        json_decref(epoch->refinement);
        return err_fail(ERR_MEMORY, "no memory for evaluation %u", r->evaluation_count);
    }
    r->evaluations = grown;
    r->evaluations[r->evaluation_count++] = *epoch;
    return ERR_OK;
}

void run_dir_rewind(run_dir *r) {
    drop_evaluations(r, r->has_commit ? r->last.position.evaluations : 0);
}

err run_dir_save_head(const run_dir *r, uint64_t step, nn_net *head, const nn_optimiser *o,
                      uint8_t digest[SHA256_BYTES]) {
    char path[FILE_PATH_MAX];
    checkpoint_id id = {.run = r->id, .step = step, .part = "head"};
    err e = head_path(r, step, path);
    return e ? e : checkpoint_save(path, &id, head, o, digest);
}

err run_dir_load_head(const run_dir *r, const manifest_commit *commit, nn_net *head, nn_optimiser *o) {
    char path[FILE_PATH_MAX];
    checkpoint_id id = {.run = r->id, .step = commit->position.step, .part = "head"};
    err e = head_path(r, id.step, path);
    return e ? e : checkpoint_load(path, &id, head, o, commit->head);
}

err run_dir_find_head(const char *folder, char path[FILE_PATH_MAX]) {
    run_dir r;
    const manifest_commit *commit = NULL;
    err e = run_dir_open(&r, folder);
    if (e) {
        return e;
    }
    e = run_dir_served_commit(&r, &commit);
    e = e ? e : head_path(&r, commit->position.step, path);
    run_dir_close(&r);
    return e;
}

json_t *run_dir_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *digest_to(const uint8_t digest[SHA256_BYTES]) {
    char hex[SHA256_HEX];
    sha256_hex(digest, hex);
    return json_string(hex);
}

/* NULL: no memory; so manifest_to. */
static json_t *commit_to(const run_dir *r, const manifest_commit *c) {
    json_t *encoders = json_array();
    bool good = true;
    for (uint32_t k = 0; k < run_dir_encoders(r); k++) {
        good = json_array_append_new(encoders, digest_to(c->encoders[k])) == 0 && good;
    }
    if (!good) {
        json_decref(encoders);
        return NULL;
    }
    const manifest_position *p = &c->position;
    return json_pack("{s:I, s:i, s:i, s:i, s:o, s:I, s:I, s:f, s:o, s:o}", "step", (json_int_t)p->step, "epoch",
                     (int)p->epoch, "batch", (int)p->batch, "evaluations", (int)p->evaluations, "loss_sum",
                     run_dir_number(p->loss_sum), "correct", (json_int_t)p->correct, "seen", (json_int_t)p->seen,
                     "seconds", p->seconds, "head", digest_to(c->head), "encoders", encoders);
}

static json_t *evaluation_to(const manifest_evaluation *e) {
    return json_pack("{s:f, s:o, s:f, s:o, s:o, s:o, s:o, s:f, s:O*, s:O*}", "epoch", e->epoch, "loss",
                     run_dir_number(e->loss), "train", e->train, "soft", run_dir_number(e->soft), "rounded",
                     run_dir_number(e->rounded), "soft_validation", run_dir_number(e->soft_validation), "validation",
                     run_dir_number(e->validation), "seconds", e->seconds, "encoders", e->encoders, "rounds",
                     e->refinement);
}

static json_t *manifest_to(const run_dir *r) {
    char id[20];
    snprintf(id, sizeof id, "%016" PRIx64, r->id);
    json_t *j = json_object(), *evaluations = json_array();
    bool good = true;
    for (uint32_t i = 0; i < r->evaluation_count; i++) {
        good = json_array_append_new(evaluations, evaluation_to(&r->evaluations[i])) == 0 && good;
    }
    good = json_object_set_new(j, "run", json_string(id)) == 0 && good;
    good = json_object_set_new(j, "last", commit_to(r, &r->last)) == 0 && good;
    good = json_object_set_new(j, "evaluations", evaluations) == 0 && good;
    if (r->has_best) {
        good = json_object_set_new(j, "best", commit_to(r, &r->best)) == 0 && good;
        good = json_object_set_new(j, "best_evaluation", json_integer(r->best_evaluation)) == 0 && good;
    }
    if (!good) {
        json_decref(j);
        return NULL;
    }
    return j;
}

static void put(FILE *to, const char *before, const json_t *value) {
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    fprintf(to, "%s%s", before, text ? text : "");
    free(text);
}

/* One line a key, and a line an element where a value is a list: for people to read, and small. */
static void lay_out(FILE *to, json_t *object) {
    const char *before = "{", *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        fprintf(to, "%s\n  \"%s\": ", before, key);
        before = ",";
        if (!json_is_array(value) || json_array_size(value) == 0) {
            put(to, "", value);
            continue;
        }
        for (size_t i = 0; i < json_array_size(value); i++) {
            put(to, i == 0 ? "[\n    " : ",\n    ", json_array_get(value, i));
        }
        fputs("\n  ]", to);
    }
    fputs("\n}\n", to);
}

/* What memory ran out for may be missing in the text without a word: so it is read back. */
static bool says(const char *text, size_t length, const json_t *object) {
    json_t *again = json_loadb(text, length, 0, NULL);
    bool equal = again && json_equal(object, again);
    json_decref(again);
    return equal;
}

/* The keys of `object` need no escapes. ERR_FULL: it takes more than `most` bytes. */
static err write_json(const run_dir *r, const char *name, json_t *object, size_t most) {
    char path[FILE_PATH_MAX], *text = NULL;
    size_t length = 0;
    err e = path_in(r, name, path);
    if (e) {
        return e;
    }
    FILE *to = object ? open_memstream(&text, &length) : NULL;
    if (to) {
        lay_out(to, object);
        fclose(to);
    }
    if (text && length > most) {
        free(text);
        return err_fail(ERR_FULL, "%s: would have %zu bytes, more than the %zu that are read", path, length, most);
    }
    e = text && says(text, length, object) ? file_write_atomic(path, &(file_span){text, length}, 1)
                                           : err_fail(ERR_MEMORY, "%s: no memory to write it", path);
    free(text);
    return e;
}

err run_dir_take_pretrained(run_dir *r, const pretrained *w) {
    if (!r->identity.weights_file[0] || memcmp(r->identity.weights, w->digest, SHA256_BYTES) != 0) {
        return err_fail(ERR_INPUT, "%s: began with other weights than %s holds now", r->folder, w->file);
    }
    r->pretrained = *w;
    return ERR_OK;
}

err run_dir_load_pretrained(const run_dir *r, nn_net *head) {
    return r->pretrained.file[0] ? pretrained_load(&r->pretrained, head) : ERR_OK;
}

void run_dir_prune_heads(const run_dir *r) {
    char folder[FILE_PATH_MAX];
    uint64_t keep[2];
    size_t count = 0;
    if (r->has_commit) {
        keep[count++] = r->last.position.step;
    }
    if (r->has_best) {
        keep[count++] = r->best.position.step;
    }
    if (!path_in(r, "head", folder)) {
        checkpoint_prune(folder, keep, count);
    }
}

/* A long training of many encoders tells more of them than there is room for: of the older half of the evaluations that
 * tell any, what they say of encoders and rounds goes. false: there is nothing to go. */
static bool forget_details(run_dir *r) {
    uint32_t telling = 0, forgotten = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i + 1 < r->evaluation_count && (pass == 0 || 2 * forgotten < telling); i++) {
            manifest_evaluation *e = &r->evaluations[i];
            bool is_told = (e->encoders || e->refinement) && !(r->has_best && i == r->best_evaluation);
            telling += pass == 0 && is_told;
            if (pass == 1 && is_told) {
                json_decref(e->encoders);
                json_decref(e->refinement);
                e->encoders = e->refinement = NULL;
                forgotten++;
            }
        }
    }
    if (forgotten > 0) {
        log_warn("%s/manifest.json: has no room for what %u older evaluations say of encoders and rounds", r->folder,
                 forgotten);
    }
    return forgotten > 0;
}

err run_dir_commit_checkpoint(run_dir *r, const manifest_commit *commit, bool is_best) {
    run_dir before = *r;
    r->last = *commit;
    r->has_commit = true;
    if (is_best) {
        r->best = *commit;
        r->has_best = true;
        r->best_evaluation = r->evaluation_count - 1;
    }
    err e;
    do {
        json_t *j = manifest_to(r);
        e = write_json(r, "manifest.json", j, MANIFEST_MAX);
        json_decref(j);
    } while (e == ERR_FULL && forget_details(r));
    if (e) {
        *r = before;
    }
    return e;
}

err run_dir_served_commit(const run_dir *r, const manifest_commit **commit) {
    if (!r->has_commit) {
        return err_fail(ERR_NOT_FOUND, "%s: no checkpoint is committed yet", r->folder);
    }
    *commit = r->has_best ? &r->best : &r->last;
    return ERR_OK;
}

void run_dir_tell_unfinished(const run_dir *r, const manifest_commit *commit) {
    const manifest_position *p = &commit->position;
    if (!run_dir_has_result(r)) {
        log_event(LOG_WARN, "run_unfinished",
                  "%s: its training is not finished: what is served is from after %u of %u epochs%s", r->folder,
                  p->epoch, r->experiment.training.epochs, p->batch > 0 ? " and a part of the next" : "");
    }
}

const manifest_evaluation *run_dir_final_evaluation(const run_dir *r) {
    return &r->evaluations[r->has_best ? r->best_evaluation : r->evaluation_count - 1];
}

void run_dir_log(const run_dir *r, const char *event, json_t *fields) {
    struct timeval now;
    gettimeofday(&now, NULL);
    json_t *line = json_pack("{s:f, s:s}", "time", (double)now.tv_sec + (double)now.tv_usec * 1e-6, "event", event);
    if (fields) {
        json_object_update(line, fields);
        json_decref(fields);
    }
    char path[FILE_PATH_MAX];
    char *text = path_in(r, "log.jsonl", path) ? NULL : json_dumps(line, JSON_COMPACT);
    char *whole = NULL;
    line_file to;
    if (!text || asprintf(&whole, "%s\n", text) < 0) {
        log_warn("%s: no memory for the event %s", path, event);
    } else if (line_file_open(&to, path)) {
        log_warn("%s", err_text());
    } else {
        line_file_write(&to, whole, strlen(whole));
        line_file_close(&to);
    }
    free(whole);
    free(text);
    json_decref(line);
}

err run_dir_write_result(const run_dir *r, json_t *result) {
    return write_json(r, "result.json", result, FILE_MAX);
}

bool run_dir_has_result(const run_dir *r) {
    char path[FILE_PATH_MAX];
    return !path_in(r, "result.json", path) && file_exists(path);
}
