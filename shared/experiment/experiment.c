#include "experiment/experiment.h"

#include "base/digest.h"
#include "base/file.h"
#include "data/dataset.h"
#include "experiment/schema.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* What libcyaml said, as one line: its first message says what, its backtrace where. */
typedef struct complaint {
    char what[200];
    char where[160];
} complaint;

static void hear(cyaml_log_t level, void *context, const char *format, va_list arguments) {
    (void)level;
    complaint *c = context;
    char line[256];
    vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = '\0';
    const char *text = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
    text += strspn(text, " ");
    if (strncmp(text, "Backtrace", 9) == 0) {
        return;
    }
    if (strncmp(text, "in ", 3) == 0) {
        size_t used = strlen(c->where);
        snprintf(c->where + used, sizeof c->where - used, used ? ", %s" : "%s", text);
    } else if (!c->what[0]) {
        snprintf(c->what, sizeof c->what, "%s", text);
    }
}

static cyaml_config_t config_for(complaint *c) {
    return (cyaml_config_t){
        .log_fn = hear,
        .log_ctx = c,
        .mem_fn = cyaml_mem,
        .log_level = CYAML_LOG_ERROR,
        .flags = CYAML_CFG_NO_ALIAS,
    };
}

typedef struct rule {
    const char *key; /* "section.key" */
    bool holds;
    const char *demand;
} rule;

static bool finite_in(float value, float low, float high) {
    return isfinite(value) && value >= low && value <= high;
}

/* The first rule that is broken, or NULL. */
static const rule *broken_rule(const experiment *e) {
    static _Thread_local rule rules[24];
    const dataset *set = NULL;
    bool known = dataset_find(e->data.set, &set) == ERR_OK;
    const rule all[] = {
        {"data.set", known, "must be a data set that is known: mnist, fashion-mnist or cifar10"},
        {"data.portions", e->data.portions >= 1 && e->data.portions <= SPLIT_PORTIONS_MAX, "must be from 1 to 64"},
        {"data.mean", finite_in(e->data.mean, -10, 10), "must be from -10 to 10"},
        {"data.deviation", e->data.deviation == 0 || finite_in(e->data.deviation, 1e-4f, 100),
         "must be from 0.0001 to 100"},
        {"data.validation", !known || e->data.validation < set->train_samples, "must be below the training samples"},
        {"encoder.hidden", e->encoder.hidden >= 1 && e->encoder.hidden <= 65536, "must be from 1 to 65536"},
        {"encoder.bits", e->encoder.bits >= 1 && e->encoder.bits <= 64, "must be from 1 to 64"},
        {"classifier.hidden", e->classifier.hidden >= 1 && e->classifier.hidden <= 65536, "must be from 1 to 65536"},
        {"loss.quantization", finite_in(e->loss.quantization, 0, 1e6f), "must be from 0 to 1000000"},
        {"optimiser.learning_rate", finite_in(e->optimiser.learning_rate, 1e-12f, 100), "must be above 0, at most 100"},
        {"optimiser.momentum", finite_in(e->optimiser.momentum, 0, 0.9999f), "must be from 0 to 0.9999"},
        {"optimiser.momentum", e->optimiser.kind == NN_SGD || e->optimiser.momentum == 0, "is for sgd only"},
        {"training.epochs", e->training.epochs >= 1 && e->training.epochs <= 100000, "must be from 1 to 100000"},
        {"training.batch", e->training.batch >= 1 && e->training.batch <= 8192, "must be from 1 to 8192"},
        {"training.batch", e->training.batch >= 2 || !e->encoder.batch_norm, "must be at least 2 with batch norm"},
        {"training.early_stop", e->training.early_stop == 0 || e->data.validation > 0, "needs data.validation"},
        {"training.keep_best", !e->training.keep_best || e->data.validation > 0, "needs data.validation"},
    };
    memcpy(rules, all, sizeof all);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (!rules[i].holds) {
            return &rules[i];
        }
    }
    return NULL;
}

static err check_split(const experiment *e) {
    split s;
    uint32_t classes;
    err failed = experiment_split(e, &s, &classes);
    return failed ? err_prefix(failed, "key data.split") : ERR_OK;
}

