/* A node's net in use: what it says of several views of a portion, taken together, and what it keeps of that. */
#include "encoder_node/encoder_model.h"

#include "tests/lib/small_portion.h"

#include <ftw.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>

enum { ROWS = 3, WIDTH = SMALL_WIDTH, ELEMENTS = SMALL_ELEMENTS, BITS = SMALL_BITS, TRAIN = SMALL_SAMPLES };

static portion *data;

static int make_data(void **state) {
    make_folder(state);
    data = open_small_portion();
    return 0;
}

static int drop_data(void **state) {
    portion_close(data);
    return remove_folder(state);
}

static encoder_model *model_of(const experiment *e, const char *state) {
    encoder_model *m;
    experiment filled = *e;
    assert_int_equal(experiment_fill_portions(&filled), ERR_OK);
    assert_int_equal(experiment_validate(e, NULL), ERR_OK);
    static checkpoint_store_quota quota = {.max_bytes = UINT64_MAX};
    encoder_model_config config = {.data = data, .state = in_folder(state), .quota = &quota, .run = 1, .trains = true};
    assert_int_equal(encoder_model_new(&m, &filled, &config), ERR_OK);
    encoder_model_init(m);
    encoder_model_set_step(m, TRAIN / 10);
    return m;
}

static void both_sides_are_one(void **state) {
    (void)state;
    experiment e = small_system;
    e.encoder.temperature = 0.05f;
    e.tta.flip = true;
    encoder_model *one = model_of(&small_system, "small_system"), *both = model_of(&e, "mirrored");
    const uint8_t *portions = portion_sample(data, DATASET_TEST, 0);
    uint8_t mirrored[ROWS * ELEMENTS];
    float seen[2][ROWS * BITS], together[2][ROWS * BITS];
    for (size_t i = 0; i < sizeof mirrored; i++) {
        mirrored[i] = portions[i / WIDTH * WIDTH + WIDTH - 1 - i % WIDTH];
    }
    for (size_t side = 0; side < 2; side++) {
        encoder_model_load_inputs(one, 0, side ? mirrored : portions, ROWS);
        encoder_model_evaluate(one, 0, ROWS);
        memcpy(seen[side], encoder_model_soft(one), sizeof seen[side]);
        encoder_model_load_inputs(both, 0, side ? mirrored : portions, ROWS);
        encoder_model_evaluate(both, side, ROWS); /* behind what is there */
        memcpy(together[side], encoder_model_soft(both) + side * BITS, sizeof together[side]);
    }
    assert_memory_equal(together[0], together[1], sizeof together[0]);
    for (size_t i = 0; i < ROWS * BITS; i++) {
        double z[2];
        for (size_t side = 0; side < 2; side++) {
            z[side] = log((double)seen[side][i] / (1 - (double)seen[side][i]));
        }
        assert_true(fabs(z[0] - z[1]) > 1e-4);
        double wanted = 1 / (1 + exp(-(z[0] + z[1]) / 2 / 0.05));
        assert_true(fabs((double)together[0][i] - wanted) < 1e-4);
    }
    encoder_model_free(one);
    encoder_model_free(both);
}

