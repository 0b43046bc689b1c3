#include "client/data_split.h"

#include "base/file.h"
#include "base/options.h"
#include "data/labels.h"
#include "data/portion.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct split_options {
    const char *set, *from, *to;
    split_kind kind;
    int64_t portions;
    int64_t most[2]; /* samples to take of each part */
} split_options;

enum { KEY_SET = 256, KEY_FROM, KEY_TO, KEY_SPLIT, KEY_PORTIONS, KEY_TRAIN, KEY_TEST };

static const struct argp_option known[] = {
    {"set", KEY_SET, "NAME", 0, "mnist or fashion-mnist", 0},
    {"from", KEY_FROM, "DIR", 0, "folder of the data set's files (fewbit data get fills it)", 0},
    {"to", KEY_TO, "DIR", 0, "folder to make: node-0, node-1, …, server", 0},
    {"split", KEY_SPLIT, "HOW", 0, "runs (default), quadrants or planes", 0},
    {"portions", KEY_PORTIONS, "N", 0, "how many nodes (default 4)", 0},
    {"train", KEY_TRAIN, "N", 0, "take only the first N training samples", 0},
    {"test", KEY_TEST, "N", 0, "take only the first N test samples", 0},
    {0},
};

static int take(int key, char *value, struct argp_state *state) {
    split_options *o = state->input;
    err e = ERR_OK;
    switch (key) {
    case KEY_SET:
        o->set = value;
        break;
    case KEY_FROM:
        o->from = value;
        break;
    case KEY_TO:
        o->to = value;
        break;
    case KEY_SPLIT:
        e = split_parse(value, &o->kind);
        break;
    case KEY_PORTIONS:
        e = options_number(value, "--portions", 1, SPLIT_PORTIONS_MAX, &o->portions);
        break;
    case KEY_TRAIN:
        e = options_number(value, "--train", 1, INT32_MAX, &o->most[DATASET_TRAIN]);
        break;
    case KEY_TEST:
        e = options_number(value, "--test", 1, INT32_MAX, &o->most[DATASET_TEST]);
        break;
    case ARGP_KEY_ARG:
        e = err_fail(ERR_USAGE, "'%s' is too much: there are options only", value);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return e ? EINVAL : 0;
}

typedef struct whole {
    uint8_t *images[2], *labels[2];
    uint32_t samples[2];
} whole;

static err load_whole(const split_options *o, const dataset *set, whole *w) {
    err e = ERR_OK;
    for (int part = 0; part < 2 && !e; part++) {
        dataset_samples d;
        e = dataset_load(set, o->from, (enum dataset_part)part, &d);
        if (!e) {
            w->images[part] = d.images, w->labels[part] = d.labels, w->samples[part] = d.count;
        }
        if (!e && o->most[part] < w->samples[part]) {
            w->samples[part] = (uint32_t)o->most[part];
        }
    }
    return e;
}

static err write_node(const split_options *o, const dataset *set, const split *s, const whole *w, uint32_t k,
                      char digest[DIGEST_HEX]) {
    portion_info info = {.portions = s->portions, .index = k, .samples = {w->samples[0], w->samples[1]}};
    snprintf(info.dataset, sizeof info.dataset, "%s", set->name);
    snprintf(info.split, sizeof info.split, "%s", split_name(s->kind));
    split_portion_shape(s, info.shape);
    size_t elements = split_portion_elements(s);
    uint8_t *parts[2];
    for (int part = 0; part < 2; part++) {
        parts[part] = malloc(w->samples[part] * elements);
        for (uint32_t i = 0; parts[part] && i < w->samples[part]; i++) {
            split_take(s, k, w->images[part] + i * split_sample_elements(s), parts[part] + i * elements);
        }
    }
    char folder[FILE_PATH_MAX];
    err e = parts[0] && parts[1] ? file_path(folder, sizeof folder, "%s/node-%u", o->to, k)
                                 : err_fail(ERR_MEMORY, "no memory for portion %u", k);
    e = e ? e : portion_write(folder, &info, parts[0], parts[1]);
    memcpy(digest, info.digest, DIGEST_HEX);
    free(parts[0]);
    free(parts[1]);
    return e;
}

static err write_all(const split_options *o, const dataset *set, const split *s, const whole *w) {
    char digests[SPLIT_PORTIONS_MAX][DIGEST_HEX];
    for (uint32_t k = 0; k < s->portions; k++) {
        err e = write_node(o, set, s, w, k, digests[k]);
        if (e) {
            return e;
        }
    }
    labels l = {
        .split = *s,
        .classes = set->classes,
        .samples = {w->samples[0], w->samples[1]},
        .values = {w->labels[0], w->labels[1]},
        .portion_digests = digests,
    };
    snprintf(l.dataset, sizeof l.dataset, "%s", set->name);
    char folder[FILE_PATH_MAX];
    err e = file_path(folder, sizeof folder, "%s/server", o->to);
    return e ? e : labels_write(folder, &l);
}

static err run(const split_options *o) {
    const dataset *set;
    err e = dataset_find(o->set, &set);
    if (e) {
        return e;
    }
    split s = {o->kind, (uint32_t)o->portions, set->channels, set->height, set->width};
    whole w = {0};
    e = split_check(&s);
    e = e ? e : load_whole(o, set, &w);
    e = e ? e : write_all(o, set, &s, &w);
    for (int part = 0; part < 2; part++) {
        free(w.images[part]);
        free(w.labels[part]);
    }
    if (!e) {
        printf("%s: %u portions by %s, %u training and %u test samples\n", o->to, s.portions, split_name(s.kind),
               w.samples[0], w.samples[1]);
    }
    return e;
}

err data_split_main(int argc, char **argv) {
    split_options o = {.kind = SPLIT_RUNS, .portions = 4, .most = {INT32_MAX, INT32_MAX}};
    const struct argp argp = {
        .options = known,
        .parser = take,
        .doc = "Writes DIR/node-K, each with one portion of every sample and no label, and DIR/server with the labels and "
               "no pixel.",
    };
    err e = options_parse(&argp, argc, argv, 0, NULL, &o);
    if (!e && (!o.set || !o.from || !o.to)) {
        e = err_fail(ERR_USAGE, "--%s is missing", !o.set ? "set" : !o.from ? "from" : "to");
    }
    return e ? e : run(&o);
}
