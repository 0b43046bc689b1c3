#include "decoder_server/train/train.h"

#include "base/log.h"
#include "base/machine.h"
#include "decoder_server/core/code_decoder.h"
#include "decoder_server/core/data_check.h"
#include "decoder_server/train/joint_training.h"
#include "decoder_server/train/progress.h"
#include "decoder_server/train/schedule.h"
#include "encoder_node/node_protocol.h"
#include "experiment/serialize.h"
#include "wire/inproc.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct inproc_node {
    uint32_t portion;
    portion *data;
    node_protocol *protocol;
    code_decoder *decoder; /* NULL: its codes come packed */
    char state[FILE_PATH_MAX];
    char name[32];
    inproc inbox, outbox; /* of the encoder */
    arena unpacked;
    traffic_counters traffic; /* as the server's end of a link would count */
    err failure;
    char failure_text[256];
} inproc_node;

typedef struct training {
    run_dir *run;
    const labels *labels;
    thread_pool *pool;
    joint_training *joint;
    train_loop *update; /* whose head is updated, in this turn; NULL: none */
    progress progress;
    uint32_t portions;
    inproc_node nodes[PARTITION_PORTIONS_MAX];
    uint32_t busy[PARTITION_PORTIONS_MAX]; /* the encoders with messages, in this turn, that run side by side */
    size_t update_tasks;                   /* of the head, in this turn */
    arena unpacked;
} training;

/* Encoders run side by side. One that would be left to a single thread while the others idle comes after them and has
 * the whole pool for its layers, which make use of two threads; so two left over are better off side by side. The
 * numbers are the same either way. */
static bool has_pool(const training *l, uint32_t portion) {
    return portion == l->portions - 1 && l->portions % thread_pool_count(l->pool) == 1;
}

/* The coordinator's host. */

static void tell(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    inproc_node *p = &((training *)context)->nodes[portion];
    traffic_counters_count(&p->traffic, TRAFFIC_OUT, (uint8_t)type, inproc_send(&p->inbox, type, body));
}

static void fail_node(inproc_node *p, err code, const char *text) {
    if (!p->failure) {
        p->failure = code;
        snprintf(p->failure_text, sizeof p->failure_text, "node %u: %s", p->portion, text);
    }
}

static void drop(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    if (reason != FEWBIT__REASON__REASON_OVER) {
        fail_node(&((training *)context)->nodes[portion],
                  reason == FEWBIT__REASON__REASON_DATA ? ERR_INPUT : ERR_INTERNAL, text);
    }
}

static void traffic(void *context, uint32_t portion, traffic_counters *counters) {
    *counters = ((training *)context)->nodes[portion].traffic;
}

static void show(void *context, const train_loop_progress *p) {
    progress_show(&((training *)context)->progress, p);
}

/* The encoders' host. */

static void send_up(void *context, message_type type, const ProtobufCMessage *body) {
    inproc_send(&((inproc_node *)context)->outbox, type, body);
}

static void run_encoder(inproc_node *p) {
    message m;
    size_t size;
    err e;
    while (!(e = inproc_receive(&p->inbox, &p->unpacked, &m, &size)) && size > 0) {
        if (node_protocol_receive(p->protocol, &m)) {
            e = ERR_REFUSED;
            break;
        }
    }
    if (e) {
        fail_node(p, e, err_text());
    }
}

/* What stands ready, but for the head's update: that runs beside the encoders. */
static void work(training *l) {
    while (joint_training_has_work(l->joint) && !joint_training_update(l->joint)) {
        joint_training_work(l->joint);
    }
}

static void round_task(void *context, size_t task) {
    training *l = context;
    if (task < l->update_tasks) {
        train_loop_update_task(l->update, task);
    } else {
        run_encoder(&l->nodes[l->busy[task - l->update_tasks]]);
    }
}

static err deliver_outbox(training *l, inproc_node *p) {
    message m;
    size_t size;
    err e;
    while (!(e = inproc_receive(&p->outbox, &l->unpacked, &m, &size)) && size > 0) {
        traffic_counters_count(&p->traffic, TRAFFIC_IN, (uint8_t)m.type, size);
        e = code_decoder_take(p->decoder, &m);
        if (e) {
            return e;
        }
        while (joint_training_has_work(l->joint)) {
            joint_training_work(l->joint);
        }
        joint_training_receive(l->joint, p->portion, &m);
    }
    return e;
}

static void run_busy_encoders(training *l) {
    size_t busy = 0;
    for (uint32_t k = 0; k < l->portions; k++) {
        if (!inproc_is_empty(&l->nodes[k].inbox) && !has_pool(l, k)) {
            l->busy[busy++] = k;
        }
    }
    l->update = joint_training_update(l->joint);
    l->update_tasks = l->update ? train_loop_update_tasks(l->update) : 0;
    thread_pool_run(l->pool, round_task, l, l->update_tasks + busy);
    if (has_pool(l, l->portions - 1)) {
        run_encoder(&l->nodes[l->portions - 1]);
    }
}