/* The portions as they are, and shifted to both sides. */
static void moved_ones_count_half(void **state) {
    (void)state;
    experiment e = small_system;
    e.tta.shift = 2;
    encoder_model *one = model_of(&small_system, "unmoved"), *three = model_of(&e, "moved");
    const uint8_t *portions = portion_sample(data, DATASET_TEST, 0);
    const int shifts[] = {0, 2, -2};
    double z[ROWS * BITS] = {0};
    for (size_t view = 0; view < 3; view++) {
        uint8_t moved[ROWS * ELEMENTS];
        for (int i = 0; i < ROWS * ELEMENTS; i++) {
            int row = i / WIDTH % 7 - shifts[view], column = i % WIDTH - shifts[view];
            row = row < 0 ? 0 : row > 6 ? 6 : row;
            column = column < 0 ? 0 : column >= WIDTH ? WIDTH - 1 : column;
            moved[i] = portions[i / ELEMENTS * ELEMENTS + row * WIDTH + column];
        }
        encoder_model_load_inputs(one, 0, moved, ROWS);
        encoder_model_evaluate(one, 0, ROWS);
        for (size_t i = 0; i < ROWS * BITS; i++) {
            double s = (double)encoder_model_soft(one)[i];
            z[i] += (view ? 0.25 : 0.5) * log(s / (1 - s));
        }
    }
    encoder_model_load_inputs(three, 0, portions, ROWS);
    encoder_model_evaluate(three, 0, ROWS);
    for (size_t i = 0; i < ROWS * BITS; i++) {
        assert_true(fabs((double)encoder_model_soft(three)[i] - 1 / (1 + exp(-z[i]))) < 1e-4);
        assert_true(fabs((double)encoder_model_soft(three)[i] - (double)encoder_model_soft(one)[i]) > 1e-4);
    }
    encoder_model_free(one);
    encoder_model_free(three);
}

static void evaluate(encoder_model *m, uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        encoder_model_load_inputs(m, 0, portion_sample(data, DATASET_TEST, first + i), 1);
        encoder_model_evaluate(m, i, 1);
    }
    encoder_model_keep(m, DATASET_TEST, first, count);
}

/* That `soft` is what samples from `first` on round to. */
static void assert_recalled(encoder_model *m, uint32_t first, uint32_t count, const float *soft) {
    memset(encoder_model_soft(m), 0xff, count * BITS * sizeof(float));
    assert_true(encoder_model_recall(m, DATASET_TEST, first, count));
    for (size_t i = 0; i < count * BITS; i++) {
        assert_true(encoder_model_soft(m)[i] == (soft[first * BITS + i] > 0.5f ? 1.0f : 0.0f));
    }
}

static void bits_are_kept_until_the_weights_change(void **state) {
    (void)state;
    static float soft[TRAIN * BITS];
    encoder_model *m = model_of(&small_system, "kept");
    assert_false(encoder_model_recall(m, DATASET_TRAIN, 0, 1));
    for (uint32_t first = 0; first < TRAIN; first += 25) {
        evaluate(m, first, 25);
        memcpy(soft + first * BITS, encoder_model_soft(m), 25 * BITS * sizeof(float));
    }
    assert_recalled(m, 0, TRAIN, soft);
    assert_recalled(m, 33, 9, soft);
    assert_recalled(m, TRAIN - 1, 1, soft);
    assert_false(encoder_model_recall(m, DATASET_TRAIN, 33, 9));
    assert_false(encoder_model_recall(m, DATASET_TEST, TRAIN - 1, 2));
    assert_false(encoder_model_recall(m, DATASET_TEST, TRAIN + 1, 1));
    evaluate(m, 50, 10); /* not behind the last ones */
    assert_recalled(m, 50, 10, soft);
    assert_false(encoder_model_recall(m, DATASET_TEST, 49, 2));
    assert_false(encoder_model_recall(m, DATASET_TEST, 59, 2));
    encoder_model_set_step(m, encoder_model_get_info(m)->step);
    assert_false(encoder_model_recall(m, DATASET_TEST, 50, 1));
    encoder_model_free(m);
}

