#include "cli/datasets/download.h"

#include "base/clock.h"
#include "base/interrupt.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONNECT_SECONDS = 15, SLOW_SECONDS = 30, SLOW_BYTES = 1000, REDIRECTS_MAX = 5, ATTEMPTS_MAX = 20 };

typedef struct transfer {
    const download *request;
    int fd;
    uint64_t before; /* bytes in the file when it began */
    uint64_t have;   /* bytes in the file now */
    int write_error; /* errno */
    bool too_large;
    bool is_terminal; /* standard error, where progress is shown */
    uint64_t start_ns, shown_ns;
} transfer;

/* Progress: one line on a terminal, ten times a second; else one now and then. */

static double megabytes(uint64_t bytes) {
    return (double)bytes * 1e-6;
}

static void begin_progress(transfer *t) {
    t->is_terminal = isatty(STDERR_FILENO) == 1;
    t->start_ns = t->shown_ns = clock_now_ns();
    if (!t->is_terminal && t->before > 0) {
        fprintf(stderr, "%s: resuming after %.1f MB\n", t->request->name, megabytes(t->before));
    }
}

/* `total` is 0 as long as it is not known. */
static void show_progress(transfer *t, uint64_t total) {
    const uint64_t now = clock_now_ns(), pause_ns = t->is_terminal ? 100000000u : 10000000000u;
    if (now - t->shown_ns < pause_ns) {
        return;
    }
    t->shown_ns = now;
    double rate = megabytes(t->have - t->before) / clock_seconds_since(t->start_ns);
    fprintf(stderr, "%s%s: %.1f", t->is_terminal ? "\r" : "", t->request->name, megabytes(t->have));
    if (total > 0) {
        uint64_t have = t->have < total ? t->have : total;
        uint64_t left = rate > 0 ? (uint64_t)(megabytes(total - have) / rate) : 0;
        fprintf(stderr, " of %.1f MB (%" PRIu64 " %%), %.1f MB/s, %" PRIu64 ":%02" PRIu64 " left", megabytes(total),
                have * 100 / total, rate, left / 60, left % 60);
    } else {
        fprintf(stderr, " MB, %.1f MB/s", rate);
    }
    fputs(t->is_terminal ? "\033[K" : "\n", stderr);
}

static void end_progress(const transfer *t, bool done) {
    fputs(t->is_terminal ? "\r\033[K" : "", stderr);
    if (done) {
        fprintf(stderr, "%s: %.1f MB in %.1f s\n", t->request->name, megabytes(t->have - t->before),
                clock_seconds_since(t->start_ns));
    }
}

static size_t on_bytes(char *bytes, size_t size, size_t count, void *context) {
    transfer *t = context;
    size_t length = size * count;
    if (length > t->request->cap - t->have) {
        t->too_large = true;
        return CURL_WRITEFUNC_ERROR;
    }
    for (size_t done = 0; done < length;) {
        ssize_t put = write(t->fd, bytes + done, length - done);
        if (put < 0 && errno != EINTR) {
            t->write_error = errno;
            return CURL_WRITEFUNC_ERROR;
        }
        done += put > 0 ? (size_t)put : 0;
    }
    t->have += length;
    return length;
}

static int on_progress(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now) {
    (void)now, (void)up_total, (void)up_now;
    transfer *t = context;
    show_progress(t, total > 0 ? t->before + (uint64_t)total : 0);
    return interrupt_asked();
}

static void set_options(CURL *curl, transfer *t, char reason[CURL_ERROR_SIZE]) {
    const download *d = t->request;
    curl_easy_setopt(curl, CURLOPT_URL, d->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, d->allow_http ? "http,https" : "https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "fewbit");
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)SLOW_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES);
    curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)d->cap);
    curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)t->before);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
}

static err explain(const transfer *t, CURLcode code, const char *reason) {
    const download *d = t->request;
    if (code == CURLE_OK) {
        return ERR_OK;
    }
    if (code == CURLE_ABORTED_BY_CALLBACK) {
        return err_fail(ERR_STOPPED, "%s: stopped after %llu bytes", d->url, (unsigned long long)t->have);
    }
    if (t->write_error) {
        errno = t->write_error;
        return err_system(ERR_IO, "%s: cannot write", d->to);
    }
    if (t->too_large || code == CURLE_FILESIZE_EXCEEDED) {
        return err_fail(ERR_INPUT, "%s: is larger than the %llu bytes allowed", d->url, (unsigned long long)d->cap);
    }
    return err_fail(ERR_NETWORK, "%s: %s", d->url, reason[0] ? reason : curl_easy_strerror(code));
}

static err perform(transfer *t, CURLcode *code) {
    CURL *curl = curl_easy_init();
    if (!curl) {
        return err_fail(ERR_MEMORY, "%s: no memory to fetch it", t->request->url);
    }
    char reason[CURL_ERROR_SIZE] = "";
    set_options(curl, t, reason);
    begin_progress(t);
    *code = curl_easy_perform(curl);
    end_progress(t, *code == CURLE_OK);
    curl_easy_cleanup(curl);
    return explain(t, *code, reason);
}

static err file_open(transfer *t) {
    t->fd = open(t->request->to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (t->fd < 0) {
        return err_system(ERR_IO, "%s: cannot open", t->request->to);
    }
    struct stat status;
    if (fstat(t->fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        return err_fail(ERR_IO, "%s: not a regular file", t->request->to);
    }
    t->before = t->have = (uint64_t)status.st_size;
    if (t->have > t->request->cap) {
        t->before = t->have = 0;
        return ftruncate(t->fd, 0) == 0 ? ERR_OK : err_system(ERR_IO, "%s: cannot empty it", t->request->to);
    }
    return ERR_OK;
}

/* Whether trying again can help; prepares the file for it. */
static bool worth_again(const transfer *t, CURLcode code) {
    if (code == CURLE_RANGE_ERROR && t->before > 0) {
        return ftruncate(t->fd, 0) == 0;
    }
    bool cut = code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_OPERATION_TIMEDOUT ||
               code == CURLE_GOT_NOTHING;
    return cut && t->have > t->before;
}

static err attempt(const download *d, bool *again) {
    transfer t = {.request = d};
    CURLcode code = CURLE_OK;
    *again = false;
    err e = file_open(&t);
    if (!e) {
        e = perform(&t, &code);
        *again = worth_again(&t, code);
    }
    if (!e && fsync(t.fd) != 0) {
        e = err_system(ERR_IO, "%s: cannot sync", d->to);
    }
    if (t.fd >= 0) {
        close(t.fd);
    }
    if (e && t.have == 0) {
        unlink(d->to);
    }
    return e;
}

err download_file(const download *d) {
    err e = ERR_OK;
    bool again = true;
    for (int i = 0; i < ATTEMPTS_MAX && again; i++) {
        e = attempt(d, &again);
    }
    return e;
}
