#include "cli/loadgen/load_http.h"

#include "base/clock.h"
#include "base/interrupt.h"
#include "cli/latency.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    STATUS_MAX = 600,
    NO_STATUS = 0,
    TIMEOUT_MS = 30000,
    GRACE_SECONDS = 5,
};

/* Its digits are written anew for every request. */
static const char id_header[] = "X-Request-Id: load-0000000000000000";

typedef struct slot {
    CURL *curl;
    struct curl_slist *headers;
    char *id; /* in `headers`: that of the request under way */
    uint64_t due_ns;
    bool is_busy;
} slot;

typedef struct run {
    const load_http *load;
    CURLM *multi;
    slot *slots; /* [connections] */
    unsigned busy;
    uint64_t start_ns, end_ns;
    uint64_t answered_ns; /* when the last answer came */
    uint64_t sent, answered, mismatched;
    uint64_t statuses[STATUS_MAX]; /* NO_STATUS: no answer came */
    latency latency;
} run;

static size_t drop_answer(char *bytes, size_t size, size_t count, void *context) {
    (void)bytes, (void)context;
    return size * count;
}

/* libcurl copies what is appended, so a slot's id is its own to write into. */
static err make_headers(const run *r, slot *s) {
    char type[sizeof "Content-Type: " + sizeof r->load->samples->type];
    snprintf(type, sizeof type, "Content-Type: %s", r->load->samples->type);
    s->headers = curl_slist_append(NULL, id_header);
    if (!s->headers || !curl_slist_append(s->headers, type) ||
        (r->load->authorization && !curl_slist_append(s->headers, r->load->authorization))) {
        return err_fail(ERR_MEMORY, "no memory for the headers of a request");
    }
    s->id = strchr(s->headers->data, ' ') + 1;
    return ERR_OK;
}

static err open_slot(run *r, slot *s) {
    s->curl = curl_easy_init();
    if (!s->curl) {
        return err_fail(ERR_MEMORY, "libcurl could not be started");
    }
    err e = make_headers(r, s);
    e = e ? e : http_client_prepare(s->curl, r->load->server, "/v1/classify", TIMEOUT_MS);
    if (e) {
        return e;
    }
    curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, drop_answer);
    curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, s->headers);
    curl_easy_setopt(s->curl, CURLOPT_POSTFIELDSIZE, (long)r->load->samples->size);
    curl_easy_setopt(s->curl, CURLOPT_PRIVATE, s);
    return ERR_OK;
}

static err open_run(run *r) {
    const load_http *load = r->load;
    r->multi = curl_multi_init();
    r->slots = calloc(load->connections, sizeof *r->slots);
    if (!r->multi || !r->slots) {
        return err_fail(ERR_MEMORY, "no memory for %u connections", load->connections);
    }
    curl_multi_setopt(r->multi, CURLMOPT_MAXCONNECTS, (long)load->connections);
    err e = ERR_OK;
    for (unsigned i = 0; i < load->connections && !e; i++) {
        e = open_slot(r, &r->slots[i]);
    }
    return e;
}

static void close_run(run *r) {
    for (unsigned i = 0; r->slots && i < r->load->connections; i++) {
        if (r->slots[i].is_busy) {
            curl_multi_remove_handle(r->multi, r->slots[i].curl);
        }
        curl_easy_cleanup(r->slots[i].curl);
        curl_slist_free_all(r->slots[i].headers);
    }
    curl_multi_cleanup(r->multi);
    free(r->slots);
    latency_free(&r->latency);
}

/* When request number n is due. */
static uint64_t due_at(const run *r, uint64_t n) {
    return r->start_ns + (uint64_t)((double)n / r->load->rate * 1e9);
}

static uint64_t offered_by(const run *r, uint64_t now_ns) {
    uint64_t until = now_ns < r->end_ns ? now_ns : r->end_ns;
    return (uint64_t)((double)(until - r->start_ns) * 1e-9 * r->load->rate) + (now_ns < r->end_ns);
}

/* What was due before the end is so after it too: left out, a server that stalls then would look fast. */
static bool is_due(const run *r, uint64_t now_ns) {
    return r->load->rate == 0 ? now_ns < r->end_ns : r->sent < offered_by(r, now_ns);
}

static void start_due(run *r) {
    for (unsigned i = 0; i < r->load->connections && r->busy < r->load->connections; i++) {
        slot *s = &r->slots[i];
        uint64_t now_ns = clock_now_ns();
        if (!is_due(r, now_ns)) {
            return;
        }
        if (s->is_busy) {
            continue;
        }
        s->due_ns = r->load->rate > 0 ? due_at(r, r->sent) : now_ns;
        s->is_busy = true;
        snprintf(s->id, strlen(s->id) + 1, "load-%016llx", (unsigned long long)r->sent);
        /* random: no answer of the server comes from having seen the sample a moment ago */
        curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, load_samples_body(r->load->samples, r->sent).bytes);
        curl_multi_add_handle(r->multi, s->curl);
        r->busy++;
        r->sent++;
    }
}