/* In every corner: with the memory it says it takes it is made, with a byte less it is refused. */
static void its_memory_is_known_before_it_is_taken(void **state) {
    (void)state;
    static const uint32_t hidden[] = {1, 2000}, bits[] = {1, 64}, batches[] = {2, 8192};
    static checkpoint_store_quota quota = {.max_bytes = UINT64_MAX};
    encoder_model_config config = {.data = data, .state = in_folder("memory"), .quota = &quota, .run = 1};
    for (int corner = 0; corner < 64; corner++) {
        experiment e = small_system;
        e.encoder.hidden = hidden[corner & 1];
        e.encoder.bits = bits[corner >> 1 & 1];
        e.training.batch_size = batches[corner >> 2 & 1];
        e.encoder.batch_norm = corner >> 3 & 1;
        assert_int_equal(experiment_fill_portions(&e), ERR_OK);
        e.training.ema_decay = corner >> 4 & 1 ? 0.9f : 0;
        config.trains = corner >> 5 & 1;
        config.max_memory = 0;
        encoder_model *m;
        assert_int_equal(encoder_model_new(&m, &e, &config), ERR_OK);
        size_t bytes = encoder_model_bytes(m);
        encoder_model_free(m);
        config.max_memory = bytes;
        assert_int_equal(encoder_model_new(&m, &e, &config), ERR_OK);
        assert_true(encoder_model_bytes(m) == bytes);
        encoder_model_free(m);
        config.max_memory = bytes - 1;
        assert_int_equal(encoder_model_new(&m, &e, &config), ERR_FULL);
        assert_non_null(strstr(err_text(), "MiB are left for"));
        config.max_memory = 1;
        assert_int_equal(encoder_model_new(&m, &e, &config), ERR_FULL);
    }
}

static checkpoint_store store_in(const char *state) {
    static checkpoint_store_quota quota = {.max_bytes = UINT64_MAX};
    static char folder[FILE_PATH_MAX];
    snprintf(folder, sizeof folder, "%s", in_folder(state));
    checkpoint_store s;
    const checkpoint_store_config config = {
        .state = folder, .quota = &quota, .run = 1, .portion = 1, .experiment = &small_system};
    assert_int_equal(checkpoint_store_open(&s, &config), ERR_OK);
    return s;
}

static void who_is_refused_takes_no_folder_away(void **state) {
    (void)state;
    checkpoint_store holder = store_in("held");
    assert_int_equal(checkpoint_store_claim(&holder), ERR_OK);
    for (int i = 0; i < 3; i++) {
        checkpoint_store other = store_in("held");
        assert_int_equal(checkpoint_store_claim(&other), ERR_INPUT);
        assert_non_null(strstr(err_text(), "another process works in this folder"));
        checkpoint_store_close(&other);
    }
    checkpoint_store_close(&holder);
    assert_false(file_exists(in_folder("held/0000000000000001")));
}

static atomic_int holders, claims, broken;

static void *claim_again_and_again(void *from) {
    for (int i = 0; i < 500; i++) {
        checkpoint_store s = *(const checkpoint_store *)from;
        if (!checkpoint_store_claim(&s)) {
            atomic_fetch_add(&broken, atomic_fetch_add(&holders, 1) != 0);
            atomic_fetch_add(&claims, 1);
            nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
            atomic_fetch_sub(&holders, 1);
        }
        checkpoint_store_close(&s);
    }
    return NULL;
}

/* Each takes the folder away as it goes. */
static void one_at_a_time_holds_it(void **state) {
    (void)state;
    pthread_t threads[4];
    checkpoint_store s = store_in("raced");
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, claim_again_and_again, &s), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(broken, 0);
    assert_true(claims > 0);
}

static uint64_t on_disk;

static int add_blocks(const char *path, const struct stat *status, int type, struct FTW *where) {
    (void)path, (void)type;
    on_disk += where->level > 0 ? (uint64_t)status->st_blocks * 512 : 0;
    return 0;
}

/* Parts of a few hundred bytes, each of another run with its folders. */
static void small_parts_take_room_as_a_disk_gives_it(void **state) {
    (void)state;
    checkpoint_store_quota quota = {.max_bytes = 200 << 10};
    experiment e = small_system;
    e.encoder.hidden = e.encoder.bits = 1;
    assert_int_equal(experiment_fill_portions(&e), ERR_OK);
    encoder_model_config config = {.data = data, .state = in_folder("small"), .quota = &quota, .trains = true};
    err failed = ERR_OK;
    for (; !failed; config.run++) {
        encoder_model *m;
        uint8_t digest[SHA256_BYTES];
        assert_int_equal(encoder_model_new(&m, &e, &config), ERR_OK);
        encoder_model_init(m);
        failed = encoder_model_save(m, digest);
        encoder_model_free(m);
        on_disk = 0;
        assert_int_equal(nftw(config.state, add_blocks, 8, FTW_PHYS), 0);
        assert_true(on_disk <= quota.max_bytes + (16 << 10)); /* what comes with the last part: its folders, run.json */
        assert_true(config.run < 50);
    }
    assert_int_equal(failed, ERR_FULL);
    assert_true(config.run > 5);
}

