#include "decoder_server/serve/streams.h"

#include "base/log_limit.h"
#include "data/partition.h"

#include <inttypes.h>
#include <stdlib.h>

/* Samples that the first may be ahead of the slowest. It grows as long as the slowest follows in time. */
enum { LEAD_FIRST = 1024, LEAD_MAX = 1 << 16 };

/* An id beyond is a lie: nobody counts that far; and no link that went down had as many samples on it. */
static const uint64_t id_max = (uint64_t)1 << 62, lost_max = (uint64_t)1 << 32;

typedef enum stream_state {
    STREAM_IS_NONE,  /* nothing to stream, or nobody is here */
    STREAM_WAITS,    /* a new one, for a session to begin */
    STREAM_RUNS,     /* in the session; its process may have lost its link */
    STREAM_IS_OVER,  /* its process has nothing more */
    STREAM_IS_ALIEN, /* the rest of one that began in a session that is not there any more */
} stream_state;

typedef struct stream {
    stream_state state;
    bool is_here, is_given_up;
    bool is_told; /* that it is outside */
    streams_notice_kind notice;
    uint64_t session; /* of its process, as told */
    /* Ids: of the sample to come from it, and those after the last that is put together, and that has come at all. */
    uint64_t next, reached, brought;
    uint64_t brought_ns; /* when its last codes came */
} stream;

struct streams {
    streams_config config;
    stream of[PARTITION_PORTIONS_MAX];
    uint64_t session;  /* 0: none is under way */
    uint64_t sessions; /* begun so far */
    uint64_t floor;    /* the session's samples here are those from this id on */
    uint64_t end;      /* after all ids that are used */
    bool has_said;     /* why no session begins */
    uint64_t lead;     /* allowed now */
    /* How long the slowest needs to where the first was. */
    uint64_t mark, mark_lead, mark_ns;
    bool has_lag;        /* it was not there at once */
    bool is_limited;     /* somebody has waited since the mark was set */
    uint64_t blocked_ns; /* since when somebody waits and the slowest brings nothing; 0: nobody does */
};

err streams_new(streams **out, const streams_config *config) {
    streams *s = calloc(1, sizeof *s);
    if (!s) {
        return err_fail(ERR_MEMORY, "no memory for the streams");
    }
    s->config = *config;
    s->lead = LEAD_FIRST;
    *out = s;
    return ERR_OK;
}

void streams_free(streams *s) {
    free(s);
}

/* Who is waited for: in the session, here, and not given up. */
static bool is_active(const stream *one) {
    return one->state == STREAM_RUNS && one->is_here && !one->is_given_up;
}

/* How far the slowest and the first of those are; false: there is none. */
static bool find_ends(const streams *s, uint64_t *slowest, uint64_t *first) {
    *slowest = UINT64_MAX;
    *first = 0;
    for (uint32_t k = 0; k < s->config.portions; k++) {
        const stream *one = &s->of[k];
        if (is_active(one)) {
            *slowest = one->reached < *slowest ? one->reached : *slowest;
            *first = one->reached > *first ? one->reached : *first;
        }
    }
    return *slowest != UINT64_MAX;
}

/* Sessions. */

static bool has_state(const streams *s, stream_state state, bool here) {
    for (uint32_t k = 0; k < s->config.portions; k++) {
        if (s->of[k].state == state && (s->of[k].is_here || !here)) {
            return true;
        }
    }
    return false;
}

static bool are_all_here(const streams *s) {
    for (uint32_t k = 0; k < s->config.portions; k++) {
        if (!s->of[k].is_here) {
            return false;
        }
    }
    return true;
}

static void enter(stream *one, uint64_t next, uint64_t now_ns) {
    one->state = STREAM_RUNS;
    one->is_given_up = one->is_told = false;
    one->notice = STREAMS_NOTICE_BEGIN;
    one->next = next;
    one->reached = next > one->reached ? next : one->reached;
    one->brought_ns = now_ns;
}

static void begin(streams *s, uint64_t now_ns) {
    s->session = s->config.first_session + ++s->sessions;
    s->floor = s->end;
    for (uint32_t k = 0; k < s->config.portions; k++) {
        if (s->of[k].state == STREAM_WAITS) {
            enter(&s->of[k], s->floor, now_ns);
        }
    }
    log_limited(LOG_INFO, "stream_session_began", 0, "session %" PRIx64 " of streams begins at sample %" PRIu64,
                s->session, s->floor);
}