/* The line on which "section.key", or else the section, stands; 0 when neither does. */
static unsigned line_of(const char *text, size_t length, const char *path) {
    char section[32], key[32] = "";
    sscanf(path, "%31[^.].%31s", section, key);
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser)) {
        return 0;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    unsigned line = 0;
    if (yaml_parser_load(&parser, &document)) {
        yaml_node_t *node = yaml_document_get_root_node(&document);
        for (const char *wanted = section; node && node->type == YAML_MAPPING_NODE && *wanted;) {
            yaml_node_t *next = NULL;
            yaml_node_pair_t *pair = node->data.mapping.pairs.start;
            for (; pair < node->data.mapping.pairs.top; pair++) {
                yaml_node_t *name = yaml_document_get_node(&document, pair->key);
                if (name->type == YAML_SCALAR_NODE && strcmp((char *)name->data.scalar.value, wanted) == 0) {
                    line = (unsigned)name->start_mark.line + 1;
                    next = yaml_document_get_node(&document, pair->value);
                }
            }
            node = next;
            wanted = wanted == section ? key : "";
        }
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return line;
}

static err refuse(const char *where, const char *text, size_t length, const char *key, const char *demand) {
    unsigned line = line_of(text, length, key);
    if (line == 0) {
        return err_fail(ERR_INPUT, "%s: key %s %s", where, key, demand);
    }
    return err_fail(ERR_INPUT, "%s:%u: key %s %s", where, line, key, demand);
}

err experiment_check(const experiment *e) {
    const rule *broken = broken_rule(e);
    return broken ? err_fail(ERR_INPUT, "key %s %s", broken->key, broken->demand) : check_split(e);
}

/* libcyaml places an unexpected key at the value before it, and a missing one wherever it noticed: say it better. */
static err refuse_as_heard(const char *where, const char *text, size_t length, const complaint *c,
                           const char *otherwise) {
    char key[48], section[32] = "", path[96];
    const char *outermost = strrchr(c->where, '\'') ? strstr(c->where, "field '") : NULL;
    if (sscanf(c->what, "Unexpected key: %47s", key) == 1) {
        if (outermost) {
            sscanf(outermost, "field '%31[^']", section);
        }
        snprintf(path, sizeof path, section[0] ? "%s.%s" : "%s%s", section, key);
        return refuse(where, text, length, path, "is not known");
    }
    if (sscanf(c->what, "Missing required mapping field: %47s", key) == 1) {
        return err_fail(ERR_INPUT, "%s: key %s is missing, %s", where, key, c->where);
    }
    return err_fail(ERR_INPUT, "%s: %s%s%s", where, c->what[0] ? c->what : otherwise, c->where[0] ? ", " : "",
                    c->where);
}

err experiment_parse(const char *where, const char *text, size_t length, experiment *e) {
    complaint heard = {0};
    cyaml_config_t config = config_for(&heard);
    experiment *loaded = NULL;
    cyaml_err_t status =
        cyaml_load_data((const uint8_t *)text, length, &config, &schema_experiment, (cyaml_data_t **)&loaded, NULL);
    if (status != CYAML_OK) {
        return refuse_as_heard(where, text, length, &heard, cyaml_strerror(status));
    }
    *e = *loaded;
    cyaml_free(&config, &schema_experiment, loaded, 0);
    const rule *broken = broken_rule(e);
    if (broken) {
        return refuse(where, text, length, broken->key, broken->demand);
    }
    if (check_split(e)) {
        char reason[256];
        snprintf(reason, sizeof reason, "does not fit: %s", err_text());
        return refuse(where, text, length, "data.split", reason);
    }
    return ERR_OK;
}

err experiment_load(const char *path, experiment *e) {
    uint8_t *text;
    size_t length;
    err failed = file_read(path, 64 * 1024, &text, &length);
    if (failed) {
        return failed;
    }
    failed = experiment_parse(path, (const char *)text, length, e);
    free(text);
    return failed;
}

err experiment_write(const experiment *e, char *text, size_t *length) {
    complaint heard = {0};
    cyaml_config_t config = config_for(&heard);
    config.flags |= CYAML_CFG_STYLE_BLOCK;
    char *made = NULL;
    cyaml_err_t status = cyaml_save_data(&made, length, &config, &schema_experiment, (const cyaml_data_t *)e, 0);
    if (status != CYAML_OK) {
        return err_fail(ERR_INTERNAL, "the experiment cannot be written: %s", cyaml_strerror(status));
    }
    err failed = ERR_OK;
    if (*length > EXPERIMENT_TEXT_MAX) {
        failed = err_fail(ERR_INPUT, "the resolved experiment is longer than %d bytes", EXPERIMENT_TEXT_MAX);
    } else {
        memcpy(text, made, *length);
    }
    cyaml_mem(NULL, made, 0);
    return failed;
}

err experiment_run_id(const experiment *e, uint64_t *run) {
    char text[EXPERIMENT_TEXT_MAX];
    size_t length;
    uint8_t digest[DIGEST_BYTES];
    err failed = experiment_write(e, text, &length);
    failed = failed ? failed : digest_bytes(text, length, digest);
    if (failed) {
        return failed;
    }
    *run = 0;
    for (int i = 0; i < 8; i++) {
        *run = *run << 8 | digest[i];
    }
    return ERR_OK;
}

err experiment_split(const experiment *e, split *s, uint32_t *classes) {
    const dataset *set;
    err failed = dataset_find(e->data.set, &set);
    if (failed) {
        return failed;
    }
    *s = (split){e->data.split, e->data.portions, set->channels, set->height, set->width};
    *classes = set->classes;
    return split_check(s);
}

void experiment_describe_encoder(const experiment *e, const split *s, nn_spec *spec) {
    zoo_describe_encoder(&e->encoder, (uint32_t)split_portion_elements(s), spec);
}

void experiment_describe_head(const experiment *e, const split *s, uint32_t classes, nn_spec *spec) {
    zoo_describe_head(e->decoder.net, e->classifier.net, e->encoder.bits * e->data.portions,
                      (uint32_t)split_sample_elements(s), e->classifier.hidden, classes, spec);
}

nn_optimiser experiment_optimiser(const experiment *e) {
    return (nn_optimiser){
        .kind = e->optimiser.kind,
        .learning_rate = e->optimiser.learning_rate,
        .momentum = e->optimiser.momentum,
    };
}

double experiment_step_macs(const experiment *e) {
    split s;
    uint32_t classes;
    if (experiment_split(e, &s, &classes)) {
        return 0;
    }
    nn_spec encoder, head;
    experiment_describe_encoder(e, &s, &encoder);
    experiment_describe_head(e, &s, classes, &head);
    return s.portions * nn_spec_step_macs(&encoder, e->training.batch, false) +
           nn_spec_step_macs(&head, e->training.batch, true);
}
