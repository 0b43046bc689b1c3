#include "decoder_server/http/ui.h"

#include "base/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* The assembler puts the file in as it is; the Makefile knows that this depends on it. */
__asm__(".pushsection .rodata\n"
        "ui_start:\n"
        ".incbin \"decoder_server/http/ui/index.html\"\n"
        "ui_end:\n"
        ".byte 0\n"
        ".popsection\n");

extern const char ui_start[], ui_end[];

enum { BASE64_BYTES = 4 * ((SHA256_BYTES + 2) / 3) + 1 };

/* What a policy calls the element's content: its SHA-256 in base64. */
static err hash_of(const char *opening, const char *closing, char hash[BASE64_BYTES]) {
    uint8_t digest[SHA256_BYTES];
    const char *from = strstr(ui_start, opening);
    const char *to = from ? strstr(from, closing) : NULL;
    if (!to) {
        return err_fail(ERR_INTERNAL, "the page has no %s", opening);
    }
    from += strlen(opening);
    err e = sha256_bytes(from, (size_t)(to - from), digest);
    if (!e) {
        EVP_EncodeBlock((unsigned char *)hash, digest, SHA256_BYTES);
    }
    return e;
}

err ui_init(ui *p) {
    char script[BASE64_BYTES], style[BASE64_BYTES], hex[SHA256_HEX];
    uint8_t digest[SHA256_BYTES];
    err e = hash_of("<script>", "</script>", script);
    e = e ? e : hash_of("<style>", "</style>", style);
    e = e ? e : sha256_bytes(ui_start, (size_t)(ui_end - ui_start), digest);
    if (e) {
        return e;
    }
    sha256_hex(digest, hex);
    snprintf(p->tag, sizeof p->tag, "\"%s\"", hex);
    snprintf(p->policy, sizeof p->policy,
             "default-src 'none'; script-src 'sha256-%s'; style-src 'sha256-%s'; connect-src 'self'; "
             "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
             "require-trusted-types-for 'script'",
             script, style);
    const http_field fields[UI_FIELDS] = {
        {"Content-Type", "text/html; charset=utf-8"},
        {"Cache-Control", "no-cache"},
        {"ETag", p->tag},
        {"Content-Security-Policy", p->policy},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
    };
    memcpy(p->fields, fields, sizeof fields);
    return ERR_OK;
}

span ui_text(void) {
    return (span){ui_start, (size_t)(ui_end - ui_start)};
}

bool ui_is_known(const ui *p, span offered) {
    return span_equals(offered, "*") ||
           (offered.length > 0 && memmem(offered.at, offered.length, p->tag, strlen(p->tag)) != NULL);
}
