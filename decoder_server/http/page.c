#include "decoder_server/http/page.h"

#include "base/digest.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The assembler puts the file in as it is; the Makefile knows that this depends on it. */
__asm__(".pushsection .rodata\n"
        "page_start:\n"
        ".incbin \"decoder_server/http/page/index.html\"\n"
        "page_end:\n"
        ".byte 0\n"
        ".popsection\n");

extern const char page_start[], page_end[];

enum { BASE64_BYTES = 4 * ((DIGEST_BYTES + 2) / 3) + 1 };

/* What a policy calls the element's content: its SHA-256 in base64. */
static err hash_of(const char *opening, const char *closing, char hash[BASE64_BYTES]) {
    uint8_t digest[DIGEST_BYTES];
    const char *from = strstr(page_start, opening);
    const char *to = from ? strstr(from, closing) : NULL;
    if (!to) {
        return err_fail(ERR_INTERNAL, "the page has no %s", opening);
    }
    from += strlen(opening);
    err e = digest_bytes(from, (size_t)(to - from), digest);
    if (!e) {
        EVP_EncodeBlock((unsigned char *)hash, digest, DIGEST_BYTES);
    }
    return e;
}

err page_init(page *p) {
    char script[BASE64_BYTES], style[BASE64_BYTES], hex[DIGEST_HEX];
    uint8_t digest[DIGEST_BYTES];
    err e = hash_of("<script>", "</script>", script);
    e = e ? e : hash_of("<style>", "</style>", style);
    e = e ? e : digest_bytes(page_start, (size_t)(page_end - page_start), digest);
    if (e) {
        return e;
    }
    digest_hex(digest, hex);
    snprintf(p->tag, sizeof p->tag, "\"%s\"", hex);
    snprintf(p->policy, sizeof p->policy,
             "default-src 'none'; script-src 'sha256-%s'; style-src 'sha256-%s'; connect-src 'self'; "
             "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
             "require-trusted-types-for 'script'",
             script, style);
    return ERR_OK;
}

struct MHD_Response *page_answer(const page *p, const char *offered, unsigned *status) {
    bool has_it = offered && (strcmp(offered, "*") == 0 || strstr(offered, p->tag));
    *status = has_it ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK;
    size_t length = has_it ? 0 : (size_t)(page_end - page_start);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(length, (void *)(uintptr_t)page_start, MHD_RESPMEM_PERSISTENT);
    if (response) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/html; charset=utf-8");
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
        MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, p->tag);
        MHD_add_response_header(response, "Content-Security-Policy", p->policy);
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    }
    return response;
}
