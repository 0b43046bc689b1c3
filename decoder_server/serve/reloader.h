/* The reloader: the loop's side of changing to another model. It opens the run's folder again in the background
 * (loop/background.h), since that may take seconds, and hands the model on.
 *
 * Loop's thread only. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_RELOADER_H
#define FEWBIT_DECODER_SERVER_SERVE_RELOADER_H

#include "decoder_server/serve/served_model.h"

#include <uv.h>

typedef struct reloader reloader;

typedef struct reloader_config {
    const char *folder; /* of the run; borrowed */
    predictor_options predictor;
    /* Takes over a model; reloader_changed follows. On failure it stays the reloader's. */
    err (*change)(void *context, served_model *m);
    /* A reload is over. ERR_OK: the folder's model is in use (`text` is not empty where it has been before). Else
     * `text` says why the one before stays. */
    void (*done)(void *context, err code, const char *text);
    void *context;
} reloader_config;

/* `first` is the model in use. */
err reloader_new(reloader **r, uv_loop_t *loop, const reloader_config *config, const served_model_identity *first);

/* ERR_FULL while one is under way; else config.done follows. */
err reloader_start(reloader *r);

/* As reloader_start; where one is under way, another one follows it. */
void reloader_ask(void *r);

/* How the change that config.change began has ended. */
void reloader_changed(reloader *r, err code, const char *text);

/* Gives up what is under way, calls nobody any more; the memory goes with the loop's next turns. */
void reloader_close(reloader *r);

#endif
