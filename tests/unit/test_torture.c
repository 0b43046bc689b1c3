/* Torture: every allocation fails in turn, the first, the second, and so on. Whatever is being made is then made all
 * the same, or there is an error with its line; nothing is lost, no file stays open, nothing crashes.
 *
 * Some libraries cannot stand it: libuv ends the process when its table of watchers cannot grow. For what uses it, only
 * this program's own allocations fail (OURS). So it is where YAML is read: libyaml 0.2.5 loses the pairs of a mapping
 * when the document's list of nodes cannot grow (yaml_parser_load_mapping). */
#include "tests/lib/torture.h"

#include "base/log.h"
#include "decoder_server/core/node_listener.h"
#include "decoder_server/core/node_registry.h"
#include "decoder_server/http/json_views.h"
#include "decoder_server/serve/engine.h"
#include "decoder_server/serve/predictor.h"
#include "decoder_server/train/coordinator.h"
#include "decoder_server/train/head_trainer.h"
#include "encoder_node/node_protocol.h"
#include "encoder_node/source.h"
#include "experiment/derive.h"
#include "experiment/load.h"
#include "experiment/serialize.h"
#include "experiment/validate.h"
#include "image/image.h"
#include "loop/compute_pool.h"
#include "model/safetensors.h"
#include "tests/lib/folder.h"
#include "tests/lib/idx_write.h"
#include "tests/lib/portion_info.h"
#include "tests/lib/predictor_with_all.h"
#include "tests/lib/whole_sample.h"
#include "wire/listener.h"

#include <cblas.h>
#include <png.h>

enum { PORTIONS = 2, ELEMENTS = 392, TRAIN = 8, TEST = 6, STEP = 2 };

/* What the tests use. It stays for the whole program. */

static experiment small;
static partition parts;
static uint32_t classes;
static labels truth;
static run_dir trained; /* with one committed checkpoint */
static portion *data_of_node;

static experiment small_experiment(void) {
    experiment e = {
        .name = "small",
        .dataset = {.evaluate_test = true, .name = "mnist", .partition = PARTITION_SLICES, .portions = PORTIONS},
        .encoder = {.net = PRESET_SIMPLE_1D, .hidden = 8, .bits = 4, .batch_norm = true},
        .classifier = {.net = PRESET_MNIST, .hidden = 8},
        .optimiser = {.kind = NN_ADAM, .learning_rate = 0.25f},
        .training = {.epochs = 1, .batch_size = 4, .seed = 1},
    };
    assert_int_equal(experiment_fill_portions(&e), ERR_OK);
    assert_int_equal(experiment_validate(&e, NULL), ERR_OK);
    return e;
}

static err commit_head(run_dir *r) {
    head_trainer *s;
    manifest_commit commit = {.position = {.step = STEP, .epoch = 1, .evaluations = 1}};
    err e = head_trainer_new(&s, &r->experiment, 10, 16, 1000, NULL);
    if (e) {
        return e;
    }
    head_trainer_init(s, 1);
    e = run_dir_save_head(r, STEP, head_trainer_net(s), head_trainer_optimiser(s), commit.head);
    e = e ? e : run_dir_commit(r, &commit, false);
    head_trainer_free(s);
    return e;
}

static int make_everything(void **state) {
    static uint8_t train[TRAIN * ELEMENTS], test[TEST * ELEMENTS];
    if (make_folder(state)) {
        return -1;
    }
    log_choose_level("none");
    small = small_experiment();
    truth = (labels){.dataset = "mnist",
                     .has_partition = true,
                     .partition = {PARTITION_SLICES, PORTIONS, 1, 28, 28},
                     .classes = some_class_names(10),
                     .samples = {TRAIN, TEST},
                     .values = {calloc(TRAIN, 1), calloc(TEST, 1)},
                     .portions = some_labels_portions(PORTIONS),
                     .portion_count = PORTIONS};
    portion_info info = info_of_portion(truth.partition, 1, TRAIN, TEST);
    err e = experiment_partition(&small, &parts, &classes);
    e = e ? e : run_dir_create(&trained, in_folder("run"), &small, &truth, NULL);
    e = e ? e : manifest_add(&trained.manifest, &(manifest_evaluation){.epoch = 1});
    e = e ? e : commit_head(&trained);
    e = e ? e : portion_write(in_folder("portion"), &info, &(portion_contents){.values = {train, test}});
    e = e ? e : portion_open(&data_of_node, in_folder("portion"));
    const uint32_t dims[] = {TRAIN, ELEMENTS};
    e = e ? e : idx_write(in_folder("array.idx"), train, 2, dims);
    return e ? -1 : 0;
}

