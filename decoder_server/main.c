/* decoder_server: owns the decoder, the classifier and the labels; trains with the nodes, then serves. */
#include "base/log.h"
#include "base/options.h"
#include "decoder_server/options.h"
#include "decoder_server/serve/serve.h"
#include "decoder_server/then_serve.h"
#include "decoder_server/train/train.h"

#include <cblas.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FILES_WANTED = 4096 };

const char *argp_program_version = "decoder_server 0.1.0";

/* A thousand nodes and a thousand requests need more descriptors than the usual soft limit of 1,024. And the kernel's
 * table of them grows here, at once: later, with threads, each time that it doubles stops whoever accepts for some 20
 * milliseconds. */
static void make_room_for_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    if (limit.rlim_cur < FILES_WANTED) {
        limit.rlim_cur = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    int last = limit.rlim_cur < FILES_WANTED ? (int)limit.rlim_cur - 1 : FILES_WANTED - 1;
    int there = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, last);
    if (there >= 0) {
        close(there);
    }
}

int main(int argc, char **argv) {
    argp_err_exit_status = 2;
    make_room_for_files();
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
