#include "decoder_server/core/run_dir.h"

#include "base/json.h"
#include "base/line_file.h"
#include "base/log.h"
#include "experiment/derive.h"
#include "experiment/load.h"
#include "experiment/serialize.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* What is read of a result, and so what is written: the manifest's evaluations, and a little more. */
enum { RESULT_MAX = 64 << 20 };

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
    r->manifest.encoders = run_dir_encoders(r);
    failed = failed ? failed : experiment_identify(e, l, &r->identity);
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
    return experiment_is_classifier_alone(&r->experiment) ? 0 : r->experiment.portion_count;
}

static err read_manifest(run_dir *r) {
    char path[FILE_PATH_MAX];
    r->manifest.encoders = run_dir_encoders(r);
    err e = path_in(r, "manifest.json", path);
    return e ? e : manifest_read(&r->manifest, path, r->id);
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
    e = e ? e : experiment_identify(wanted, l, &of_labels);
    return e ? e : run_identity_check_data(&r->identity, &of_labels, r->folder);
}

err run_dir_pin(run_dir *r, uint32_t portion, const char *digest) {
    bool is_new;
    err e = run_identity_pin(&r->identity, portion, digest, &is_new);
    return e || !is_new ? e : run_identity_write(&r->identity, r->folder);
}

err run_dir_align(run_dir *r, const run_identity_alignment *a) {
    const run_identity_alignment *here = &r->identity.alignment;
    if (!here->is_known) {
        r->identity.alignment = *a;
        return run_identity_write(&r->identity, r->folder);
    }
    bool is_same = here->train == a->train && here->complete == a->complete && here->validation == a->validation &&
                   here->test == a->test && here->incomplete_test == a->incomplete_test;
    return is_same
               ? ERR_OK
               : err_fail(ERR_INPUT,
                          "%s: was begun with %u samples to train on, %u held back and %u to test that are common by "
                          "their ids, now there are %u, %u and %u",
                          r->folder, here->train, here->validation, here->test, a->train, a->validation, a->test);
}

void run_dir_discard(const run_dir *r) {
    static const char *const names[] = {"experiment.yaml", "identity.json", "log.jsonl"};
    char path[FILE_PATH_MAX];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!path_in(r, names[i], path)) {
            unlink(path);
        }
    }
}

void run_dir_close(run_dir *r) {
    manifest_free(&r->manifest);
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
    if (r->manifest.has_commit) {
        keep[count++] = r->manifest.last.position.step;
    }
    if (r->manifest.has_best) {
        keep[count++] = r->manifest.best.position.step;
    }
    if (!path_in(r, "head", folder)) {
        checkpoint_prune(folder, keep, count);
    }
}

err run_dir_commit(run_dir *r, const manifest_commit *commit, bool is_best) {
    char path[FILE_PATH_MAX];
    err e = path_in(r, "manifest.json", path);
    return e ? e : manifest_write(&r->manifest, path, r->id, commit, is_best);
}

err run_dir_served_commit(const run_dir *r, const manifest_commit **commit) {
    *commit = manifest_served(&r->manifest);
    return *commit ? ERR_OK : err_fail(ERR_NOT_FOUND, "%s: no checkpoint is committed yet", r->folder);
}

void run_dir_log_unfinished(const run_dir *r, const manifest_commit *commit) {
    const manifest_position *p = &commit->position;
    if (!run_dir_has_result(r)) {
        log_event(LOG_WARN, "run_unfinished",
                  "%s: its training is not finished: what is served is from after %u of %u epochs%s", r->folder,
                  p->epoch, r->experiment.training.epochs, p->batch > 0 ? " and a part of the next" : "");
    }
}

err run_dir_write_result(const run_dir *r, json_t *result) {
    char path[FILE_PATH_MAX];
    err e = path_in(r, "result.json", path);
    return e ? e : json_write(path, result, RESULT_MAX);
}

bool run_dir_has_result(const run_dir *r) {
    char path[FILE_PATH_MAX];
    return !path_in(r, "result.json", path) && file_exists(path);
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
