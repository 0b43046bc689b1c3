/* Portions on standard input: whole ones of any type and shape are taken, up to the first that is none. */
#include "encoder_node/source.h"

#include "tests/lib/folder.h"

#include <math.h>
#include <pthread.h>

enum { FEATURES = 3, GOOD = 40000 }; /* of more bytes than are read at a time */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t has_arrived = PTHREAD_COND_INITIALIZER;
static bool is_there;

static void on_arrived(void *context) {
    (void)context;
    pthread_mutex_lock(&mutex);
    is_there = true;
    pthread_cond_signal(&has_arrived);
    pthread_mutex_unlock(&mutex);
}

static void wait_for_more(void) {
    pthread_mutex_lock(&mutex);
    while (!is_there) {
        pthread_cond_wait(&has_arrived, &mutex);
    }
    is_there = false;
    pthread_mutex_unlock(&mutex);
}

static portion *open_data(portion_type type) {
    static const float values[2 * FEATURES];
    portion *data = NULL;
    portion_info info = {.dataset = "x", .name = "a", .shape = {type, 1, {FEATURES}}, .samples = {2, 1}};
    assert_int_equal(portion_write(in_folder("data"), &info, &(portion_contents){.values = {values, values}}), ERR_OK);
    assert_int_equal(portion_open(&data, in_folder("data")), ERR_OK);
    return data;
}

/* How many portions come of a file with these bytes on standard input, which are as they are in it, and what the
 * outcome is. */
static uint32_t read_all(portion_type type, const void *bytes, size_t length, err *outcome) {
    portion *data = open_data(type);
    const uint8_t *from = bytes, *portions;
    size_t size = portion_shape_bytes(&portion_get_info(data)->shape);
    uint32_t all = 0, count;
    source *s;
    put("input", bytes, length);
    assert_non_null(freopen(in_folder("input"), "rb", stdin));
    is_there = false;
    assert_int_equal(source_new(&s, SOURCE_STDIN, data, on_arrived, NULL), ERR_OK);
    while (!source_is_over(s)) {
        source_peek(s, 1000, &portions, &count);
        if (count == 0) {
            wait_for_more();
            continue;
        }
        assert_memory_equal(portions, from + all * size, count * size);
        all += count;
        source_consume(s);
    }
    *outcome = source_outcome(s);
    source_stop(s);
    source_free(s);
    portion_close(data);
    return all;
}

static void whole_portions_are_taken(void **state) {
    (void)state;
    static float values[GOOD * FEATURES];
    err outcome;
    for (size_t i = 0; i < GOOD * FEATURES; i++) {
        values[i] = (float)i;
    }
    assert_int_equal(read_all(PORTION_F32, values, sizeof values, &outcome), GOOD);
    assert_int_equal(outcome, ERR_OK);
    assert_int_equal(read_all(PORTION_F32, values, sizeof values - 5, &outcome), GOOD - 1);
    assert_int_equal(outcome, ERR_INPUT);
    assert_told("", "ended inside a portion: 7 of 12 bytes");
    assert_int_equal(read_all(PORTION_U8, values, GOOD * FEATURES, &outcome), GOOD);
    assert_int_equal(outcome, ERR_OK);
}

/* Wherever in what is read at a time it lies; the portions before it are as good as ever. */
static void the_first_that_is_none_is_named(void **state) {
    (void)state;
    static float values[GOOD * FEATURES];
    static const uint32_t where[] = {0, 1, 5461, 5462, GOOD / 2, GOOD - 1};
    for (size_t i = 0; i < sizeof where / sizeof where[0]; i++) {
        err outcome;
        char line[80];
        memset(values, 0, sizeof values);
        values[where[i] * FEATURES + i % FEATURES] = i % 2 ? NAN : INFINITY;
        assert_int_equal(read_all(PORTION_F32, values, sizeof values, &outcome), where[i]);
        assert_int_equal(outcome, ERR_INPUT);
        snprintf(line, sizeof line, "standard input: portion %u: element %zu is not finite", where[i], i % FEATURES);
        assert_string_equal(err_text(), line);
    }
    static uint8_t bytes[FEATURES * 4];
    err outcome;
    memset(bytes, 0xff, sizeof bytes); /* a byte is any */
    assert_int_equal(read_all(PORTION_U8, bytes, sizeof bytes, &outcome), 4);
    assert_int_equal(outcome, ERR_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(whole_portions_are_taken),
        IN_FOLDER(the_first_that_is_none_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
