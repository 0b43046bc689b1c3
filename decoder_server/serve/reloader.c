#include "decoder_server/serve/reloader.h"

#include "base/log.h"
#include "loop/background.h"

#include <stdio.h>
#include <stdlib.h>

struct reloader {
    reloader_config config;
    uv_loop_t *loop;
    served_model_identity known, candidate;
    bool is_under_way, is_wanted_again;
    background *loading; /* NULL: nothing is loaded now */
    bool is_closed;
    /* What was found in the background. */
    served_model *loaded;
    err code;
    char text[512];
};

err reloader_new(reloader **out, uv_loop_t *loop, const reloader_config *config, const served_model_identity *first) {
    reloader *r = calloc(1, sizeof *r);
    if (!r) {
        return err_fail(ERR_MEMORY, "no memory to reload");
    }
    r->config = *config;
    r->loop = loop;
    r->known = *first;
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

/* In the background. */
static void load(void *context) {
    reloader *r = context;
    r->code = served_model_open(&r->loaded, r->config.folder, &r->known, &r->config.predictor);
    snprintf(r->text, sizeof r->text, "%s", r->code ? err_text() : "");
}

static void on_loaded(void *context) {
    reloader *r = context;
    r->loading = NULL;
    if (r->is_closed) {
        served_model_free(r->loaded);
        free(r);
        return;
    }
    if (r->code || !r->loaded) {
        finish(r, r->code, r->code ? r->text : "the run has no other model than the one in use");
        return;
    }
    served_model *loaded = r->loaded;
    r->loaded = NULL; /* finish may begin another load */
    served_model_identify(loaded->run, loaded->commit, &r->candidate);
    err e = r->config.change(r->config.context, loaded);
    if (e) {
        served_model_free(loaded);
        finish(r, e, err_text());
    }
}

err reloader_start(reloader *r) {
    if (r->is_under_way) {
        return err_fail(ERR_FULL, "another reload is under way");
    }
    err e = background_start(&r->loading, r->loop, load, on_loaded, r);
    if (!e) {
        r->is_under_way = true;
        r->is_wanted_again = false;
    }
    return e;
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
    if (!r->loading) {
        free(r);
    }
}
