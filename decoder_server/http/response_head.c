#include "decoder_server/http/response_head.h"

#include <string.h>

typedef struct writer {
    char *at, *end;
    bool is_full;
} writer;

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
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm utc = {0};
    char form[HTTP_DATE_MAX]; /* the names are English, whatever the locale */
    gmtime_r(&seconds, &utc);
    memcpy(form, "DDD, %d MMM %Y %H:%M:%S GMT", sizeof "DDD, %d MMM %Y %H:%M:%S GMT");
    memcpy(form, days[utc.tm_wday], 3);
    memcpy(form + sizeof "DDD, %d " - 1, months[utc.tm_mon], 3);
    if (strftime(to, HTTP_DATE_MAX, form, &utc) == 0) {
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

static void put(writer *w, const char *text) {
    size_t length = strlen(text);
    w->is_full = w->is_full || (size_t)(w->end - w->at) < length;
    if (!w->is_full) {
        memcpy(w->at, text, length);
        w->at += length;
    }
}

static void put_number(writer *w, size_t value) {
    char digits[24], *at = digits + sizeof digits;
    *--at = '\0';
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    put(w, at);
}

static void put_field(writer *w, const char *name, const char *value) {
    put(w, name);
    put(w, ": ");
    put(w, value);
    put(w, "\r\n");
}

/* No printf: this is written for every request. */
size_t response_head_write(char to[RESPONSE_HEAD_MAX], const response_head *a, const char *date) {
    writer w = {.at = to, .end = to + RESPONSE_HEAD_MAX};
    put(&w, "HTTP/1.1 ");
    put_number(&w, a->status);
    put(&w, " ");
    put(&w, reason_of(a->status));
    put(&w, "\r\n");
    put_field(&w, "Date", date);
    for (size_t i = 0; i < a->field_count; i++) {
        put_field(&w, a->fields[i].name, a->fields[i].value);
    }
    if (a->is_chunked) {
        put_field(&w, "Transfer-Encoding", "chunked");
    } else if (!a->has_no_length && response_has_body(a->status)) {
        put(&w, "Content-Length: ");
        put_number(&w, a->length);
        put(&w, "\r\n");
    }
    if (a->connection) {
        put_field(&w, "Connection", a->connection);
    }
    put(&w, "\r\n");
    return w.is_full ? 0 : (size_t)(w.at - to);
}