static int remove_everything(void **state) {
    portion_close(data_of_node);
    run_dir_close(&trained);
    labels_close(&truth);
    return remove_folder(state);
}

/* Nets. */

static void use(nn_net *net, size_t inputs) {
    static const float x[16 * 1024];
    assert_true(16 * inputs <= sizeof x / sizeof x[0]);
    nn_net_init(net, 1, 1);
    const float *y = nn_net_forward(net, x, 16, NN_TRAIN);
    assert_non_null(nn_net_backward(net, y));
    nn_net_update(net, NULL);
}

static err make_nets(void) {
    nn_spec encoder, head;
    nn_net *one = NULL, *two = NULL;
    nn_net_options options = {.max_rows = 16, .training = true, .input_gradient = true};
    experiment_describe_encoder(&small, 0, &encoder);
    experiment_describe_head(&small, classes, &head);
    err e = nn_net_new(&one, &encoder, &options);
    e = e ? e : nn_net_new(&two, &head, &options);
    if (!e) {
        use(one, ELEMENTS);
        use(two, PORTIONS * 4);
    }
    nn_net_free(one);
    nn_net_free(two);
    return e;
}

static err make_step(void) {
    head_trainer *s = NULL;
    err e = head_trainer_new(&s, &small, 10, 16, 1000, NULL);
    if (!e) {
        head_trainer_free(s);
    }
    return e;
}

static err make_lanes(void) {
    thread_pool *l = NULL;
    err e = thread_pool_new(&l, 2, false);
    if (!e) {
        thread_pool_free(l);
    }
    return e;
}

/* Files. */

static err load_experiment(void) {
    experiment e;
    return experiment_load(in_folder("run/experiment.yaml"), &e);
}

static err refuse_experiment(void) {
    static const char text[] = "name: small\ndata:\n  portions: four\n";
    experiment e;
    err failed = experiment_parse("text", text, sizeof text - 1, &e);
    return failed == ERR_INPUT || failed == ERR_MEMORY ? ERR_OK : failed ? failed : ERR_INTERNAL;
}

static err write_safetensors(void) {
    static const float values[6];
    static const uint32_t shape[] = {2, 3};
    const safetensors_entry entries[] = {{"w", 2, shape, values}, {"b", 1, shape, values}};
    const safetensors_pair metadata[] = {{"format", "none"}};
    return safetensors_write(in_folder("new.safetensors"), entries, 2, metadata, 1, NULL);
}

static err open_safetensors(void) {
    static const uint32_t shape[] = {2, 3};
    float values[6];
    safetensors *file = NULL;
    err e = safetensors_open(&file, in_folder("new.safetensors"));
    if (!e) {
        e = safetensors_copy(file, "w", 2, shape, values);
        safetensors_close(file);
    }
    return e;
}

/* Runs `check`, which must succeed, while nothing fails; returns `e` with its line. */
static err after(err e, err (*check)(void)) {
    char line[512];
    snprintf(line, sizeof line, "%s", err_text());
    unsigned long fail_at = memory_here.fail_at;
    memory_here.fail_at = 0;
    err checked = check();
    memory_here.fail_at = fail_at;
    if (checked) {
        fail_msg("after '%s': %s", line, err_text());
    }
    return e ? err_fail(e, "%s", line) : ERR_OK;
}

/* After an error as after success the file is whole: the one from before, or the new one. */
static err write_and_read_safetensors(void) {
    return after(write_safetensors(), open_safetensors);
}

static err open_portion(void) {
    portion *p = NULL;
    err e = portion_open(&p, in_folder("portion"));
    if (!e) {
        portion_close(p);
    }
    return e;
}

static err write_and_open_labels(void) {
    labels l;
    err e = labels_write(in_folder("labels"), &truth);
    e = e ? e : labels_open(&l, in_folder("labels"));
    if (!e) {
        labels_close(&l);
    }
    return e;
}

