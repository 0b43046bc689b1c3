/* Streams: pauses of any length at any moment, and which processes are counted together, in virtual time. */
#include "decoder_server/serve/streams.h"

#include "base/rng.h"
#include "tests/lib/engine_fixture.h"

/* Four nodes that push at a rate, one of which stands still for a while. */

enum { MS = 1000000, TICK_MS = 10, FRAME = 1000, PATIENCE_MS = 3000, AWAY_MS = 200 };

typedef struct standstill {
    uint32_t portion;
    uint32_t from_ms, for_ms;
} standstill;

typedef struct scene {
    uint32_t rate;     /* samples a second that sources give */
    uint32_t catch_up; /* how many times as fast a node sends what it has; 1: it never catches up by itself */
    uint32_t seconds;
    standstill stills[2];
    bool loses; /* a link that goes down takes what was last sent with it */
} scene;

typedef struct node {
    uint64_t sent;
    uint32_t silent_ms; /* stands still since so long */
    uint32_t away_ms;   /* until it connects again, once it moves */
    bool is_here;
} node;

typedef struct play {
    table *t;
    const scene *scene;
    node nodes[PORTIONS];
    uint64_t now_ns, samples;
    uint64_t settled_from; /* samples from here on must be whole */
} play;

static bool is_still(const play *p, uint32_t portion) {
    uint64_t ms = p->now_ns / MS;
    for (size_t i = 0; i < 2; i++) {
        const standstill *a = &p->scene->stills[i];
        if (a->for_ms > 0 && a->portion == portion && ms >= a->from_ms && ms < a->from_ms + a->for_ms) {
            return true;
        }
    }
    return false;
}

static uint64_t most_sent(const play *p) {
    uint64_t most = 0;
    for (uint32_t k = 0; k < PORTIONS; k++) {
        most = p->nodes[k].sent > most ? p->nodes[k].sent : most;
    }
    return most;
}

/* Stands still: after three heartbeats its link is down. */
static void stand(play *p, uint32_t k) {
    node *n = &p->nodes[k];
    n->silent_ms += TICK_MS;
    if (n->is_here && n->silent_ms > PATIENCE_MS) {
        engine_left(p->t->engine, k, p->now_ns);
        n->is_here = false;
        n->away_ms = AWAY_MS;
    }
}

static void move(play *p, uint32_t k) {
    node *n = &p->nodes[k];
    bool was_still = n->silent_ms > 0;
    n->silent_ms = 0;
    if (!n->is_here && n->away_ms > 0) {
        n->away_ms -= TICK_MS;
        return;
    }
    if (!n->is_here) {
        n->sent += p->scene->loses ? FRAME / 4 : 0;
        engine_joined(p->t->engine, k);
        say_ready_in(p->t, k, STEP, FEWBIT__STREAM__STREAM_NEW, p->t->session, n->sent);
        n->is_here = true;
        was_still = true;
    }
    p->settled_from = was_still ? most_sent(p) : p->settled_from;
}

static void send_some(play *p, uint32_t k) {
    node *n = &p->nodes[k];
    uint64_t there = p->now_ns / MS * p->scene->rate / 1000;
    uint64_t room = (uint64_t)p->scene->rate * p->scene->catch_up * TICK_MS / 1000 + 1;
    there = there < p->samples ? there : p->samples;
    while (n->sent < there && room > 0 && !p->t->is_held[k]) {
        uint64_t count = there - n->sent < FRAME ? there - n->sent : FRAME;
        count = count < room ? count : room;
        stream_codes(p->t, k, n->sent, (uint32_t)count, p->now_ns);
        n->sent += count;
        room -= count;
    }
}

static bool is_done(const play *p) {
    for (uint32_t k = 0; k < PORTIONS; k++) {
        if (p->nodes[k].sent < p->samples) {
            return false;
        }
    }
    return true;
}

static void poll_all(play *p) {
    while (engine_poll(p->t->engine, p->now_ns) == 0) {
    }
}

