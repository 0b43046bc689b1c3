/* Checkpoint parts: a net and its optimiser come back bit for bit, and nothing but the very part asked for is loaded.
 */
#include "base/sha256.h"
#include "model/checkpoint.h"
#include "model/safetensors.h"
#include "tests/lib/folder.h"
#include "tests/lib/nets.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>

static const nn_spec trained_spec = {
    9,
    {{.kind = NN_DENSE, .name = "encoder.0", .outputs = 7},
     {.kind = NN_RELU, .name = "encoder.1"},
     {.kind = NN_DENSE, .name = "encoder.2", .outputs = 3},
     {.kind = NN_BATCH_NORM, .name = "encoder.3"},
     {.kind = NN_SIGMOID, .name = "encoder.4"},
     {.kind = NN_DENSE, .name = "decoder.0", .outputs = 17},
     {.kind = NN_DENSE, .name = "classifier.0", .outputs = 13}},
    7,
};

enum { ROWS = 12 };

static const checkpoint_id this_part = {.run = 0x0123456789abcdef, .step = 3, .part = "encoder.2"};

static void train_on(nn_net *net, nn_optimiser *o, uint32_t steps) {
    float *x = random_floats(1, ROWS * 9, -1, 1), *dy = random_floats(2, ROWS * 13, -1, 1);
    for (uint32_t i = 0; i < steps; i++) {
        train_step(net, x, dy, ROWS, o);
    }
    free(x);
    free(dy);
}

static nn_net *trained_net(nn_optimiser *o) {
    nn_net *net = make_net(&trained_spec, ROWS, NULL);
    nn_net_init(net, 5, 6);
    train_on(net, o, 3);
    return net;
}

static const nn_optimiser adam = {.kind = NN_ADAM, .learning_rate = 0.01f};
static const nn_optimiser sgd = {.kind = NN_SGD, .learning_rate = 0.01f, .momentum = 0.9f};

/* Loaded into a net of other weights and trained on, the same bits come out as without the detour. */
static void checkpoints_come_back(void **state) {
    (void)state;
    const nn_optimiser kinds[] = {adam, sgd};
    for (size_t k = 0; k < 2; k++) {
        nn_optimiser o = kinds[k], loaded = kinds[k];
        uint8_t digest[SHA256_BYTES], again[SHA256_BYTES];
        nn_net *net = trained_net(&o), *other = make_net(&trained_spec, ROWS, NULL);
        fill_tensors(other, 3);
        assert_int_equal(checkpoint_save(in_folder("part"), &this_part, net, &o, digest), ERR_OK);
        assert_int_equal(checkpoint_load(in_folder("part"), &this_part, other, &loaded, digest), ERR_OK);
        assert_int_equal(loaded.step, 3);
        assert_int_equal(checkpoint_save(in_folder("again"), &this_part, other, &loaded, again), ERR_OK);
        assert_memory_equal(digest, again, sizeof digest);
        train_on(net, &o, 2);
        train_on(other, &loaded, 2);
        assert_same_tensors(net, other);
        assert_true(tensor_named(net, "encoder.0.weight")->state[0][0] != 0.0f);
        nn_net_free(net);
        nn_net_free(other);
    }
}

static void checkpoints_hold_what_their_header_says(void **state) {
    (void)state;
    nn_optimiser o = adam;
    uint8_t digest[SHA256_BYTES], of_file[SHA256_BYTES];
    nn_net *net = trained_net(&o);
    assert_int_equal(checkpoint_save(in_folder("part"), &this_part, net, &o, digest), ERR_OK);
    safetensors *file;
    assert_int_equal(safetensors_open(&file, in_folder("part")), ERR_OK);
    assert_int_equal(safetensors_digest(file, of_file), ERR_OK);
    assert_memory_equal(of_file, digest, sizeof digest);
    assert_string_equal(safetensors_metadata(file, "format"), "fewbit-1");
    assert_string_equal(safetensors_metadata(file, "run"), "0123456789abcdef");
    assert_string_equal(safetensors_metadata(file, "part"), "encoder.2");
    assert_string_equal(safetensors_metadata(file, "step"), "3");
    assert_int_equal(safetensors_count(file), 12 + 2 * 10); /* 2 of the 12 are running statistics */
    float have[63];
    const nn_tensor *t = tensor_named(net, "encoder.0.weight");
    assert_int_equal(safetensors_copy(file, "encoder.0.weight", 2, (const uint32_t[]){7, 9}, have), ERR_OK);
    assert_memory_equal(have, t->value, sizeof have);
    assert_int_equal(safetensors_copy(file, "optimiser.encoder.0.weight.exp_avg_sq", 2, (const uint32_t[]){7, 9}, have),
                     ERR_OK);
    assert_memory_equal(have, t->state[1], sizeof have);
    safetensors_close(file);
    nn_net_free(net);
}