static uint32_t count_waiting(const streams *s, uint64_t session) {
    uint32_t count = 0;
    for (uint32_t k = 0; k < s->config.portions; k++) {
        count += s->of[k].state == STREAM_WAITS && s->of[k].session == session;
    }
    return count;
}

/* The session that most of the waiting processes were in, at a server before this one; 0: none, or more are new. What
 * few say of a server that is no more keeps nobody else out. */
static uint64_t find_told(const streams *s) {
    uint32_t most = 0;
    uint64_t found = 0;
    for (uint32_t k = 0; k < s->config.portions; k++) {
        uint32_t count = s->of[k].session ? count_waiting(s, s->of[k].session) : 0;
        found = count > most ? s->of[k].session : found;
        most = count > most ? count : most;
    }
    return most < count_waiting(s, 0) ? 0 : found;
}

/* The sample that half of a session's processes have not gone beyond. */
static uint64_t find_middle(const streams *s, uint64_t session) {
    uint64_t middle = UINT64_MAX;
    for (uint32_t k = 0; k < s->config.portions; k++) {
        uint32_t behind = 0, ahead = 0;
        for (uint32_t i = 0; i < s->config.portions && s->of[k].session == session; i++) {
            bool is_of_it = s->of[i].session == session;
            behind += is_of_it && s->of[i].next <= s->of[k].next;
            ahead += is_of_it && s->of[i].next > s->of[k].next;
        }
        middle = behind > 0 && behind >= ahead && s->of[k].next < middle ? s->of[k].next : middle;
    }
    return middle;
}

/* What waits and belongs to no session that is counted here. */
static void leave_out(streams *s, uint64_t session) {
    for (uint32_t k = 0; k < s->config.portions; k++) {
        stream *one = &s->of[k];
        if (one->state == STREAM_WAITS && one->session != session && one->session != 0) {
            one->state = STREAM_IS_ALIEN;
        }
    }
}

/* Goes on with a session from the first sample that none of its streams has sent: what was with the server before is
 * lost, or answered. One that says it is far ahead of most of them would take the ids away from all. */
static void resume(streams *s, uint64_t session, uint64_t now_ns) {
    uint64_t furthest = find_middle(s, session) + lost_max;
    s->session = session;
    s->sessions++;
    for (uint32_t k = 0; k < s->config.portions; k++) {
        const stream *one = &s->of[k];
        bool counts = one->session == session && one->next <= furthest;
        s->end = counts && one->next > s->end ? one->next : s->end;
    }
    s->floor = s->end;
    for (uint32_t k = 0; k < s->config.portions; k++) {
        stream *one = &s->of[k];
        if (one->state == STREAM_WAITS && one->session == session && one->next <= furthest) {
            enter(one, one->next, now_ns);
        } else if (one->state == STREAM_WAITS && one->session == session) {
            one->state = STREAM_IS_ALIEN;
        }
    }
    leave_out(s, session);
    log_limited(LOG_INFO, "stream_session_resumed", 0,
                "session %" PRIx64 " of streams, begun at a server before this one, goes on at sample %" PRIu64,
                session, s->floor);
}

static void start(streams *s, uint64_t now_ns) {
    uint64_t told = find_told(s);
    if (told) {
        resume(s, told, now_ns);
        return;
    }
    leave_out(s, 0);
    if (!has_state(s, STREAM_IS_OVER, true) && !has_state(s, STREAM_IS_ALIEN, true)) {
        begin(s, now_ns);
    } else if (!s->has_said) {
        s->has_said = true;
        log_limited(LOG_WARN, "stream_waits", 0,
                    "a new stream waits for the nodes whose streams have ended to begin anew with it");
    }
}

static void tell_outside(stream *one) {
    one->is_told = true;
    one->notice = STREAMS_NOTICE_OUTSIDE;
}