static void run_scene(play *p) {
    for (uint32_t k = 0; k < PORTIONS; k++) {
        join(p->t, k);
        p->nodes[k].is_here = true;
    }
    uint64_t limit_ns = (uint64_t)p->scene->seconds * 4000 * MS + (uint64_t)200000 * MS;
    while (!is_done(p)) {
        p->now_ns += (uint64_t)TICK_MS * MS;
        for (uint32_t k = 0; k < PORTIONS; k++) {
            if (is_still(p, k)) {
                stand(p, k);
                continue;
            }
            move(p, k);
            if (p->nodes[k].is_here) {
                send_some(p, k);
            }
        }
        poll_all(p);
        assert_true(p->now_ns < limit_ns);
    }
    p->now_ns += 2 * deadline_ns;
    poll_all(p);
}

/* What a line of results says, without a JSON reader: there are hundreds of thousands. */
static bool read_line(FILE *file, uint64_t *id, uint32_t *class, uint32_t *missing) {
    char line[512];
    if (!fgets(line, sizeof line, file)) {
        return false;
    }
    unsigned long long number;
    assert_int_equal(sscanf(line, "{\"id\":%llu,\"from\":\"stream\",\"class\":%u", &number, class), 2);
    *id = number;
    *missing = 0;
    for (const char *at = line; (at = strstr(at, "null")); at++) {
        ++*missing;
    }
    assert_int_equal(strstr(line, "\"degraded\":true") != NULL, *missing > 0);
    return true;
}

static uint32_t whole_class(table *t, uint64_t id) {
    static uint8_t known[4096]; /* codes repeat: class + 1 by the codes of 16 bits, of those that came up first */
    static uint32_t of[4096];
    uint8_t codes[PORTIONS];
    uint32_t all = 0;
    float probability;
    for (uint32_t k = 0; k < PORTIONS; k++) {
        codes[k] = code_of(id, k);
        all |= (uint32_t)codes[k] << 4 * k;
    }
    uint32_t at = (all * 2654435761u) >> 20;
    if (known[at] == 0 || of[at] != all) {
        known[at] = (uint8_t)(class_of(t, codes, 15, &probability) + 1);
        of[at] = all;
    }
    return known[at] - 1u;
}

typedef struct sums {
    uint64_t degraded, missing; /* samples; portions */
} sums;

static sums check_results(play *p) {
    uint8_t *seen = calloc(p->samples, 1);
    FILE *file = fopen(p->t->results_path, "r");
    uint64_t id, count = 0;
    uint32_t class, missing;
    sums all = {0, 0};
    assert_true(seen && file);
    while (read_line(file, &id, &class, &missing)) {
        assert_true(id < p->samples);
        if (seen[id]++) {
            fail_msg("sample %llu has two results", (unsigned long long)id);
        }
        if (!missing && class != whole_class(p->t, id)) {
            fail_msg("sample %llu has another class than undisturbed", (unsigned long long)id);
        }
        if (missing && id >= p->settled_from + FRAME) {
            fail_msg("sample %llu is not whole, though from %llu on all could be", (unsigned long long)id,
                     (unsigned long long)p->settled_from);
        }
        all.degraded += missing > 0;
        all.missing += missing;
        count++;
    }
    fclose(file);
    free(seen);
    assert_int_equal(count, p->samples);
    return all;
}

static void check_scene(table *t, const scene *s) {
    play p = {.t = t, .scene = s, .samples = (uint64_t)s->rate * s->seconds};
    run_scene(&p);
    sums all = check_results(&p);
    stats_table c = stats_of(t)->streamed;
    assert_int_equal(c.complete + c.expired, p.samples);
    assert_int_equal(c.expired, all.degraded);
    assert_int_equal(c.waiting, 0);
    assert_int_equal(t->drops, 0);
    assert_int_equal(t->pauses[true], t->pauses[false]);
    if (!s->loses) { /* each of the portions came: in time or late */
        assert_int_equal(c.late, all.missing);
    }
    if (s->stills[0].for_ms * MS < deadline_ns / 2 && s->stills[1].for_ms == 0) {
        assert_int_equal(all.degraded, 0);
    }
}

