/* The live page: ui/index.html, compiled into the program.
 *
 * The page holds no secrets, so it needs no token; its requests do. Its Content-Security-Policy allows its own script
 * and style only, by hash, and requests to its own server only. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_UI_H
#define FEWBIT_DECODER_SERVER_HTTP_UI_H

#include "base/err.h"
#include "decoder_server/http/response_head.h"
#include "decoder_server/http/span.h"

enum { UI_TAG_MAX = 72, UI_POLICY_MAX = 512, UI_FIELDS = 6 };

typedef struct ui {
    char tag[UI_TAG_MAX];         /* the ETag with its quotes */
    char policy[UI_POLICY_MAX];   /* Content-Security-Policy */
    http_field fields[UI_FIELDS]; /* of its answer; they point to the two above */
} ui;

/* Computes ETag and policy of the compiled-in page. */
err ui_init(ui *p);

/* Its bytes. */
span ui_text(void);

/* Whether a client that sent this If-None-Match has this page already. */
bool ui_is_known(const ui *p, span offered);

#endif
