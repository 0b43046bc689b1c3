/* decoder_server: owns the decoder, the classifier and the labels; trains with the nodes, then serves. */
#include "base/interrupt.h"
#include "base/log.h"
#include "base/process.h"
#include "decoder_server/serve/serve.h"
#include "decoder_server/train/train.h"

#include "version.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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

enum { ARGUMENTS_MAX = 24 };

typedef struct command_line {
    const char *words[ARGUMENTS_MAX + 1]; /* the last stays NULL */
    size_t count;
} command_line;

static void add(command_line *c, const char *name, const char *value) {
    if (value && c->count + 2 <= ARGUMENTS_MAX) {
        c->words[c->count++] = name;
        c->words[c->count++] = value;
    }
}

/* From training to serving without anybody's hand: replaces the process by one that serves the run `o` has trained,
 * with its addresses, TLS, heartbeat and log. Options that only serving has come from the environment. Returns only on
 * failure. */
static err serve_after(const server_options *o) {
    char listen[ADDRESS_TEXT_MAX], http[ADDRESS_TEXT_MAX], heartbeat[24], answer_timeout[24];
    command_line c = {0};
    snprintf(heartbeat, sizeof heartbeat, "%" PRId64, o->heartbeat_ms);
    snprintf(answer_timeout, sizeof answer_timeout, "%" PRId64, o->answer_timeout_s);
    add(&c, "decoder_server", "serve");
    add(&c, "--listen", address_text(listen, o->listen.host, o->listen.port));
    add(&c, "--http", o->http.host[0] ? address_text(http, o->http.host, o->http.port) : NULL);
    add(&c, "--heartbeat", heartbeat);
    add(&c, "--answer-timeout", answer_timeout);
    add(&c, "--address-file", o->address_file);
    add(&c, "--api-token-file", o->token_file);
    add(&c, "--allowed-hosts", o->allowed_hosts);
    add(&c, "--tls-cert", o->tls_files.certificate);
    add(&c, "--tls-key", o->tls_files.key);
    add(&c, "--tls-ca", o->tls_files.ca);
    if (o->insecure) {
        c.words[c.count++] = "--insecure";
    }
    add(&c, "--", o->run);
    interrupt_block();
    err e = interrupt_check();
    if (e) {
        return err_prefix(e, "%s: trained; not served", o->run);
    }
    log_event(LOG_INFO, "training_over", "%s: trained; serving it", o->run);
    execv("/proc/self/exe", (char *const *)(uintptr_t)c.words);
    return err_fail(ERR_IO, "the serving process cannot be started: %s", strerror(errno));
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