static err read_idx(void) {
    idx_array array;
    err e = idx_read(in_folder("array.idx"), TRAIN * ELEMENTS, &array);
    idx_free(&array);
    return e;
}

/* Runs. */

static err open_run(void) {
    run_dir r;
    err e = run_dir_open(&r, in_folder("run"));
    if (!e) {
        run_dir_close(&r);
    }
    return e;
}

/* Whatever fails, the committed run stands. */
static err commit_run(void) {
    return after(commit_head(&trained), open_run);
}

static err load_head(void) {
    head_trainer *s = NULL;
    err e = head_trainer_new(&s, &small, 10, 16, 1000, NULL);
    if (!e) {
        e = run_dir_load_head(&trained, &trained.manifest.last, head_trainer_net(s), head_trainer_optimiser(s));
        head_trainer_free(s);
    }
    return e;
}

/* The server. */

static void tell_nobody(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    (void)context, (void)portion, (void)type, (void)body;
}

static void drop_nobody(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    (void)context, (void)portion, (void)reason, (void)text;
}

static void answer_nobody(void *context, uint64_t request, const classification *a) {
    (void)context, (void)request, (void)a;
}

static void tell_ready(void *context, uint32_t nodes) {
    (void)context, (void)nodes;
}

static err make_coordinator(void) {
    coordinator *c = NULL;
    coordinator_host host = {.send = tell_nobody, .drop = drop_nobody};
    err e = coordinator_new(&c, &trained, &truth, NULL, NULL, false, &host);
    if (!e) {
        coordinator_free(c);
    }
    return e;
}

static err make_node_registry(void) {
    node_registry *p = NULL;
    node_registry_config config = {.experiment = &small, .mode = FEWBIT__MODE__MODE_TRAIN, .heartbeat_ms = 1000};
    const node_registry_host host = {0};
    const node_registry_events events = {0};
    err e = node_registry_new(&p, &config, &host, &events);
    if (!e) {
        node_registry_free(p);
    }
    return e;
}

static err make_assembler(void) {
    assembler *a = NULL;
    assembler_config config = {64, PORTIONS, 1000, true};
    assembler_sample sample;
    err e = assembler_new(&a, &config);
    if (!e) {
        assert_true(assembler_open(a, 7, 3, 0));
        assert_int_equal(assembler_add(a, 7, 1, 5, 0, &sample), ASSEMBLER_WAITS);
        assembler_free(a);
    }
    return e;
}

static err make_classifier(void) {
    predictor *c = NULL;
    static const uint64_t codes[PORTIONS];
    assembler_sample sample = {.have = 3, .codes = codes};
    err e = predictor_new(&c, &trained, &trained.manifest.last, &predictor_with_all);
    if (!e) {
        assert_non_null(predictor_run(c, &sample, 1));
        predictor_free(c);
    }
    return e;
}

static err make_engine(void) {
    engine *d = NULL;
    results *r = NULL;
    static const uint8_t sample[784];
    engine_options options = {.deadline_ns = 1000, .predictor = predictor_with_all};
    engine_host host = {.send = tell_nobody, .drop = drop_nobody, .answer = answer_nobody, .ready = tell_ready};
    err e = results_open(&r, in_folder("results.jsonl"), &truth.classes, PORTIONS);
    e = e ? e : engine_new(&d, &trained, r, &options, &host);
    if (!e) {
        Fewbit__Ready ready = FEWBIT__READY__INIT;
        ready.step = STEP;
        engine_joined(d, 1);
        engine_receive(d, 1, &(message){MESSAGE_READY, {.ready = &ready}}, 0);
        classify_whole(d, 1, &parts, sample, 0);
        engine_free(d);
    }
    results_close(r);
    return e;
}

static err take_image(void) {
    static uint8_t pixels[784], sample[784], png[4096];
    static png_alloc_size_t length;
    if (length == 0) {
        png_image image = {.version = PNG_IMAGE_VERSION, .width = 28, .height = 28, .format = PNG_FORMAT_GRAY};
        length = sizeof png;
        assert_int_equal(png_image_write_to_memory(&image, png, &length, 0, pixels, 0, NULL), 1);
    }
    return image_read(IMAGE_PNG, png, length, &(image_shape){1, 28, 28}, sample);
}