/* The same run with another engine, as a server that has just begun. */
static void begin_anew(table *t) {
    const engine_options options = {
        .deadline_ns = deadline_ns, .predictor = predictor_with_all, .stall_timeout_ns = (uint64_t)PATIENCE_MS * MS};
    engine_host host = {on_tell, on_drop, on_pause, on_answer, on_ready, on_serves, on_changed, t};
    engine_free(t->engine);
    results_close(t->results);
    assert_int_equal(truncate(t->results_path, 0), 0);
    assert_int_equal(results_open(&t->results, t->results_path, &t->run.identity.classes, PORTIONS), ERR_OK);
    assert_int_equal(engine_new(&t->engine, &t->run, t->results, &options, &host), ERR_OK);
    t->drops = t->pauses[0] = t->pauses[1] = 0;
    memset(t->is_held, 0, sizeof t->is_held);
}

static void after_any_pause_answers_are_whole_again(void **state) {
    static const uint32_t rates[] = {3000, 300, 50}, lengths[] = {0, 100, 500, 1000, 2500, 5000, 30000};
    static const uint32_t paces[] = {1, 3, 1000};
    for (size_t r = 0; r < 3; r++) {
        for (size_t l = 0; l < 7; l++) {
            for (size_t c = 0; c < 3; c++) {
                for (uint32_t from_ms = 5; from_ms <= 755; from_ms += r > 0 ? 250 : 750) {
                    const scene s = {rates[r],
                                     paces[c],
                                     lengths[l] / 1000 + 6,
                                     {{(uint32_t)(l + c) % PORTIONS, from_ms, lengths[l]}, {0, 0, 0}},
                                     false};
                    begin_anew(*state);
                    check_scene(*state, &s);
                }
            }
        }
    }
}

static void two_pauses_and_lost_frames(void **state) {
    static const uint32_t gaps[] = {0, 300, 2000, 4000, 9000};
    for (size_t g = 0; g < 5; g++) {
        for (int loses = 0; loses < 2; loses++) {
            for (uint32_t other = 0; other < 2; other++) {
                const scene s = {1000, 4, 20, {{1, 1000, 4000}, {1 + other, 1000 + gaps[g], 5000}}, loses};
                begin_anew(*state);
                check_scene(*state, &s);
            }
        }
    }
}

/* More in a second than the window holds. */
static void at_full_speed(void **state) {
    for (uint32_t pace = 1; pace <= 2; pace++) {
        const scene s = {60000, pace, 3, {{3, 500, 2500}, {0, 0, 0}}, false};
        begin_anew(*state);
        check_scene(*state, &s);
    }
}

/* Processes that come, go, end and come again at random, at servers that are started again as well. */

enum { PROCESSES = 3, TURNS = 300000, SESSIONS_MAX = 1 << 17 };

typedef struct process {
    Fewbit__Stream stream;
    uint64_t session, next; /* 0: not counted yet */
    bool is_up, is_told_outside;
} process;

typedef struct world {
    streams *s;
    process of[PROCESSES];
    uint64_t base;                                                /* of the sessions of this server */
    uint64_t used;                                                /* behind all ids that this server has taken */
    uint64_t moment, begun_at[SESSIONS_MAX], first[SESSIONS_MAX]; /* when a session's processes began, and where */
    uint64_t last_begun;                                          /* at this server */
    uint32_t sessions, resumed, outside;
} world;

static uint64_t number_of_session(uint64_t session) {
    assert_true(session > 0 && session < SESSIONS_MAX);
    return session;
}

static void hear_begin(world *w, uint32_t k, const streams_notice *told) {
    process *p = &w->of[k];
    uint64_t session = number_of_session(told->session);
    assert_true(p->is_up && p->stream == FEWBIT__STREAM__STREAM_NEW);
    if (p->session) { /* it goes on where it was, in its own session alone */
        assert_true(told->session == p->session);
        assert_true(told->first == p->next);
        w->resumed++;
    } else if (w->begun_at[session] == 0) {
        assert_true(told->first >= w->used);
        w->begun_at[session] = w->moment;
        w->first[session] = told->first;
        w->sessions++;
    } else { /* all of a session begin at once, and count from one sample on */
        assert_true(w->begun_at[session] == w->moment);
        assert_true(w->first[session] == told->first);
    }
    p->session = told->session;
    p->next = told->first;
    p->is_told_outside = false;
    w->last_begun = told->session;
}