/* For serving: weights without optimiser state, also out of a file that has it. */
static void checkpoints_serve_without_optimiser(void **state) {
    (void)state;
    nn_optimiser o = adam;
    uint8_t digest[SHA256_BYTES];
    nn_net *net = trained_net(&o), *lean;
    nn_net_options options = {.max_rows = ROWS};
    assert_int_equal(nn_net_new(&lean, &trained_spec, &options), ERR_OK);
    float *x = random_floats(9, ROWS * 9, -1, 1);
    nn_net_init(lean, 1, 1);
    nn_net_freeze(lean); /* loading must end what was computed from other weights */
    const float *wanted = nn_net_forward(net, x, ROWS, NN_EVALUATE);
    for (int with = 0; with < 2; with++) {
        nn_net_init(lean, 1, 1);
        nn_net_freeze(lean);
        assert_int_equal(checkpoint_save(in_folder("part"), &this_part, net, with ? &o : NULL, digest), ERR_OK);
        assert_int_equal(checkpoint_load(in_folder("part"), &this_part, lean, NULL, digest), ERR_OK);
        assert_memory_equal(nn_net_forward(lean, x, ROWS, NN_EVALUATE), wanted, ROWS * 13 * sizeof(float));
    }
    free(x);
    nn_net_free(net);
    nn_net_free(lean);
}

static void assert_not_loaded(const checkpoint_id *id, const uint8_t *digest, nn_optimiser o, const char *reason) {
    nn_net *net = make_net(&trained_spec, ROWS, NULL);
    assert_int_equal(checkpoint_load(in_folder("part"), id, net, &o, digest), ERR_INPUT);
    assert_told("part", reason);
    nn_net_free(net);
}

static void other_checkpoints_are_refused(void **state) {
    (void)state;
    nn_optimiser o = adam;
    uint8_t digest[SHA256_BYTES];
    nn_net *net = trained_net(&o);
    assert_int_equal(checkpoint_save(in_folder("part"), &this_part, net, &o, digest), ERR_OK);
    checkpoint_id id = this_part;
    id.run = 0x0123456789abcdee;
    assert_not_loaded(&id, digest, adam, "its run is '0123456789abcdef', not '0123456789abcdee'");
    id = this_part;
    id.step = 4;
    assert_not_loaded(&id, digest, adam, "its step is '3', not '4'");
    id = this_part;
    strcpy(id.part, "encoder.20");
    assert_not_loaded(&id, digest, adam, "its part is 'encoder.2', not 'encoder.20'");
    digest[31] ^= 1;
    assert_not_loaded(&this_part, digest, adam, "SHA-256 differs");
    assert_not_loaded(&this_part, NULL, sgd, "no tensor 'optimiser.encoder.0.weight.momentum'");
    assert_int_equal(checkpoint_save(in_folder("part"), &this_part, net, NULL, digest), ERR_OK);
    assert_not_loaded(&this_part, digest, adam, "no tensor 'optimiser.encoder.0.weight.exp_avg'");
    put("part", "\2\0\0\0\0\0\0\0{}", 10);
    assert_not_loaded(&this_part, NULL, adam, "its format is 'missing', not 'fewbit-1'");
    put("part", "\46\0\0\0\0\0\0\0{\"__metadata__\":{\"format\":\"fewbit-2\"}}", 46);
    assert_not_loaded(&this_part, NULL, adam, "its format is 'fewbit-2', not 'fewbit-1'");
    nn_net_free(net);
}

static void checkpoints_of_other_nets_are_refused(void **state) {
    (void)state;
    nn_optimiser o = adam;
    uint8_t digest[SHA256_BYTES];
    nn_spec wider = trained_spec, renamed = trained_spec;
    wider.layers[0].outputs = 8;
    strcpy(renamed.layers[2].name, "encoder.9");
    const struct {
        const nn_spec *spec;
        const char *reason;
    } others[] = {{&wider, "tensor 'encoder.0.weight' has shape [8, 9], not [7, 9]"},
                  {&renamed, "no tensor 'encoder.2.weight'"}};
    for (size_t i = 0; i < 2; i++) {
        nn_net *net = make_net(others[i].spec, ROWS, NULL);
        nn_net_init(net, 1, 1);
        assert_int_equal(checkpoint_save(in_folder("part"), &this_part, net, &o, digest), ERR_OK);
        assert_not_loaded(&this_part, digest, adam, others[i].reason);
        nn_net_free(net);
    }
}

