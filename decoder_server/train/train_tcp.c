#include "decoder_server/train/train.h"

#include "base/clock.h"
#include "decoder_server/core/server_runtime.h"
#include "decoder_server/http/json_views.h"
#include "decoder_server/train/joint_training.h"
#include "decoder_server/train/progress.h"
#include "decoder_server/train/schedule.h"
#include "experiment/derive.h"

enum { REPLAYS_BYTES_MAX = 1 << 20, EVENT_MAX = 512, PAUSE_NS = 100000000 };

typedef struct train_tcp {
    run_dir *run;
    server_runtime *runtime;
    thread_pool *pool;
    joint_training *joint;
    progress progress;
    sse_producer *sse;
    uint64_t shown_ns, started_ns; /* when subscribers were last told, and since when there are samples */
    stats_training told;
    uint32_t nodes_here;
    portion_info data[PARTITION_PORTIONS_MAX]; /* what each portion's node says of its samples */
    dynbuf replays;                            /* events of a lent core that new subscribers get, each with its zero */
} train_tcp;

/* The coordinator's host. */

static void tell(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    node_registry_send(server_runtime_nodes(((train_tcp *)context)->runtime), portion, type, body);
}

static void drop(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    node_registry_drop(server_runtime_nodes(((train_tcp *)context)->runtime), portion, reason, text);
}

static void traffic(void *context, uint32_t portion, traffic_counters *counters) {
    node_registry_traffic(server_runtime_nodes(((train_tcp *)context)->runtime), portion, counters);
}

/* An event that new subscribers get, too. */
static void replay(void *context, const char *event, size_t length) {
    train_tcp *t = context;
    if (server_runtime_is_lent(t->runtime)) {
        dynbuf_add(&t->replays, event, length + 1);
    } else if (server_runtime_http(t->runtime)) {
        http_api_add_replay(server_runtime_http(t->runtime), event, length);
    }
}

/* Server-sent events: "progress", at most ten a second and at each change of phase, and "epoch" for each evaluation,
 * which every new subscriber gets too. */

static const char epoch_head[] = "event: epoch\ndata: ";

/* The whole "epoch" event of an evaluation; its length. */
static size_t put_epoch_event(const manifest_evaluation *e, char event[EVENT_MAX]) {
    dynbuf to = dynbuf_over(event, EVENT_MAX);
    dynbuf_add_text(&to, epoch_head);
    json_writer w = json_writer_make(&to);
    json_writer_object(&w, NULL);
    json_writer_real(&w, "epoch", e->epoch);
    json_writer_real(&w, "loss", e->loss);
    json_writer_real(&w, "training", e->train);
    json_writer_real(&w, "unrounded_test", e->soft);
    json_writer_real(&w, "rounded_test", e->rounded);
    json_writer_real(&w, "validation", e->validation);
    json_writer_fixed(&w, "seconds", e->seconds, 3);
    json_writer_end_object(&w);
    dynbuf_add_text(&to, "\n\n");
    return to.length;
}

static void put_epoch(train_tcp *t, const manifest_evaluation *e) {
    char event[EVENT_MAX];
    size_t length = put_epoch_event(e, event), head = sizeof epoch_head - 1;
    sse_producer_put(t->sse, "epoch", event + head, length - head - 2);
    replay(t, event, length);
}

static void put_progress(train_tcp *t, const train_loop_progress *p) {
    char data[EVENT_MAX];
    double seconds = clock_seconds_since(t->started_ns);
    dynbuf to = dynbuf_over(data, sizeof data);
    json_writer w = json_writer_make(&to);
    json_writer_object(&w, NULL);
    json_writer_word(&w, "phase", p->phase);
    json_writer_uint(&w, "epoch", p->epoch);
    json_writer_uint(&w, "epochs", p->epochs);
    json_writer_uint(&w, "batch", p->batch);
    json_writer_uint(&w, "batches", p->batches);
    json_writer_uint(&w, "step", p->steps);
    json_writer_real(&w, "loss", p->loss);
    json_writer_real(&w, "accuracy", p->accuracy);
    json_writer_fixed(&w, "samples_per_second", seconds > 0 ? (double)p->samples / seconds : 0, 1);
    json_writer_end_object(&w);
    sse_producer_put(t->sse, "progress", data, to.length);
}

static void tell_subscribers(train_tcp *t, const train_loop_progress *p) {
    bool is_news = p->ended || p->phase != t->told.phase;
    uint64_t now_ns = clock_now_ns();
    t->told = (stats_training){p->phase, p->epoch, p->epochs, p->batch, p->batches, p->steps, p->loss, p->accuracy};
    if (p->samples == 0) {
        t->started_ns = now_ns;
    }
    if (!is_news && now_ns - t->shown_ns < PAUSE_NS) {
        return;
    }
    t->shown_ns = now_ns;
    if (p->ended) {
        put_epoch(t, p->ended);
    }
    put_progress(t, p);
    sse_producer_flush(t->sse);
}

static void show(void *context, const train_loop_progress *p) {
    train_tcp *t = context;
    progress_show(&t->progress, p);
    tell_subscribers(t, p);
}

/* The data of a node that comes for the first time is that of the run from then on. */
static err pin(void *context, uint32_t portion, const portion_info *claimed) {
    train_tcp *t = context;
    t->data[portion] = *claimed;
    return run_dir_pin(t->run, portion, claimed->digest);
}