static err make_replies(void) {
    classification a = {.classes = 10, .portions = PORTIONS, .bits = {4}, .have = 1, .degraded = true};
    dynbuf reply = dynbuf_make(JSON_VIEWS_MAX);
    json_writer w = json_writer_make(&reply);
    json_views_classification(&w, &(json_views_answer){.request = "request-7", .of = &a, .classes = &truth.classes});
    json_views_error(&w, "request-7", "busy", "too many samples wait");
    err e = dynbuf_check(&reply, "an answer");
    dynbuf_free(&reply);
    return e;
}

/* The node. */

static void hear_nothing(void *context, message_type type, const ProtobufCMessage *body) {
    (void)context, (void)type, (void)body;
}

static err answer_to(node_protocol *e, message_type type, const ProtobufCMessage *body) {
    message m = {.type = type, .body = {.any = body}};
    return node_protocol_receive(e, &m) == NODE_PROTOCOL_GO_ON ? ERR_OK : ERR_REFUSED;
}

/* Hello, Welcome, a fresh start, a checkpoint written, and gone back to. */
static err run_encoder(void) {
    static char text[EXPERIMENT_TEXT_MAX + 1];
    static size_t length;
    char state[FILE_PATH_MAX];
    node_protocol *e = NULL;
    snprintf(state, sizeof state, "%s/state", folder);
    if (length == 0) {
        assert_int_equal(experiment_serialize(&small, text, &length), ERR_OK);
        text[length] = '\0';
    }
    node_protocol_config config = {.name = "small", .data = data_of_node, .state = state};
    node_host host = {hear_nothing, NULL};
    err failed = node_protocol_new(&e, &config, &host);
    if (failed) {
        return failed;
    }
    node_protocol_connected(e);
    Fewbit__Welcome welcome = FEWBIT__WELCOME__INIT;
    welcome.protocol = MESSAGE_PROTOCOL;
    welcome.mode = FEWBIT__MODE__MODE_TRAIN;
    welcome.experiment = text;
    Fewbit__Restore fresh = FEWBIT__RESTORE__INIT, back = FEWBIT__RESTORE__INIT;
    fresh.fresh = true;
    static float zeros[4];
    Fewbit__Batch batch = FEWBIT__BATCH__INIT;
    batch.count = 1;
    Fewbit__Gradients gradients = FEWBIT__GRADIENTS__INIT;
    gradients.count = 1;
    gradients.values = (ProtobufCBinaryData){sizeof zeros, (uint8_t *)zeros};
    Fewbit__Save save = FEWBIT__SAVE__INIT;
    save.step = back.step = 1;
    failed = answer_to(e, MESSAGE_WELCOME, &welcome.base);
    failed = failed ? failed : answer_to(e, MESSAGE_RESTORE, &fresh.base);
    failed = failed ? failed : answer_to(e, MESSAGE_BATCH, &batch.base);
    failed = failed ? failed : answer_to(e, MESSAGE_GRADIENTS, &gradients.base);
    failed = failed ? failed : answer_to(e, MESSAGE_SAVE, &save.base); /* a failure goes to the server, as Saved */
    failed = failed ? failed : answer_to(e, MESSAGE_RESTORE, &back.base);
    node_protocol_free(e);
    return failed;
}

static void arrive(void *context) {
    (void)context;
}

static err make_source(void) {
    source *s = NULL;
    err e = source_new(&s, SOURCE_TEST, data_of_node, arrive, NULL);
    if (!e) {
        source_free(s);
    }
    return e;
}

/* Links. */

static void on_up(void *context, wire_link *l) {
    (void)context;
    link_close(l, "done");
}

static void on_frame(void *context, wire_link *l, const frame *f) {
    (void)context, (void)l, (void)f;
}

static void on_down(void *context, wire_link *l, const char *reason) {
    (void)l, (void)reason;
    if (context) {
        listener_close(context);
    }
}

static const link_events events = {on_up, on_frame, on_down};

static void on_accepted(void *context, wire_link *l) {
    (void)context;
    link_attach(l, &events, NULL);
}

