/* The acceptor: who is let in, who stays outside, and how much of a crowd is dealt with in one turn of the loop. */
#include "wire/acceptor.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 64, PATIENT_MS = 100000, DEADLINE_S = 20, TURN_MOST = 8 };

typedef struct host {
    uv_loop_t loop;
    acceptor *acceptor;
    int inside[MOST];
    uint32_t count;
    bool is_open; /* to silent ones */
} host;

static host here;

static bool has_line(const uint8_t *bytes, size_t length) {
    return memchr(bytes, '\n', length) != NULL;
}

/* Nothing was read of it; who had to say something has said enough. */
static void on_accepted(void *context, int socket) {
    host *h = context;
    uint8_t said[16];
    ssize_t length = recv(socket, said, sizeof said, MSG_PEEK | MSG_DONTWAIT);
    assert_true(length < 0 ? h->is_open : length == sizeof said || has_line(said, (size_t)length));
    h->inside[h->count++] = socket;
}

static void open_acceptor(uint32_t most, uint32_t handshake_timeout_ms, bool accepts_at_once) {
    acceptor_config config = {
        .host = "localhost",
        .most = most,
        .handshake_timeout_ms = handshake_timeout_ms,
        .accepts_at_once = accepts_at_once,
        .peek_bytes = 16,
        .is_enough = has_line,
        .accepted = on_accepted,
        .context = &here,
    };
    here = (host){.is_open = accepts_at_once};
    uv_loop_init(&here.loop);
    assert_int_equal(acceptor_new(&here.acceptor, &here.loop, &config), ERR_OK);
}

static void close_door(void) {
    acceptor_close(here.acceptor);
    uv_run(&here.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&here.loop), 0);
    for (uint32_t i = 0; i < here.count; i++) {
        close(here.inside[i]);
    }
}