/* The runtime's role. */

/* After each call of the core. */
static void go_on(train_tcp *t) {
    err outcome;
    if (joint_training_is_over(t->joint, &outcome)) {
        sse_producer_taken(t->sse);
        server_runtime_end(t->runtime, outcome, err_text());
    }
}

static void on_joined(void *context, uint32_t portion, const char *name) {
    train_tcp *t = context;
    server_runtime_set_ready(t->runtime, ++t->nodes_here);
    const portion_info *of = &t->data[portion];
    const aligner_node node = {t->run->experiment.portions[portion].name,
                               {of->samples[DATASET_TRAIN], of->samples[DATASET_TEST]},
                               of->ids_digest};
    joint_training_joined(t->joint, portion, name, &node);
    go_on(t);
}

static void on_left(void *context, uint32_t portion) {
    train_tcp *t = context;
    server_runtime_set_ready(t->runtime, --t->nodes_here);
    joint_training_left(t->joint, portion);
    go_on(t);
}

static void on_message(void *context, uint32_t portion, const message *m) {
    train_tcp *t = context;
    joint_training_poll(t->joint, clock_now_ns());
    joint_training_receive(t->joint, portion, m);
    go_on(t);
}

static int64_t poll_core(void *context, uint64_t now_ns) {
    return joint_training_poll(((train_tcp *)context)->joint, now_ns);
}

static server_work work_due(void *context) {
    const joint_training *joint = ((train_tcp *)context)->joint;
    return !joint_training_has_work(joint)      ? SERVER_WORK_NONE
           : joint_training_work_is_long(joint) ? SERVER_WORK_LONG
                                                : SERVER_WORK_SHORT;
}

static void work(void *context) {
    joint_training_work(((train_tcp *)context)->joint);
}

static void work_done(void *context) {
    train_tcp *t = context;
    for (size_t at = 0; at < t->replays.length; at += strlen(t->replays.bytes + at) + 1) {
        replay(t, t->replays.bytes + at, strlen(t->replays.bytes + at));
    }
    dynbuf_reset(&t->replays);
    go_on(t);
}

static void fill_stats(void *context, stats *to) {
    train_tcp *t = context;
    to->training = t->told;
    for (uint32_t k = 0; k < to->portions; k++) {
        joint_training_stats(t->joint, k, &to->nodes[k]);
    }
}

static void stop(void *context) {
    err code = schedule_check_interrupt();
    server_runtime_end(((train_tcp *)context)->runtime, code, err_text());
}

static void close_role(void *context) {
    (void)context;
}

/* What /v1/model says, and the epochs that a run which goes on has behind it. */
static err start(void *context) {
    train_tcp *t = context;
    http_api *http = server_runtime_http(t->runtime);
    if (!http) {
        return ERR_OK;
    }
    codeword layout = experiment_codeword(&t->run->experiment);
    dynbuf described = dynbuf_make(JSON_VIEWS_MAX);
    err e = json_views_model(&described, t->run, &layout, NULL);
    e = e ? e : http_api_set_model(http, described.bytes);
    dynbuf_free(&described);
    for (uint32_t i = 0; i < t->run->manifest.evaluation_count && !e; i++) {
        char event[EVENT_MAX];
        replay(t, event, put_epoch_event(&t->run->manifest.evaluations[i], event));
    }
    return e;
}

static err train(train_tcp *t, const server_options *o, const labels *l, uint32_t threads) {
    static const server_role role = {start, on_joined, on_left,    on_message, poll_core, work_due,
                                     work,  work_done, fill_stats, stop,       close_role};
    const server_runtime_config config = {
        .options = o,
        .classes = &t->run->identity.classes,
        .nodes = {.experiment = &t->run->experiment,
                  .run = t->run->id,
                  .training = t->run->identity.training,
                  .mode = FEWBIT__MODE__MODE_TRAIN,
                  .data = &t->run->identity,
                  .pin = pin,
                  .context = t},
        .mode = ROUTES_TRAINING,
    };
    const coordinator_host host = {tell, drop, traffic, show, t};
    err e = server_runtime_new(&t->runtime, &config, &role, t);
    e = e ? e : thread_pool_new(&t->pool, threads, false);
    e = e ? e : joint_training_new(&t->joint, t->run, l, t->pool, true, &host);
    if (e) {
        return e;
    }
    t->sse = server_runtime_sse(t->runtime);
    t->told = (stats_training){.phase = "waiting for nodes"};
    joint_training_set_answer_timeout(t->joint, (uint64_t)o->answer_timeout_s * 1000000000u);
    return server_runtime_run(t->runtime);
}

err train_tcp_run(const server_options *options, run_dir *r, const labels *l, uint32_t threads) {
    static train_tcp t; /* one a process */
    t = (train_tcp){.run = r, .replays = dynbuf_make(REPLAYS_BYTES_MAX)};
    progress_start(&t.progress);
    err e = train(&t, options, l, threads);
    progress_end(&t.progress);
    joint_training_free(t.joint);
    server_runtime_free(t.runtime);
    thread_pool_free(t.pool);
    dynbuf_free(&t.replays);
    return e;
}