/* A failed write leaves the old file and nothing beside it. */

static void assert_kept(const nn_optimiser *o, nn_net *changed, const uint8_t old[SHA256_BYTES], size_t files) {
    uint8_t digest[SHA256_BYTES];
    checkpoint_id next = this_part;
    next.step = 4;
    assert_int_equal(checkpoint_save(in_folder("part"), &next, changed, o, digest), ERR_IO);
    assert_told("part", "cannot");
    assert_int_equal(files_in_folder(), files);
    nn_optimiser loaded = *o;
    assert_int_equal(checkpoint_load(in_folder("part"), &this_part, changed, &loaded, old), ERR_OK);
}

static void a_failed_save_leaves_the_old_file(void **state) {
    (void)state;
    nn_optimiser o = adam;
    uint8_t digest[SHA256_BYTES];
    nn_net *net = trained_net(&o);
    assert_int_equal(checkpoint_save(in_folder("part"), &this_part, net, &o, digest), ERR_OK);
    struct rlimit unlimited, small = {1000, RLIM_INFINITY};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    small.rlim_max = unlimited.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0); /* the disk is full after 1000 bytes */
    assert_kept(&o, net, digest, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
    char temporary[64];
    snprintf(temporary, sizeof temporary, "part.part-%d", (int)getpid());
    assert_int_equal(mkdir(in_folder(temporary), 0700), 0); /* where it would write first */
    assert_kept(&o, net, digest, 2);
    assert_int_equal(rmdir(in_folder(temporary)), 0);
    if (geteuid() != 0) { /* root may write anywhere */
        assert_int_equal(chmod(folder, 0500), 0);
        assert_kept(&o, net, digest, 1);
        assert_int_equal(chmod(folder, 0700), 0);
    }
    assert_int_equal(checkpoint_save(in_folder("absent/part"), &this_part, net, &o, digest), ERR_IO);
    assert_told("absent/part", "cannot create");
    nn_net_free(net);
}

static void a_folder_is_never_replaced(void **state) {
    (void)state;
    nn_optimiser o = adam;
    uint8_t digest[SHA256_BYTES];
    nn_net *net = trained_net(&o);
    assert_int_equal(mkdir(in_folder("part"), 0700), 0);
    assert_int_equal(checkpoint_save(in_folder("part"), &this_part, net, &o, digest), ERR_IO);
    assert_told("part", "cannot rename");
    assert_int_equal(files_in_folder(), 1);
    nn_net_free(net);
}

static bool is_there(const char *name) {
    return access(in_folder(name), F_OK) == 0;
}

/* What a killed process left half written goes with the steps that are no longer kept; what is not ours stays. */
static void old_steps_and_halves_are_removed(void **state) {
    (void)state;
    static const char *const kept[] = {"step-7.safetensors",     "step-20.safetensors", "step-21.safetensors.part-9",
                                       "step-7.safetensors.old", "step-.safetensors",   "notes"};
    static const char *const gone[] = {"step-6.safetensors", "step-30.safetensors", "step-7.safetensors.part-1",
                                       "step-13.safetensors.part-123", "step-20.safetensors.part-4"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        put(kept[i], "a", 1);
    }
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        put(gone[i], "b", 1);
    }
    checkpoint_prune(folder, (const uint64_t[]){20, 7}, 2);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        assert_true(is_there(kept[i]));
    }
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        assert_false(is_there(gone[i]));
    }
    checkpoint_prune("/nowhere", NULL, 0);
}