static void tell_all_outside(streams *s) {
    bool runs = s->session && has_state(s, STREAM_RUNS, true);
    for (uint32_t k = 0; k < s->config.portions; k++) {
        stream *one = &s->of[k];
        if (one->is_told || !one->is_here) {
            continue;
        }
        if (one->state == STREAM_WAITS && runs) {
            log_limited(LOG_WARN, "stream_left_out", k + 1,
                        "portion %s has come with a new process in the middle of session %" PRIx64
                        " of streams: its portions are left out until the next one",
                        s->config.names[k], s->session);
            tell_outside(one);
        } else if (one->state == STREAM_IS_ALIEN) {
            log_limited(LOG_WARN, "stream_left_out", k + 1,
                        "portion %s has the rest of session %" PRIx64 " of streams, which is over: it is left out",
                        s->config.names[k], one->session);
            tell_outside(one);
        }
    }
}

/* After whatever has changed with a node. */
static void update_session(streams *s, uint64_t now_ns) {
    if (s->session && !has_state(s, STREAM_RUNS, false)) {
        log_limited(LOG_INFO, "stream_session_ended", 0, "session %" PRIx64 " of streams is over at sample %" PRIu64,
                    s->session, s->end);
        s->session = 0;
    }
    if (!s->session && are_all_here(s) && has_state(s, STREAM_WAITS, true)) {
        start(s, now_ns);
    }
    tell_all_outside(s);
}

static stream_state state_of(const streams *s, const stream *one, const Fewbit__Ready *r) {
    if (r->stream == FEWBIT__STREAM__STREAM_NONE) {
        return STREAM_IS_NONE;
    }
    if (r->stream == FEWBIT__STREAM__STREAM_ENDED) {
        return STREAM_IS_OVER;
    }
    if (r->session && r->session == s->session) {
        return STREAM_RUNS;
    }
    bool is_alien = r->session && (s->session || s->sessions > 0 || one->state == STREAM_IS_ALIEN);
    return is_alien ? STREAM_IS_ALIEN : STREAM_WAITS;
}

err streams_ready(streams *s, uint32_t portion, const Fewbit__Ready *r, uint64_t now_ns) {
    stream *one = &s->of[portion];
    bool is_known = r->session && r->session == s->session;
    if (r->next > id_max || (r->session == 0 && r->next > 0) || (is_known && r->next > s->end + lost_max)) {
        return err_fail(ERR_INPUT, "a stream that stands at sample %" PRIu64, r->next);
    }
    stream_state state = state_of(s, one, r);
    one->is_here = true;
    one->is_told = false;
    one->notice = STREAMS_NOTICE_NONE;
    one->session = r->session;
    one->state = state;
    one->next = r->next;
    s->has_said = false;
    if (state == STREAM_RUNS) {
        enter(one, r->next, now_ns);
        s->end = r->next > s->end ? r->next : s->end;
    }
    update_session(s, now_ns);
    return ERR_OK;
}

void streams_left(streams *s, uint32_t portion, uint64_t now_ns) {
    stream *one = &s->of[portion];
    one->is_here = false;
    one->notice = STREAMS_NOTICE_NONE;
    one->state = one->state == STREAM_RUNS ? STREAM_RUNS : STREAM_IS_NONE;
    s->blocked_ns = 0;
    update_session(s, now_ns);
}

err streams_ended(streams *s, uint32_t portion, uint64_t now_ns) {
    if (s->of[portion].state != STREAM_RUNS) {
        return err_fail(ERR_INPUT, "the end of a stream that is not in the session");
    }
    s->of[portion].state = STREAM_IS_OVER;
    s->blocked_ns = 0;
    update_session(s, now_ns);
    return ERR_OK;
}

streams_notice streams_take_notice(streams *s, uint32_t portion) {
    stream *one = &s->of[portion];
    streams_notice notice = {
        .kind = one->notice,
        .session = s->session,
        .first = one->next,
        .text = one->state == STREAM_IS_ALIEN
                    ? "the session that this stream began in is over: what is left of it is not taken"
                    : "a session of streams was under way before this process came: its portions are left out until "
                      "all streams have ended and begin anew",
    };
    one->notice = STREAMS_NOTICE_NONE;
    return notice;
}

/* Codes. */

err streams_take(streams *s, uint32_t portion, uint64_t first, uint64_t count, uint64_t now_ns) {
    stream *one = &s->of[portion];
    if (one->state != STREAM_RUNS || !one->is_here) {
        return err_fail(ERR_INPUT, "codes of a stream that is not in the session");
    }
    if (first != one->next || first + count > id_max) {
        return err_fail(ERR_INPUT, "codes from sample %" PRIu64 " on, where %" PRIu64 " was due", first, one->next);
    }
    if (one->is_given_up) {
        one->is_given_up = false;
        log_limited(LOG_INFO, "stream_goes_on", portion + 1, "portion %s streams again, from sample %" PRIu64 " on",
                    s->config.names[portion], first);
    }
    one->next += count;
    one->brought = one->next > one->brought ? one->next : one->brought;
    one->brought_ns = now_ns;
    s->end = one->next > s->end ? one->next : s->end;
    return ERR_OK;
}

