#include "decoder_server/http/response_head.h"

#include "base/json_writer.h"

#define ADD(to, literal) dynbuf_add(to, literal, sizeof(literal) - 1)

static const char *reason_of(unsigned status) {
    static const struct {
        unsigned status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {431, "Request Header Fields Too Large"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "";
}

bool response_has_body(unsigned status) {
    return status >= 200 && status != 204 && status != 304;
}

void http_date(char to[HTTP_DATE_MAX], time_t seconds) {
    struct tm utc = {0};
    gmtime_r(&seconds, &utc);
    if (strftime(to, HTTP_DATE_MAX, "%a, %d %b %Y %H:%M:%S GMT", &utc) == 0) { /* no program here sets a locale */
        to[0] = '\0';
    }
}

const char *http_date_now(http_clock *c) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != c->of) {
        c->of = now.tv_sec;
        http_date(c->date, now.tv_sec);
    }
    return c->date;
}

static void add_number(dynbuf *to, size_t value) {
    char digits[JSON_WRITER_NUMBER_MAX];
    dynbuf_add(to, digits, (size_t)(json_writer_put_uint(digits, value) - digits));
}

static void add_field(dynbuf *to, const char *name, const char *value) {
    dynbuf_add_text(to, name);
    ADD(to, ": ");
    dynbuf_add_text(to, value);
    ADD(to, "\r\n");
}

/* No printf: this is written for every request. */
size_t response_head_write(char to[RESPONSE_HEAD_MAX], const response_head *a, const char *date) {
    dynbuf b = dynbuf_over(to, RESPONSE_HEAD_MAX);
    ADD(&b, "HTTP/1.1 ");
    add_number(&b, a->status);
    ADD(&b, " ");
    dynbuf_add_text(&b, reason_of(a->status));
    ADD(&b, "\r\nDate: ");
    dynbuf_add_text(&b, date);
    ADD(&b, "\r\n");
    for (size_t i = 0; i < a->field_count; i++) {
        add_field(&b, a->fields[i].name, a->fields[i].value);
    }
    if (a->is_chunked) {
        ADD(&b, "Transfer-Encoding: chunked\r\n");
    } else if (!a->has_no_length && response_has_body(a->status)) {
        ADD(&b, "Content-Length: ");
        add_number(&b, a->length);
        ADD(&b, "\r\n");
    }
    if (a->connection) {
        add_field(&b, "Connection", a->connection);
    }
    ADD(&b, "\r\n");
    return b.has_failed ? 0 : b.length;
}