/* A listener, and a link to it that comes up and is closed. */
static err make_links(void) {
    uv_loop_t loop;
    listener *from = NULL;
    wire_link *l = NULL;
    assert_int_equal(uv_loop_init(&loop), 0);
    err e = listener_new(&from, &loop, "127.0.0.1", 0, NULL, 4, on_accepted, NULL);
    if (!e) {
        e = link_connect(&loop, "127.0.0.1", listener_port(from), NULL, &events, from, &l);
        if (e) {
            listener_close(from);
        }
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return e;
}

static void end_nothing(void *context) {
    (void)context;
}

static err make_node_listener(void) {
    const node_listener_host nobody = {0};
    uv_loop_t loop;
    node_listener *l = NULL;
    assert_int_equal(uv_loop_init(&loop), 0);
    err e = node_listener_new(&l, &loop, "127.0.0.1", 0, NULL, &nobody);
    if (!e) {
        node_listener_close(l, end_nothing, NULL);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    node_listener_free(l);
    assert_int_equal(uv_loop_close(&loop), 0);
    return e;
}

static void do_nothing(void *context) {
    (void)context;
}

static err make_compute_pool(void) {
    uv_loop_t loop;
    compute_pool *p = NULL;
    assert_int_equal(uv_loop_init(&loop), 0);
    err e = compute_pool_new(&p, &loop);
    e = e ? e : compute_pool_run(p, do_nothing, do_nothing, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    compute_pool_free(p);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return e;
}

static err read_frame(void) {
    frame_reader r;
    uint8_t *to;
    size_t room;
    frame_reader_init(&r, 1000000);
    err e = frame_reader_room(&r, &to, &room);
    if (!e) {
        frame_put_header(to, 1, 100000);
        frame_reader_fed(&r, FRAME_HEADER);
        e = frame_reader_room(&r, &to, &room);
    }
    frame_reader_free(&r);
    return e;
}

TORTURE(make_nets, ALL)
TORTURE(make_step, ALL)
TORTURE(make_lanes, ALL)
TORTURE(load_experiment, OURS)
TORTURE(refuse_experiment, ALL)
TORTURE(write_and_read_safetensors, ALL)
TORTURE(open_safetensors, ALL)
TORTURE(open_portion, ALL)
TORTURE(write_and_open_labels, ALL)
TORTURE(read_idx, ALL)
TORTURE(open_run, OURS)
TORTURE(commit_run, ALL)
TORTURE(load_head, ALL)
TORTURE(make_coordinator, ALL)
TORTURE(make_node_registry, ALL)
TORTURE(make_assembler, ALL)
TORTURE(make_classifier, ALL)
TORTURE(make_engine, ALL)
TORTURE(take_image, ALL)
TORTURE(make_replies, ALL)
TORTURE(run_encoder, OURS)
TORTURE(make_source, ALL)
TORTURE(make_links, OURS)
TORTURE(make_node_listener, OURS)
TORTURE(make_compute_pool, OURS)
TORTURE(read_frame, ALL)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(make_nets_survives),
        cmocka_unit_test(make_step_survives),
        cmocka_unit_test(make_lanes_survives),
        cmocka_unit_test(load_experiment_survives),
        cmocka_unit_test(refuse_experiment_survives),
        cmocka_unit_test(write_and_read_safetensors_survives),
        cmocka_unit_test(open_safetensors_survives),
        cmocka_unit_test(open_portion_survives),
        cmocka_unit_test(write_and_open_labels_survives),
        cmocka_unit_test(read_idx_survives),
        cmocka_unit_test(open_run_survives),
        cmocka_unit_test(commit_run_survives),
        cmocka_unit_test(load_head_survives),
        cmocka_unit_test(make_coordinator_survives),
        cmocka_unit_test(make_node_registry_survives),
        cmocka_unit_test(make_assembler_survives),
        cmocka_unit_test(make_classifier_survives),
        cmocka_unit_test(make_engine_survives),
        cmocka_unit_test(take_image_survives),
        cmocka_unit_test(make_replies_survives),
        cmocka_unit_test(run_encoder_survives),
        cmocka_unit_test(make_source_survives),
        cmocka_unit_test(make_links_survives),
        cmocka_unit_test(make_node_listener_survives),
        cmocka_unit_test(make_compute_pool_survives),
        cmocka_unit_test(read_frame_survives),
    };
    openblas_set_num_threads(1);
    return cmocka_run_group_tests_name("torture", tests, make_everything, remove_everything);
}
