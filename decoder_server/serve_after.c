#include "decoder_server/serve_after.h"

#include "base/address.h"
#include "base/interrupt.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

err serve_after(const server_options *o) {
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