/* The head's update and the encoders with messages; then their answers, in the order of portions. */
static err run_round(training *l) {
    work(l);
    run_busy_encoders(l);
    if (l->update) {
        train_loop_update_done(l->update);
    }
    for (uint32_t k = 0; k < l->portions; k++) {
        inproc_node *p = &l->nodes[k];
        err e = p->failure ? err_fail(p->failure, "%s", p->failure_text) : deliver_outbox(l, p);
        if (e) {
            return e;
        }
    }
    return ERR_OK;
}

static void welcome(training *l, inproc_node *p, const char *text) {
    Fewbit__Welcome w = FEWBIT__WELCOME__INIT;
    w.protocol = MESSAGE_PROTOCOL;
    w.run = l->run->id;
    w.training = l->run->identity.training;
    w.mode = FEWBIT__MODE__MODE_TRAIN;
    w.experiment = (char *)(uintptr_t)text;
    w.coding = p->decoder ? FEWBIT__CODING__CODING_RANGE : FEWBIT__CODING__CODING_PACKED;
    inproc_send(&p->inbox, MESSAGE_WELCOME, &w.base);
}

static err open_node(training *l, uint32_t k, const char *data, Fewbit__Coding coding) {
    inproc_node *p = &l->nodes[k];
    p->portion = k;
    p->inbox = inproc_make();
    p->outbox = inproc_make();
    snprintf(p->name, sizeof p->name, "local-%u", k);
    err e = file_path(p->state, sizeof p->state, "%s/nodes/node-%u", l->run->folder, k);
    e = e ? e : labels_open_portion(l->labels, data, l->run->experiment.portions[k].name, &p->data);
    e = e ? e : data_check(portion_get_info(p->data), &l->run->experiment, &l->run->identity);
    e = e ? e : run_dir_pin(l->run, k, portion_get_info(p->data)->digest);
    if (e) {
        return e;
    }
    thread_pool *inside = has_pool(l, k) ? l->pool : NULL;
    node_protocol_config config = {.name = p->name,
                                   .data = p->data,
                                   .state = p->state,
                                   .coding = coding,
                                   .max_memory = machine_memory() / l->portions,
                                   .pool = inside};
    node_host host = {send_up, p};
    e = arena_init(&p->unpacked, message_arena_size(FRAME_PAYLOAD_MAX));
    if (!e && coding == FEWBIT__CODING__CODING_RANGE) {
        e = code_decoder_new(&p->decoder, l->run->experiment.portions[k].encoder.bits);
    }
    return e ? e : node_protocol_new(&p->protocol, &config, &host);
}

static err run_all(training *l, const train_inproc_options *options, bool *has_data) {
    char text[EXPERIMENT_TEXT_MAX + 1];
    size_t length;
    coordinator_host host = {tell, drop, traffic, show, l};
    err e = experiment_serialize(&l->run->experiment, text, &length);
    e = e ? e : thread_pool_new(&l->pool, options->threads, true);
    e = e ? e : arena_init(&l->unpacked, message_arena_size(FRAME_PAYLOAD_MAX));
    for (uint32_t k = 0; k < l->portions && !e; k++) {
        e = schedule_check_interrupt();
        e = e ? e : open_node(l, k, options->data, options->coding);
    }
    *has_data = !e;
    e = e ? e : joint_training_new(&l->joint, l->run, l->labels, l->pool, false, &host);
    if (e) {
        return e;
    }
    text[length] = '\0';
    for (uint32_t k = 0; k < l->portions; k++) {
        welcome(l, &l->nodes[k], text);
    }
    for (uint32_t k = 0; k < l->portions; k++) {
        const portion_info *info = portion_get_info(l->nodes[k].data);
        const aligner_node node = {
            info->name, {info->samples[DATASET_TRAIN], info->samples[DATASET_TEST]}, info->ids_digest};
        joint_training_joined(l->joint, k, l->nodes[k].name, &node);
    }
    err outcome = ERR_OK;
    while (!joint_training_is_over(l->joint, &outcome)) {
        e = schedule_check_interrupt();
        e = e ? e : run_round(l);
        if (e) {
            return e;
        }
    }
    run_busy_encoders(l); /* what the coordinator said last: that the last checkpoint is committed */
    return outcome;
}

static void release(training *l) {
    joint_training_free(l->joint);
    for (uint32_t k = 0; k < l->portions; k++) {
        inproc_node *p = &l->nodes[k];
        node_protocol_free(p->protocol);
        code_decoder_free(p->decoder);
        portion_close(p->data);
        arena_free(&p->unpacked);
        inproc_free(&p->inbox);
        inproc_free(&p->outbox);
    }
    thread_pool_free(l->pool);
    arena_free(&l->unpacked);
}

err train_inproc_run(run_dir *r, const labels *labels_of_run, const train_inproc_options *options, bool *has_data) {
    static training l; /* one a process */
    l = (training){.run = r, .labels = labels_of_run, .portions = r->experiment.portion_count};
    progress_start(&l.progress);
    err e = run_all(&l, options, has_data);
    progress_end(&l.progress);
    release(&l);
    return e;
}