/* The lead is what the slowest works off in time: it doubles where it held the first, was made use of, and the slowest
 * was soon where the first had been; where it is overdue there, nobody may be ahead until it is. */
static void follow_pace(streams *s, uint64_t slowest, uint64_t first, uint64_t now_ns) {
    bool is_overdue = s->has_lag && now_ns - s->mark_ns > s->config.lag_ns;
    s->lead = is_overdue ? 1 : s->lead;
    s->has_lag |= slowest < s->mark;
    if (slowest < s->mark) {
        return;
    }
    if (s->is_limited && !is_overdue && 2 * s->mark_lead >= s->lead) {
        s->lead = 2 * s->lead < LEAD_MAX ? 2 * s->lead : LEAD_MAX;
    }
    s->mark = first;
    s->mark_ns = now_ns;
    s->is_limited = false;
    s->has_lag = first > slowest;
    s->mark_lead = first - slowest;
}

void streams_reached(streams *s, uint32_t portion, uint64_t next, uint64_t now_ns) {
    uint64_t before, slowest, first;
    bool was_any = find_ends(s, &before, &first);
    stream *one = &s->of[portion];
    one->reached = next > one->reached ? next : one->reached;
    if (find_ends(s, &slowest, &first)) {
        s->blocked_ns = was_any && slowest == before ? s->blocked_ns : 0;
        follow_pace(s, slowest, first, now_ns);
    }
}

uint64_t streams_alone_from(const streams *s, uint32_t portion) {
    uint64_t from = s->floor;
    for (uint32_t k = 0; k < s->config.portions; k++) {
        const stream *one = &s->of[k];
        if (k != portion && is_active(one)) {
            return UINT64_MAX;
        }
        from = k != portion && one->brought > from ? one->brought : from;
    }
    return from;
}

uint64_t streams_limit(const streams *s) {
    uint64_t slowest, first;
    return find_ends(s, &slowest, &first) ? slowest + s->lead : UINT64_MAX;
}

bool streams_has_room(const streams *s, uint32_t portion) {
    uint64_t slowest, first, reached = s->of[portion].reached;
    return !find_ends(s, &slowest, &first) || reached <= slowest || reached - slowest <= s->lead / 2;
}

void streams_block(streams *s, uint64_t now_ns) {
    s->is_limited = true;
    s->blocked_ns = s->blocked_ns ? s->blocked_ns : now_ns;
}

uint64_t streams_passed(const streams *s) {
    uint64_t slowest, first;
    bool is_any = find_ends(s, &slowest, &first);
    return is_any && slowest > s->floor ? slowest : s->floor;
}

uint64_t streams_end(const streams *s) {
    return s->end;
}

/* When a stream that others wait for is given up. */
static uint64_t stall_ends(const streams *s, const stream *one) {
    uint64_t since = one->brought_ns > s->blocked_ns ? one->brought_ns : s->blocked_ns;
    return since + s->config.stall_timeout_ns;
}

uint64_t streams_poll(streams *s, uint64_t now_ns) {
    uint64_t slowest, first, next = UINT64_MAX;
    if (!find_ends(s, &slowest, &first) || !s->blocked_ns || !s->config.stall_timeout_ns) {
        return next;
    }
    for (uint32_t k = 0; k < s->config.portions; k++) {
        stream *one = &s->of[k];
        if (!is_active(one) || one->reached > slowest || one->next > one->reached) {
            continue;
        }
        uint64_t ends = stall_ends(s, one);
        if (now_ns < ends) {
            next = ends < next ? ends : next;
            continue;
        }
        one->is_given_up = true;
        log_limited(LOG_WARN, "stream_stalled", k + 1,
                    "portion %s has streamed nothing for %" PRIu64 " ms: the others go on without it",
                    s->config.names[k], (now_ns - one->brought_ns) / 1000000);
        s->blocked_ns = 0;
    }
    return next;
}