/* A session begins with a new stream, or with none, of every portion. */
static void assert_together(const world *w) {
    for (uint32_t k = 0; k < PROCESSES; k++) {
        const process *p = &w->of[k];
        assert_true(p->is_up);
        assert_true(p->stream == FEWBIT__STREAM__STREAM_NONE || p->session == w->last_begun);
    }
}

static void hear(world *w) {
    uint32_t sessions = w->sessions;
    for (uint32_t k = 0; k < PROCESSES; k++) {
        streams_notice told = streams_take_notice(w->s, k);
        if (told.kind == STREAMS_NOTICE_BEGIN) {
            hear_begin(w, k, &told);
        } else if (told.kind == STREAMS_NOTICE_OUTSIDE) {
            assert_false(w->of[k].is_told_outside);
            assert_true(strlen(told.text) > 0);
            w->of[k].is_told_outside = true;
            w->outside++;
        }
    }
    if (w->sessions > sessions) {
        assert_together(w);
    }
}

static void come(world *w, uint32_t k) {
    process *p = &w->of[k];
    Fewbit__Ready ready = FEWBIT__READY__INIT;
    ready.stream = p->stream;
    ready.session = p->session;
    ready.next = p->next;
    p->is_up = true;
    p->is_told_outside = false;
    assert_int_equal(streams_ready(w->s, k, &ready, 0), ERR_OK);
}

static void go(world *w, uint32_t k) {
    w->of[k].is_up = false;
    streams_left(w->s, k, 0);
}

static void restart_server(world *w) {
    w->base += 1000;
    streams_free(w->s);
    streams_config config = {.portions = PROCESSES, .names = {"0", "1", "2"}, .first_session = w->base};
    assert_int_equal(streams_new(&w->s, &config), ERR_OK);
    for (uint32_t k = 0; k < PROCESSES; k++) {
        w->of[k].is_up = false;
    }
    w->used = w->last_begun = 0;
}

/* Codes are taken from who is in the session, and from nobody else. */
static void push_one(world *w, uint32_t k, bool jumps) {
    process *p = &w->of[k];
    bool is_in = p->is_up && p->session && !p->is_told_outside && p->stream == FEWBIT__STREAM__STREAM_NEW &&
                 p->session == w->last_begun;
    err e = streams_take(w->s, k, p->next + jumps, 1, 0);
    if (!e) {
        assert_true(is_in && !jumps);
        p->next++;
        w->used = p->next > w->used ? p->next : w->used;
    }
}

/* Nobody is kept waiting who need not be. */
static void assert_lively(const world *w) {
    uint32_t fresh = 0, none = 0, same = 0, running = 0;
    for (uint32_t k = 0; k < PROCESSES; k++) {
        const process *p = &w->of[k];
        bool is_new = p->is_up && p->stream == FEWBIT__STREAM__STREAM_NEW;
        fresh += is_new && !p->session;
        none += p->is_up && p->stream == FEWBIT__STREAM__STREAM_NONE;
        same += is_new && p->session && p->session == w->of[0].session;
        running += is_new && p->session && p->session == w->last_begun;
    }
    assert_false(fresh > 0 && fresh + none == PROCESSES);
    if (same == PROCESSES && w->last_begun == 0) {
        fail_msg("all are back with the same session, and it does not go on");
    }
    for (uint32_t k = 0; k < PROCESSES; k++) { /* who waits while others are counted knows it */
        const process *p = &w->of[k];
        bool waits = p->is_up && p->stream == FEWBIT__STREAM__STREAM_NEW && !p->session;
        assert_true(!waits || !running || p->is_told_outside);
    }
}

