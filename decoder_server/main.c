/* decoder_server: owns the decoder, the classifier and the labels; trains with the nodes, then serves. */
#include "base/interrupt.h"
#include "base/options.h"
#include "base/process.h"
#include "decoder_server/core/server_options.h"
#include "decoder_server/serve/serve.h"
#include "decoder_server/serve_after.h"
#include "decoder_server/train/train.h"

#include "version.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FILES_WANTED = 4096 };

const char *argp_program_version = "decoder_server " FEWBIT_VERSION;

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

static err run(server_options *o) {
    err e = tls_is_wanted(&o->tls_files) ? tls_context_new(&o->tls, &o->tls_files) : ERR_OK;
    if (o->command == SERVER_SERVE) {
        e = e ? e : serve_command(o);
        return e == ERR_STOPPED ? ERR_OK : e; /* told to stop it has done its work, however far it was */
    }
    e = e ? e : train_command(o);
    return e || !o->serve_after ? e : serve_after(o);
}

int main(int argc, char **argv) {
    server_options options = {0};
    err e = process_start();
    make_room_for_files();
    e = e ? e : server_options_parse(argc, argv, &options);
    if (options.local) {
        interrupt_hang_up_stops();
    }
    e = e ? e : run(&options);
    tls_context_free(options.tls);
    return process_end(e);
}