/* The same samples with a scaling of their own; the caller closes it. */
static portion *open_scaled(float mean, float std) {
    portion *scaled;
    portion_info info = *portion_get_info(data);
    const portion_contents contents = {
        .values = {portion_sample(data, DATASET_TRAIN, 0), portion_sample(data, DATASET_TEST, 0)},
        .scaling = &(portion_scaling){1, &mean, &std}};
    assert_int_equal(portion_write(in_folder("scaled"), &info, &contents), ERR_OK);
    assert_int_equal(portion_open(&scaled, in_folder("scaled")), ERR_OK);
    return scaled;
}

static void put_out(encoder_model *m, float soft[ROWS * BITS]) {
    encoder_model_load_inputs(m, 0, portion_sample(data, DATASET_TEST, 0), ROWS);
    encoder_model_evaluate(m, 0, ROWS);
    memcpy(soft, encoder_model_soft(m), ROWS * BITS * sizeof *soft);
}

/* The data's scaling goes before the experiment's; what a model was trained with goes before that of the folder. */
static void scaling_is_what_it_was_in_training(void **state) {
    (void)state;
    static checkpoint_store_quota quota = {.max_bytes = UINT64_MAX};
    portion *scaled = open_scaled(0.4f, 0.1f), *otherwise;
    float as_trained[ROWS * BITS], by_experiment[ROWS * BITS], served[ROWS * BITS];
    uint8_t digest[SHA256_BYTES];
    experiment e = small_system;
    encoder_model_config config = {.data = scaled, .quota = &quota, .run = 7};
    encoder_model *m = model_of(&small_system, "unscaled");
    put_out(m, by_experiment);
    encoder_model_free(m);
    config.trains = true;
    config.state = in_folder("scaling");
    assert_int_equal(experiment_fill_portions(&e), ERR_OK);
    assert_int_equal(encoder_model_new(&m, &e, &config), ERR_OK);
    encoder_model_init(m);
    encoder_model_set_step(m, 5);
    put_out(m, as_trained);
    assert_memory_not_equal(as_trained, by_experiment, sizeof as_trained);
    assert_int_equal(encoder_model_save(m, digest), ERR_OK);
    encoder_model_free(m);
    config.trains = false;
    for (int i = 0; i < 3; i++) {
        otherwise = i == 0 ? scaled : i == 1 ? data : open_scaled(0.1f, 0.7f);
        config.data = otherwise;
        config.state = in_folder("scaling");
        assert_int_equal(encoder_model_new(&m, &e, &config), ERR_OK);
        assert_int_equal(encoder_model_load(m, 5, digest), ERR_OK);
        put_out(m, served);
        assert_memory_equal(served, as_trained, sizeof served);
        encoder_model_free(m);
    }
    portion_close(otherwise);
    portion_close(scaled);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_sides_are_one),
                                       cmocka_unit_test(moved_ones_count_half),
                                       cmocka_unit_test(bits_are_kept_until_the_weights_change),
                                       cmocka_unit_test(scaling_is_what_it_was_in_training),
                                       cmocka_unit_test(its_memory_is_known_before_it_is_taken),
                                       cmocka_unit_test(who_is_refused_takes_no_folder_away),
                                       cmocka_unit_test(one_at_a_time_holds_it),
                                       cmocka_unit_test(small_parts_take_room_as_a_disk_gives_it)};
    return cmocka_run_group_tests(tests, make_data, drop_data);
}