static void live_on(world *w, rng *r) {
    uint32_t k = rng_below(r, PROCESSES), what = rng_below(r, 60);
    process *p = &w->of[k];
    w->moment++;
    if (what < 6 && p->is_up) {
        go(w, k); /* its link; it will be back */
    } else if (what < 16 && !p->is_up) {
        come(w, k);
    } else if (what < 19) { /* another process */
        if (p->is_up) {
            go(w, k);
        }
        *p = (process){.stream = rng_below(r, 8) ? FEWBIT__STREAM__STREAM_NEW : FEWBIT__STREAM__STREAM_NONE};
        come(w, k);
    } else if (what < 23 && p->is_up && p->session == w->last_begun && p->session && !p->is_told_outside &&
               p->stream == FEWBIT__STREAM__STREAM_NEW) {
        p->stream = FEWBIT__STREAM__STREAM_ENDED;
        assert_int_equal(streams_ended(w->s, k, 0), ERR_OK);
    } else if (what == 23) {
        assert_true(p->stream != FEWBIT__STREAM__STREAM_NONE || streams_ended(w->s, k, 0) == ERR_INPUT);
    } else if (what == 24 && rng_below(r, 20) == 0 && w->base + 2000 < SESSIONS_MAX) {
        restart_server(w);
    } else if (what > 24) {
        push_one(w, k, what == 25);
    }
}

static void only_who_began_together_is_counted_together(void **state) {
    (void)state;
    static world w;
    uint32_t sessions = 0;
    for (uint32_t seed = 0; seed < 6; seed++) {
        rng r = rng_at(seed, rng_stream(RNG_TEST, 0), 0);
        w = (world){0};
        restart_server(&w);
        uint64_t of_server = 0;
        for (int turn = 0; turn < TURNS / 6; turn++) {
            live_on(&w, &r);
            hear(&w);
            assert_lively(&w);
            of_server = w.last_begun - w.base;
            if (w.last_begun && of_server > 900) { /* before its numbers meet the next one's */
                restart_server(&w);
            }
        }
        assert_true(w.resumed > 100 && w.outside > 100);
        sessions += w.sessions;
        streams_free(w.s);
        w.s = NULL;
    }
    assert_true(sessions > 1000);
}

/* Of words that make no sense each has its line, and changes nothing. */
static void nonsense_is_refused(void **state) {
    (void)state;
    streams *s;
    streams_config config = {.portions = 2, .names = {"0", "1", "2"}, .first_session = 7};
    assert_int_equal(streams_new(&s, &config), ERR_OK);
    Fewbit__Ready ready = FEWBIT__READY__INIT;
    ready.next = 5; /* in no session */
    assert_int_equal(streams_ready(s, 0, &ready, 0), ERR_INPUT);
    ready.session = 3;
    ready.next = UINT64_MAX;
    assert_int_equal(streams_ready(s, 0, &ready, 0), ERR_INPUT);
    assert_int_equal(streams_take(s, 0, 0, 1, 0), ERR_INPUT);
    assert_int_equal(streams_ended(s, 1, 0), ERR_INPUT);
    ready = (Fewbit__Ready)FEWBIT__READY__INIT;
    assert_int_equal(streams_ready(s, 0, &ready, 0), ERR_OK);
    assert_int_equal(streams_take_notice(s, 0).kind, STREAMS_NOTICE_NONE);
    assert_int_equal(streams_ready(s, 1, &ready, 0), ERR_OK);
    assert_int_equal(streams_take_notice(s, 0).kind, STREAMS_NOTICE_BEGIN);
    assert_int_equal(streams_take(s, 0, 1, 1, 0), ERR_INPUT);
    assert_int_equal(streams_take(s, 0, 0, UINT64_MAX, 0), ERR_INPUT);
    assert_int_equal(streams_take(s, 0, 0, 1, 0), ERR_OK);
    streams_left(s, 0, 0);
    ready.session = 8;
    ready.next = (uint64_t)1 << 40; /* nobody has come so far */
    assert_int_equal(streams_ready(s, 0, &ready, 0), ERR_INPUT);
    ready.next = 1000; /* on the link that was lost */
    assert_int_equal(streams_ready(s, 0, &ready, 0), ERR_OK);
    assert_int_equal(streams_take_notice(s, 0).kind, STREAMS_NOTICE_BEGIN);
    streams_free(s);
}

/* Wherever one node says to stand since a server before, it takes neither session nor ids from the others. */
typedef struct claim {
    uint32_t liar;
    uint64_t session, next;
    bool are_new; /* the others; else they are all of session OLD */
} claim;

enum { OLD = 77, OTHER = 99, HONEST_NEXT = 1000 };

static void stand_up(streams *s, uint32_t k, uint64_t session, uint64_t next) {
    Fewbit__Ready ready = FEWBIT__READY__INIT;
    ready.session = session;
    ready.next = next;
    assert_int_equal(streams_ready(s, k, &ready, 0), ERR_OK);
}

