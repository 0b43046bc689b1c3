/* decoder_server: owns the decoder, the classifier and the labels; trains with the nodes, then serves. */
#include "base/options.h"
#include "decoder_server/options.h"
#include "decoder_server/serve/serve.h"
#include "decoder_server/train/train.h"

#include <cblas.h>
#include <stdio.h>

const char *argp_program_version = "decoder_server 0.1.0";

int main(int argc, char **argv) {
    argp_err_exit_status = 2;
    openblas_set_num_threads(1);
    server_options options;
    err e = server_options_parse(argc, argv, &options);
    if (!e) {
        e = options.command == SERVER_TRAIN ? train_command(&options) : serve_command(&options);
    }
    if (e) {
        fprintf(stderr, "decoder_server: %s\n", err_text());
    }
    return err_exit_code(e);
}