/* Whichever tensor holds a value that no net can work with, it is named, and the file of before stays. */
static void values_that_no_net_can_work_with(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    nn_optimiser o = adam;
    uint8_t digest[SHA256_BYTES];
    nn_net *net = trained_net(&o), *other = trained_net(&o);
    for (size_t i = 0; i < nn_net_tensor_count(net); i++) {
        nn_tensor *t = nn_net_tensor(net, i);
        float *places[] = {t->value, t->state[0], t->state[1]};
        for (size_t p = 0; p < (t->is_parameter ? 3 : 1); p++) {
            float kept = places[p][t->count - 1];
            for (size_t b = 0; b < 3; b++) {
                places[p][t->count - 1] = bad[b];
                assert_int_equal(checkpoint_save(in_folder("part"), &this_part, net, &o, digest), ERR_INPUT);
                assert_told("part", t->name);
                assert_told("part", "not a finite number");
            }
            places[p][t->count - 1] = kept;
        }
        assert_int_equal(checkpoint_save(in_folder("part"), &this_part, net, &o, digest), ERR_OK);
        assert_int_equal(checkpoint_load(in_folder("part"), &this_part, other, &o, digest), ERR_OK);
        if (strstr(t->name, "running_var")) {
            float kept = t->value[0];
            t->value[0] = -kept;
            assert_int_equal(checkpoint_save(in_folder("part"), &this_part, net, &o, digest), ERR_OK);
            assert_int_equal(checkpoint_load(in_folder("part"), &this_part, other, &o, digest), ERR_INPUT);
            assert_told(t->name, "a variance is not below 0");
            t->value[0] = kept;
        }
    }
    nn_net_free(net);
    nn_net_free(other);
}

/* What the net sees of a sample comes back with its weights: as much of it as there is. */
static void input_comes_back(void **state) {
    (void)state;
    nn_optimiser o = adam;
    uint8_t digest[SHA256_BYTES];
    nn_net *net = trained_net(&o);
    float mean[3] = {1, -2, 0.5f}, std[3] = {0.1f, 2, 3}, m[3], s[3];
    for (int i = 0; i < 4; i++) {
        const char *columns = i & 1 ? "[{\"name\":\"\xc3\xa4ge\",\"kind\":\"number\"}]" : NULL;
        checkpoint_input from = {3, i & 2, mean, std, columns}, to = {3, !from.is_scaled, m, s, columns};
        checkpoint_id id = this_part;
        id.input = &from;
        assert_int_equal(checkpoint_save(in_folder("part"), &id, net, &o, digest), ERR_OK);
        id.input = &to;
        assert_int_equal(checkpoint_load(in_folder("part"), &id, net, &o, digest), ERR_OK);
        assert_int_equal(to.is_scaled, from.is_scaled);
        assert_true(!to.is_scaled || (memcmp(m, mean, sizeof m) == 0 && memcmp(s, std, sizeof s) == 0));
        to.columns = i & 1 ? NULL : "[]";
        assert_int_equal(checkpoint_load(in_folder("part"), &id, net, &o, digest), ERR_INPUT);
        assert_told("part", i & 1 ? "was trained on more columns than the data here has"
                                  : "was trained on fewer columns than the data here has");
        if (i & 1) {
            to.columns = "[{\"kind\":\"number\",\"name\":\"\xc3\xa4ge\",\"missing\":1.5}]";
            assert_int_equal(checkpoint_load(in_folder("part"), &id, net, &o, digest), ERR_OK);
            to.columns = "[{\"name\":\"height\",\"kind\":\"number\"}]";
            assert_int_equal(checkpoint_load(in_folder("part"), &id, net, &o, digest), ERR_INPUT);
            assert_told("part", "was trained on other columns than the data here has");
        }
        checkpoint_input wide = {4, true, (float[4]){0}, (float[4]){0}, columns};
        id.input = &wide;
        assert_int_equal(checkpoint_load(in_folder("part"), &id, net, &o, digest), i & 2 ? ERR_INPUT : ERR_OK);
        assert_true(!(i & 2) || strstr(err_text(), "input.mean"));
    }
    std[1] = 0;
    checkpoint_input bad = {3, true, mean, std, NULL};
    checkpoint_id id = this_part;
    id.input = &bad;
    assert_int_equal(checkpoint_save(in_folder("part"), &id, net, &o, digest), ERR_OK);
    assert_int_equal(checkpoint_load(in_folder("part"), &id, net, &o, digest), ERR_INPUT);
    assert_told("part", "value 1 of tensor 'input.std' is not above 0");
    nn_net_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(input_comes_back),
        IN_FOLDER(checkpoints_come_back),
        IN_FOLDER(checkpoints_hold_what_their_header_says),
        IN_FOLDER(checkpoints_serve_without_optimiser),
        IN_FOLDER(other_checkpoints_are_refused),
        IN_FOLDER(values_that_no_net_can_work_with),
        IN_FOLDER(checkpoints_of_other_nets_are_refused),
        IN_FOLDER(a_failed_save_leaves_the_old_file),
        IN_FOLDER(a_folder_is_never_replaced),
        IN_FOLDER(old_steps_and_halves_are_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
