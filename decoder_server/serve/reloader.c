#include "decoder_server/serve/reloader.h"

#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct reloader {
    reloader_config config;
    uv_loop_t *loop;
    uv_work_t work;
    model_identity known, candidate;
    bool is_under_way, is_wanted_again;
    bool is_loading, is_closed; /* the pool's thread has the middle part */
    atomic_bool gives_up;
    /* What the pool's thread found. */
    model *loaded;
    err code;
    char text[512];
};

err reloader_new(reloader **out, uv_loop_t *loop, const reloader_config *config, const model_identity *first) {
    reloader *r = calloc(1, sizeof *r);
    if (!r) {
        return err_fail(ERR_MEMORY, "no memory to reload");
    }
    r->config = *config;
    r->config.classifier.gives_up = &r->gives_up;
    r->loop = loop;
    r->known = *first;
    r->work.data = r;
    *out = r;
    return ERR_OK;
}

static void finish(reloader *r, err code, const char *text) {
    r->is_under_way = false;
    r->config.done(r->config.context, code, text);
    if (r->is_wanted_again && !r->is_under_way) {
        reloader_ask(r);
    }
}

/* On a thread of the pool. */
static void load(uv_work_t *work) {
    reloader *r = work->data;
    r->code = model_open(&r->loaded, r->config.folder, &r->known, &r->config.classifier);
    snprintf(r->text, sizeof r->text, "%s", r->code ? err_text() : "");
}

static void on_loaded(uv_work_t *work, int status) {
    reloader *r = work->data;
    (void)status;
    r->is_loading = false;
    if (r->is_closed) {
        model_free(r->loaded);
        free(r);
        return;
    }
    if (r->code || !r->loaded) {
        finish(r, r->code, r->code ? r->text : "the run has no other model than the one in use");
        return;
    }
    model *loaded = r->loaded;
    r->loaded = NULL; /* finish may begin another load */
    model_identify(loaded->run, loaded->commit, &r->candidate);
    err e = r->config.change(r->config.context, loaded);
    if (e) {
        model_free(loaded);
        finish(r, e, err_text());
    }
}

err reloader_start(reloader *r) {
    if (r->is_under_way) {
        return err_fail(ERR_FULL, "another reload is under way");
    }
    if (uv_queue_work(r->loop, &r->work, load, on_loaded) != 0) {
        return err_fail(ERR_MEMORY, "no memory to reload");
    }
    r->is_under_way = r->is_loading = true;
    r->is_wanted_again = false;
    return ERR_OK;
}

void reloader_ask(void *context) {
    reloader *r = context;
    err e = reloader_start(r);
    if (e == ERR_FULL) {
        r->is_wanted_again = true;
    } else if (e) {
        log_error("%s", err_text());
    }
}

void reloader_changed(reloader *r, err code, const char *text) {
    if (!code) {
        r->known = r->candidate;
    }
    finish(r, code, text);
}

void reloader_close(reloader *r) {
    if (!r) {
        return;
    }
    r->is_closed = true;
    atomic_store(&r->gives_up, true);
    if (!r->is_loading) {
        free(r);
    }
}