static void check_claim(const claim *c) {
    streams *s;
    uint64_t honest = c->are_new ? 0 : HONEST_NEXT;
    streams_config config = {.portions = PROCESSES, .names = {"0", "1", "2"}, .first_session = 1000};
    assert_int_equal(streams_new(&s, &config), ERR_OK);
    for (uint32_t k = 0; k < PROCESSES; k++) {
        bool lies = k == c->liar;
        stand_up(s, k, lies ? c->session : c->are_new ? 0 : OLD, lies ? c->next : honest);
    }
    for (uint32_t k = 0; k < PROCESSES && c->are_new; k++) { /* they wait until it is gone */
        assert_int_equal(streams_take_notice(s, k).kind, k == c->liar ? STREAMS_NOTICE_OUTSIDE : STREAMS_NOTICE_NONE);
    }
    if (c->are_new) {
        streams_left(s, c->liar, 0);
        stand_up(s, c->liar, 0, 0);
    }
    for (uint32_t k = 0; k < PROCESSES; k++) {
        if (k != c->liar || c->are_new) {
            assert_int_equal(streams_take_notice(s, k).kind, STREAMS_NOTICE_BEGIN);
            assert_int_equal(streams_take(s, k, honest, 1, 0), ERR_OK);
        }
    }
    assert_true(streams_end(s) <= HONEST_NEXT + ((uint64_t)1 << 32));
    streams_free(s);
}

static void what_one_says_of_a_server_before_moves_nobody_else(void **state) {
    (void)state;
    static const uint64_t nexts[] = {0, 1, HONEST_NEXT, (uint64_t)1 << 31, (uint64_t)1 << 33, (uint64_t)1 << 62};
    for (uint32_t liar = 0; liar < PROCESSES; liar++) {
        for (size_t i = 0; i < sizeof nexts / sizeof nexts[0]; i++) {
            check_claim(&(claim){liar, OLD, nexts[i], false});
            check_claim(&(claim){liar, OTHER, nexts[i], false});
            check_claim(&(claim){liar, OTHER, nexts[i], true});
        }
    }
}

/* A node that is there and silent holds the others for a while, not for ever; and again once it has spoken. */
static void who_brings_nothing_is_given_up(void **state) {
    (void)state;
    enum { PATIENCE = 1000, LAG = 100 };
    streams *s;
    streams_config config = {.portions = 2, .names = {"0", "1", "2"}, .stall_timeout_ns = PATIENCE, .lag_ns = LAG};
    Fewbit__Ready ready = FEWBIT__READY__INIT;
    assert_int_equal(streams_new(&s, &config), ERR_OK);
    streams_ready(s, 0, &ready, 0);
    streams_ready(s, 1, &ready, 0);
    uint64_t limit = streams_limit(s);
    assert_int_equal(streams_take(s, 0, 0, 2 * limit, 50), ERR_OK);
    streams_reached(s, 0, limit, 50);
    assert_true(streams_limit(s) == limit);
    assert_true(streams_poll(s, 50) == UINT64_MAX); /* nobody waits yet */
    streams_block(s, 60);
    assert_true(streams_poll(s, 70) == 60 + PATIENCE);
    assert_true(streams_passed(s) == 0);
    streams_poll(s, 60 + PATIENCE);
    assert_true(streams_limit(s) > limit);
    assert_true(streams_passed(s) == limit);
    assert_int_equal(streams_take(s, 1, 0, 1, 5000), ERR_OK);
    streams_reached(s, 1, 1, 5000);
    assert_true(streams_limit(s) <= limit + 1);
    streams_free(s);
}

int main(void) {
    log_choose_level("none");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_who_began_together_is_counted_together),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(what_one_says_of_a_server_before_moves_nobody_else),
        cmocka_unit_test(who_brings_nothing_is_given_up),
        cmocka_unit_test_setup_teardown(after_any_pause_answers_are_whole_again, set_table, clear_table),
        cmocka_unit_test_setup_teardown(two_pauses_and_lost_frames, set_table, clear_table),
        cmocka_unit_test_setup_teardown(at_full_speed, set_table, clear_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
