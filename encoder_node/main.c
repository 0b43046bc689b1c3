/* encoder_node: owns one portion of every sample and turns it into bits. */
#include "base/process.h"
#include "encoder_node/session.h"
#include "nn/blas.h"

#include "version.h"

#include <stdio.h>

const char *argp_program_version = "encoder_node " FEWBIT_VERSION;

static err run(const node_options *o, tls_context *tls) {
    portion *data;
    err e = portion_open(&data, o->data);
    if (e) {
        return e;
    }
    const portion_info *info = portion_get_info(data);
    if (o->portion && strcmp(o->portion, info->name) != 0) {
        e = err_fail(ERR_INPUT, "%s: holds portion %s, not %s", o->data, info->name, o->portion);
    } else if (o->stream == SOURCE_TEST && info->has_ids) {
        e = err_fail(ERR_INPUT,
                     "%s: its samples have ids, and are asked for by them: --stream test is for counted ones", o->data);
    } else {
        e = session_run(o, tls, data);
    }
    portion_close(data);
    return e;
}

int main(int argc, char **argv) {
    node_options options;
    tls_context *tls = NULL;
    err e = process_start();
    process_shorten_slices();
    e = e ? e : node_options_parse(argc, argv, &options);
    if (!e && tls_is_wanted(&options.tls_files)) {
        e = tls_context_new(&tls, &options.tls_files);
    }
    e = e ? e : blas_begin(1);
    e = e ? e : run(&options, tls);
    tls_context_free(tls);
    return process_end(e == ERR_STOPPED ? ERR_OK : e); /* told to stop it has done its work, however far it was */
}