static int call(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(acceptor_port(here.acceptor))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int call_and_say(const char *words) {
    int fd = call();
    assert_int_equal(send(fd, words, strlen(words), 0), strlen(words));
    return fd;
}

static bool is_over(int fd) {
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

#define await(condition)                                                                                               \
    do {                                                                                                               \
        time_t await_end = time(NULL) + DEADLINE_S;                                                                    \
        while (!(condition)) {                                                                                         \
            assert_true(time(NULL) < await_end);                                                                       \
            uv_run(&here.loop, UV_RUN_ONCE);                                                                           \
        }                                                                                                              \
    } while (0)

static void who_says_enough_is_let_in_with_nothing_read(void **state) {
    (void)state;
    open_acceptor(MOST, PATIENT_MS, false);
    int silent = call(), begins = call_and_say("no end"), whole = call_and_say("a line\n");
    await(here.count == 1);
    char words[16] = "";
    assert_int_equal(recv(here.inside[0], words, sizeof words, 0), 7);
    assert_string_equal(words, "a line\n");
    await(acceptor_count(here.acceptor)->pending == 2);
    assert_int_equal(send(begins, "\n", 1, 0), 1);
    await(here.count == 2);
    int long_one = call_and_say("as much as it looks at, and more");
    await(here.count == 3);
    assert_int_equal(acceptor_count(here.acceptor)->taken, 4);
    assert_int_equal(acceptor_count(here.acceptor)->accepted, 3);
    close_door();
    assert_true(is_over(silent));
    close(silent), close(begins), close(whole), close(long_one);
}

static void who_goes_is_forgotten(void **state) {
    (void)state;
    open_acceptor(MOST, PATIENT_MS, false);
    int silent = call(), begins = call_and_say("no end"), ends = call_and_say("no end");
    await(acceptor_count(here.acceptor)->pending == 3);
    close(silent), close(begins);
    shutdown(ends, SHUT_WR); /* there is no more to come */
    await(acceptor_count(here.acceptor)->pending == 0);
    await(is_over(ends));
    int whole = call_and_say("a line, and the end\n");
    shutdown(whole, SHUT_WR);
    await(here.count == 1);
    assert_int_equal(acceptor_count(here.acceptor)->timed_out, 0);
    close_door();
    close(ends), close(whole);
}

static void who_takes_too_long_is_cut_off(void **state) {
    (void)state;
    int fds[MOST];
    open_acceptor(MOST, 1, false);
    for (int i = 0; i < MOST; i++) {
        fds[i] = call_and_say("?");
    }
    await(acceptor_count(here.acceptor)->timed_out == MOST);
    for (int i = 0; i < MOST; i++) {
        await(is_over(fds[i]));
        close(fds[i]);
    }
    assert_int_equal(acceptor_count(here.acceptor)->pending, 0);
    close_door();
}

static void one_too_many_is_closed_at_once(void **state) {
    (void)state;
    open_acceptor(2, PATIENT_MS, false);
    int whole = call_and_say("a line\n"), other = call_and_say("a line\n");
    await(here.count == 2);
    int late = call_and_say("a line\n"); /* and nobody waits outside */
    await(is_over(late));
    assert_int_equal(acceptor_count(here.acceptor)->turned_away, 1);
    acceptor_release(here.acceptor);
    int next = call_and_say("a line\n");
    await(here.count == 3);
    assert_int_equal(acceptor_count(here.acceptor)->turned_away, 1);
    close_door();
    close(whole), close(other), close(late), close(next);
}

static int call_from(uint32_t last) {
    struct sockaddr_in from = {.sin_family = AF_INET},
                       to = {.sin_family = AF_INET, .sin_port = htons(acceptor_port(here.acceptor))};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + last);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void the_oldest_outside_makes_room(void **state) {
    (void)state;
    enum { CROWD = 10 * MOST };
    int fds[CROWD];
    open_acceptor(MOST, PATIENT_MS, false);
    int inside = call_and_say("a line\n");
    await(here.count == 1);
    for (int i = 0; i < CROWD; i++) {
        fds[i] = call_from(1 + (uint32_t)i % 3);
        await(acceptor_count(here.acceptor)->taken == 2 + (uint64_t)i);
    }
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(is_over(fds[i]), i < CROWD - (MOST - 1));
    }
    assert_int_equal(acceptor_count(here.acceptor)->turned_away, CROWD - (MOST - 1));
    assert_false(is_over(inside));
    int whole = call_and_say("a line\n"); /* comes in though all is full */
    await(here.count == 2);
    close_door();
    for (int i = 0; i < CROWD; i++) {
        close(fds[i]);
    }
    close(inside), close(whole);
}

static void a_crowd_from_one_address_keeps_out_nobody_else(void **state) {
    (void)state;
    enum { FEW = MOST / 4 - 1, CROWD = 10 * MOST };
    int few[FEW], fds[CROWD];
    open_acceptor(MOST, PATIENT_MS, false);
    for (int i = 0; i < FEW; i++) {
        few[i] = call_from(5);
    }
    await(acceptor_count(here.acceptor)->pending == FEW);
    for (int i = 0; i < CROWD; i++) {
        fds[i] = call_from(6);
        await(acceptor_count(here.acceptor)->taken == FEW + 1 + (uint64_t)i);
    }
    for (int i = 0; i < FEW; i++) {
        assert_false(is_over(few[i]));
        assert_int_equal(send(few[i], "a line\n", 7, 0), 7);
    }
    await(here.count == FEW);
    close_door();
    for (int i = 0; i < CROWD; i++) {
        close(fds[i]);
    }
    for (int i = 0; i < FEW; i++) {
        close(few[i]);
    }
}

/* Callers that say something, go and come at once, so that one makes room whose word is under way. */
static void a_crowd_in_motion_is_counted_right(void **state) {
    (void)state;
    enum { CROWD = 2000, HELD = 100 };
    int fds[HELD];
    uint32_t draw = 1;
    memset(fds, -1, sizeof fds);
    open_acceptor(8, PATIENT_MS, false);
    for (int i = 0; i < CROWD; i++) {
        draw = draw * 1664525 + 1013904223;
        int *at = &fds[draw >> 8 & 63];
        if (*at >= 0) {
            close(*at);
        }
        *at = draw >> 28 ? call() : call_and_say("no end");
        if (draw >> 30 & 1) {
            send(*at, "?", 1, MSG_NOSIGNAL);
        }
        if (draw >> 16 & 1) {
            uv_run(&here.loop, UV_RUN_NOWAIT);
        }
        assert_true(acceptor_count(here.acceptor)->pending <= 8);
    }
    assert_int_equal(here.count, 0);
    for (int i = 0; i < HELD; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    await(acceptor_count(here.acceptor)->pending == 0);
    close_door();
}

static void a_turn_takes_a_few_of_a_crowd(void **state) {
    (void)state;
    int fds[MOST];
    open_acceptor(MOST, PATIENT_MS, false);
    for (int i = 0; i < MOST; i++) {
        fds[i] = call();
    }
    uint32_t before = 0;
    while (before < MOST) {
        uv_run(&here.loop, UV_RUN_ONCE);
        assert_true(acceptor_count(here.acceptor)->pending - before <= TURN_MOST);
        before = acceptor_count(here.acceptor)->pending;
    }
    for (int i = 0; i < MOST; i++) {
        close(fds[i]);
    }
    while (before > 0) {
        uv_run(&here.loop, UV_RUN_ONCE);
        assert_true(before - acceptor_count(here.acceptor)->pending <= 2 * TURN_MOST);
        before = acceptor_count(here.acceptor)->pending;
    }
    close_door();
}

static void silent_ones_are_let_in_until_it_hears_first(void **state) {
    (void)state;
    open_acceptor(MOST, PATIENT_MS, true);
    int first = call();
    await(here.count == 1);
    acceptor_wait_for_bytes(here.acceptor);
    here.is_open = false;
    int second = call();
    await(acceptor_count(here.acceptor)->pending == 1);
    assert_int_equal(here.count, 1);
    close_door();
    close(first), close(second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_says_enough_is_let_in_with_nothing_read),
        cmocka_unit_test(who_goes_is_forgotten),
        cmocka_unit_test(who_takes_too_long_is_cut_off),
        cmocka_unit_test(one_too_many_is_closed_at_once),
        cmocka_unit_test(the_oldest_outside_makes_room),
        cmocka_unit_test(a_crowd_from_one_address_keeps_out_nobody_else),
        cmocka_unit_test(a_crowd_in_motion_is_counted_right),
        cmocka_unit_test(a_turn_takes_a_few_of_a_crowd),
        cmocka_unit_test(silent_ones_are_let_in_until_it_hears_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
