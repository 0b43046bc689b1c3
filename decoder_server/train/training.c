#include "decoder_server/train/training.h"

#include "base/log.h"
#include "decoder_server/announce.h"
#include "decoder_server/gate.h"
#include "decoder_server/mail.h"
#include "decoder_server/peers.h"
#include "decoder_server/train/coordinator.h"
#include "decoder_server/train/progress.h"
#include "loop/signals.h"
#include "loop/supervisor.h"

#include <stdio.h>
#include <string.h>

typedef struct end_note {
    err code;
    char text[256];
} end_note;

typedef struct training {
    const training_config *config;
    /* the loop's */
    uv_loop_t loop;
    signals signals;
    gate *gate;
    worker *worker;
    end_note end;
    bool ending;
    /* the worker's */
    lanes *lanes;
    peers *peers;
    coordinator *coordinator;
    progress progress;
    bool is_over;
} training;

/* On the worker. */

static void tell(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    peers_tell(((training *)context)->peers, portion, type, body);
}

static void drop(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    peers_drop(((training *)context)->peers, portion, reason, text);
}

static void ask_meter(void *context, uint32_t portion) {
    peers_ask_meter(((training *)context)->peers, portion);
}

static void show(void *context, const coordinator_progress *p) {
    progress_show(&((training *)context)->progress, p);
}

static void on_joined(void *context, uint32_t portion, const char *name) {
    coordinator_joined(((training *)context)->coordinator, portion, name);
}

static void on_left(void *context, uint32_t portion) {
    coordinator_left(((training *)context)->coordinator, portion);
}

static void on_message(void *context, uint32_t portion, const message *m) {
    coordinator_receive(((training *)context)->coordinator, portion, m);
}

static void on_metered(void *context, uint32_t portion, const meter *m) {
    coordinator_metered(((training *)context)->coordinator, portion, m);
}

static void work_task(void *context, size_t task) {
    coordinator_work_task(context, task);
}

static void receive(void *role, const mail *m) {
    training *t = role;
    peers_take(t->peers, m);
    size_t tasks = coordinator_work_tasks(t->coordinator);
    if (tasks > 0) {
        lanes_run(t->lanes, work_task, t->coordinator, tasks);
        coordinator_work_done(t->coordinator);
    }
    err outcome;
    if (!t->is_over && coordinator_is_over(t->coordinator, &outcome)) {
        t->is_over = true;
        end_note note = {.code = outcome};
        snprintf(note.text, sizeof note.text, "%s", outcome ? err_text() : "");
        worker_reply(t->worker, MAIL_END, 0, &note, sizeof note);
    }
}

static int64_t sleep_until_mail(void *role) {
    (void)role;
    return -1;
}

/* On the loop. */

static void on_closed(void *context) {
    uv_stop(&((training *)context)->loop);
}

static void end(training *t, const end_note *note) {
    if (!t->ending) {
        t->ending = true;
        supervisor_stopping();
        t->end = *note;
        signals_release(&t->signals);
        gate_close(t->gate, on_closed, t);
    }
}

static void deliver(void *loop_side, const mail *m) {
    training *t = loop_side;
    if (!gate_deliver(t->gate, m) && m->kind == MAIL_END) {
        end(t, (const end_note *)(const void *)m->bytes);
    }
}

static void delivered(void *loop_side) {
    gate_flush(((training *)loop_side)->gate);
}

static void caught_up(void *loop_side) {
    gate_resume(((training *)loop_side)->gate);
}

static void on_stop(void *context) {
    end(context, &(end_note){ERR_STOPPED, "stopped by a signal; --resume goes on from the last checkpoint"});
}

static err start_worker_side(training *t) {
    const training_config *config = t->config;
    peers_config peers_of_run = {
        .experiment = &config->run->experiment,
        .run = config->run->id,
        .mode = FEWBIT__MODE__MODE_TRAIN,
        .heartbeat_ms = config->heartbeat_ms,
        .labels = config->labels,
        .by_certificate = config->tls != NULL,
    };
    peers_events events = {on_joined, on_left, on_message, on_metered, t};
    coordinator_host host = {tell, drop, ask_meter, show, t};
    err e = lanes_new(&t->lanes, config->threads, false);
    e = e ? e : peers_new(&t->peers, &peers_of_run, &events, &t->worker);
    return e ? e : coordinator_new(&t->coordinator, config->run, config->labels, t->lanes, true, &host);
}

static err run_loop(training *t) {
    static const worker_role role = {receive, sleep_until_mail, deliver, delivered, caught_up};
    err e = gate_new(&t->gate, &t->loop, t->config->host, t->config->port, t->config->tls, &t->worker);
    if (e) {
        return e;
    }
    e = worker_new(&t->worker, &t->loop, &role, t, t);
    e = e ? e : signals_catch(&t->signals, &t->loop, on_stop, t);
    e = e || !t->config->tls ? e : signals_on_reload(&t->signals, tls_context_refresh, t->config->tls);
    if (e) {
        gate_close(t->gate, on_closed, t);
    } else if (announce(t->config->announce, t->config->host, gate_port(t->gate), NULL, 0)) {
        end_note note = {.code = ERR_IO};
        snprintf(note.text, sizeof note.text, "%s", err_text());
        end(t, &note);
    } else {
        log_info("listening on %s:%u for %u nodes, run %s", t->config->host, gate_port(t->gate),
                 t->config->run->experiment.data.portions, t->config->run->folder);
        supervisor_ready("training");
    }
    uv_run(&t->loop, UV_RUN_DEFAULT);
    worker_free(t->worker);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    gate_free(t->gate);
    return e;
}

err training_run(const training_config *config) {
    static training t; /* one a process */
    t = (training){.config = config};
    uv_loop_init(&t.loop);
    progress_start(&t.progress);
    err e = start_worker_side(&t);
    e = e ? e : run_loop(&t);
    progress_end(&t.progress);
    if (uv_loop_close(&t.loop) != 0) {
        log_warn("the loop did not close clean");
    }
    coordinator_free(t.coordinator);
    peers_free(t.peers);
    lanes_free(t.lanes);
    return e || !t.end.code ? e : err_fail(t.end.code, "%s", t.end.text);
}