/* An answer names the request that it is for. */
static bool is_for_another(const slot *s) {
    struct curl_header *named;
    return curl_easy_header(s->curl, "X-Request-Id", 0, CURLH_HEADER, -1, &named) != CURLHE_OK ||
           strcmp(named->value, s->id) != 0;
}

static err take_done(run *r) {
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(r->multi, &left));) {
        if (m->msg != CURLMSG_DONE) {
            continue;
        }
        slot *s = NULL;
        long status = 0;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &s);
        curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        bool came = m->data.result == CURLE_OK && status > 0 && status < STATUS_MAX;
        r->statuses[came ? status : NO_STATUS]++;
        r->answered += came;
        r->mismatched += status == HTTP_OK && is_for_another(s);
        curl_multi_remove_handle(r->multi, s->curl);
        s->is_busy = false;
        r->busy--;
        r->answered_ns = clock_now_ns();
        bool has_taken_time = came || m->data.result == CURLE_OPERATION_TIMEDOUT;
        err e = has_taken_time ? latency_add(&r->latency, r->answered_ns - s->due_ns) : ERR_OK;
        if (e) {
            return e;
        }
    }
    return ERR_OK;
}

/* Waits for an answer or for the next request. The wait counts milliseconds, so what is due sooner is waited for awake.
 */
static void wait_for_more(run *r) {
    int ms = 100;
    uint64_t now_ns = clock_now_ns();
    if (r->busy < r->load->connections && r->load->rate > 0 && now_ns < r->end_ns) {
        uint64_t due_ns = due_at(r, r->sent);
        ms = due_ns > now_ns ? (int)((due_ns - now_ns) / 1000000) : 0;
        ms = ms < 100 ? ms : 100;
    }
    curl_multi_poll(r->multi, NULL, 0, ms, NULL);
}

/* What has no answer by now has waited at least until now. */
static err add_unanswered(run *r) {
    uint64_t now_ns = clock_now_ns(), offered = r->load->rate > 0 ? offered_by(r, now_ns) : r->sent;
    err e = ERR_OK;
    for (unsigned i = 0; i < r->load->connections && !e; i++) {
        e = r->slots[i].is_busy ? latency_add(&r->latency, now_ns - r->slots[i].due_ns) : ERR_OK;
    }
    for (uint64_t n = r->sent; n < offered && !e; n++) {
        e = latency_add(&r->latency, now_ns - due_at(r, n));
    }
    return e;
}

static err go(run *r) {
    r->start_ns = clock_now_ns();
    r->end_ns = r->start_ns + (uint64_t)(r->load->seconds * 1e9);
    const uint64_t last_ns = r->end_ns + GRACE_SECONDS * 1000000000ull;
    err e = ERR_OK;
    for (uint64_t now_ns = r->start_ns;
         !e && (now_ns < r->end_ns || ((r->busy > 0 || is_due(r, now_ns)) && now_ns < last_ns));
         now_ns = clock_now_ns()) {
        if (interrupt_asked()) {
            return err_fail(ERR_STOPPED, "stopped after %llu answers", (unsigned long long)r->answered);
        }
        start_due(r);
        int running;
        curl_multi_perform(r->multi, &running);
        e = take_done(r);
        if (!e && (r->busy == r->load->connections || !is_due(r, clock_now_ns()))) {
            wait_for_more(r);
        }
    }
    return e ? e : add_unanswered(r);
}

static json_t *report_of(run *r) {
    json_t *statuses = json_object();
    r->statuses[NO_STATUS] += r->busy; /* given up */
    for (int i = 0; i < STATUS_MAX; i++) {
        char name[12] = "none";
        if (i != NO_STATUS) {
            snprintf(name, sizeof name, "%d", i);
        }
        if (r->statuses[i]) {
            json_object_set_new(statuses, name, json_integer((json_int_t)r->statuses[i]));
        }
    }
    uint64_t offered = r->load->rate > 0 ? offered_by(r, r->end_ns) : r->sent;
    double seconds = fmax(r->load->seconds, (double)r->answered_ns * 1e-9 - (double)r->start_ns * 1e-9);
    return json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:o, s:o}", "offered", (json_int_t)offered, "sent",
                     (json_int_t)r->sent, "answered", (json_int_t)r->answered, "mismatched", (json_int_t)r->mismatched,
                     "seconds", seconds, "rate", (double)r->answered / seconds, "status", statuses, "latency_ms",
                     latency_json(&r->latency));
}

err load_http_run(const load_http *load, json_t **report) {
    run r = {.load = load, .latency = latency_make()};
    err e = open_run(&r);
    e = e ? e : go(&r);
    *report = e ? NULL : report_of(&r);
    close_run(&r);
    return e;
}
