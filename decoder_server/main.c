/* decoder_server: owns the decoder, the classifier and the labels; trains with the nodes, then serves. */
#include "base/log.h"
#include "base/options.h"
#include "decoder_server/options.h"
#include "decoder_server/serve/serve.h"
#include "decoder_server/then_serve.h"
#include "decoder_server/train/train.h"

#include <cblas.h>
#include <stdio.h>
#include <sys/resource.h>

enum { FILES_WANTED = 4096 };

const char *argp_program_version = "decoder_server 0.1.0";

/* A thousand nodes and a thousand requests need more descriptors than the usual soft limit of 1,024. */
static void raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FILES_WANTED) {
        limit.rlim_cur = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv) {
    argp_err_exit_status = 2;
    raise_file_limit();
    openblas_set_num_threads(1);
    server_options options;
    err e = server_options_parse(argc, argv, &options);
    if (!e && tls_is_wanted(&options.tls_files)) {
        e = tls_context_new(&options.tls, &options.tls_files);
    }
    if (!e) {
        e = options.command == SERVER_TRAIN ? train_command(&options) : serve_command(&options);
    }
    if (!e && options.then_serve) {
        e = then_serve(&options);
    }
    tls_context_free(options.tls);
    if (e) {
        log_failure();
    }
    return err_exit_code(e);
}
