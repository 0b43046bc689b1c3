#include "cli/commands/data_split.h"

#include "base/file.h"
#include "base/interrupt.h"
#include "base/options.h"
#include "data/dataset.h"
#include "data/labels.h"
#include "data/partition.h"
#include "data/portion.h"
#include "experiment/derive.h"
#include "experiment/experiment.h"
#include "experiment/load.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEY_DATASET = 's', KEY_FROM = 'f', KEY_TO = 't', KEY_PARTITION = 'k', KEY_PORTIONS = 'p' };
enum { KEY_TRAIN = 256, KEY_TEST, KEY_EXPERIMENT, PORTIONS_DEFAULT = 4 };

static const struct argp_option known[] = {
    {"dataset", KEY_DATASET, "NAME", 0, "mnist, fashion-mnist, cifar10 or cifar100", 0},
    {"experiment", KEY_EXPERIMENT, "FILE", 0, "take data set, partition and portions from this experiment", 0},
    {"from", KEY_FROM, "DIR", 0, "folder of the set's files (fewbit data get makes it)", 0},
    {"to", KEY_TO, "DIR", 0, "folder for node-0, node-1, ... and server; a split that is there is replaced", 0},
    {"partition", KEY_PARTITION, "KIND", 0,
     "slices (even slices of the flattened sample, the default), quadrants, planes (one colour a node)", 0},
    {"portions", KEY_PORTIONS, "N", 0, "how many; 4 where nothing is said, one a colour for planes", 0},
    {"train", KEY_TRAIN, "N", 0, "only the first N training samples", 0},
    {"test", KEY_TEST, "N", 0, "only the first N test samples", 0},
    {0},
};

static const char doc[] =
    "Splits a data set: each node's folder gets its portion of every sample, the server's folder the labels.\v"
    "Every option can stand in the environment: --from as FEWBIT_FROM.\n\n";

typedef struct split_options {
    const char *set, *from, *to;
    const char *experiment; /* the file that says set, kind and portions; NULL: the options do */
    partition_kind kind;
    int64_t portions; /* 0: as the kind suggests */
    int64_t limit[2]; /* by enum dataset_split; 0: all */
} split_options;

typedef struct job {
    const dataset *set;
    const char *to;
    dataset_samples samples[2]; /* by enum dataset_split */
    labels about;
} job;

static int failed(err e) {
    return e ? EINVAL : 0;
}

static int take(int key, char *value, struct argp_state *state) {
    split_options *o = state->input;
    switch (key) {
    case KEY_DATASET:
        o->set = value;
        return 0;
    case KEY_EXPERIMENT:
        o->experiment = value;
        return 0;
    case KEY_FROM:
        o->from = value;
        return 0;
    case KEY_TO:
        o->to = value;
        return 0;
    case KEY_PARTITION:
        return failed(partition_parse(value, &o->kind));
    case KEY_PORTIONS:
        return failed(options_number(value, "--portions", 1, PARTITION_PORTIONS_MAX, &o->portions));
    case KEY_TRAIN:
        return failed(options_number(value, "--train", 1, UINT32_MAX, &o->limit[DATASET_TRAIN]));
    case KEY_TEST:
        return failed(options_number(value, "--test", 1, UINT32_MAX, &o->limit[DATASET_TEST]));
    case ARGP_KEY_ARG:
        return failed(err_fail(ERR_USAGE, "'%s' is too much: there are options only", value));
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static err parse(int argc, char **argv, split_options *o) {
    const struct argp argp = {.options = known, .parser = take, .doc = doc};
    err e = options_parse(&argp, argc, argv, 0, NULL, o);
    if (e) {
        return e;
    }
    const char *missing = !o->set && !o->experiment ? "experiment (or --dataset)"
                          : !o->from                ? "from"
                          : !o->to                  ? "to"
                                                    : NULL;
    if (missing) {
        return err_fail(ERR_USAGE, "--%s is missing (see --help)", missing);
    }
    if (o->experiment && (o->set || o->portions || o->kind != PARTITION_SLICES)) {
        return err_fail(ERR_USAGE, "--experiment says what --dataset, --partition and --portions would");
    }
    return ERR_OK;
}

static err plan_by_experiment(const split_options *o, job *j) {
    experiment wanted;
    uint32_t classes;
    err e = experiment_load(o->experiment, &wanted);
    e = e ? e : dataset_find(wanted.dataset.name, &j->set);
    return e ? e : experiment_partition(&wanted, &j->about.partition, &classes);
}

static err plan_split(const split_options *o, job *j) {
    if (o->experiment) {
        return plan_by_experiment(o, j);
    }
    partition *s = &j->about.partition;
    err e = dataset_find(o->set, &j->set);
    if (e) {
        return err_prefix(ERR_USAGE, "--dataset");
    }
    int64_t suggested = o->kind == PARTITION_PLANES ? j->set->channels : PORTIONS_DEFAULT;
    *s = (partition){.kind = o->kind,
                     .portions = (uint32_t)(o->portions > 0 ? o->portions : suggested),
                     .channels = j->set->channels,
                     .height = j->set->height,
                     .width = j->set->width};
    return partition_check(s) ? err_prefix(ERR_USAGE, "--partition, --portions") : ERR_OK;
}

static err load(const split_options *o, job *j, enum dataset_split split) {
    dataset_samples *samples = &j->samples[split];
    err e = dataset_load(j->set, o->from, split, samples);
    if (e) {
        return e;
    }
    if (o->limit[split] > samples->count) {
        return err_fail(ERR_INPUT, "%s: holds %u samples, fewer than the %lld of --%s", o->from, samples->count,
                        (long long)o->limit[split], split == DATASET_TRAIN ? "train" : "test");
    }
    j->about.samples[split] = o->limit[split] > 0 ? (uint32_t)o->limit[split] : samples->count;
    j->about.values[split] = samples->labels;
    return ERR_OK;
}

static uint8_t *take_part(const job *j, uint32_t index, enum dataset_split split) {
    const partition *s = &j->about.partition;
    size_t whole = partition_sample_elements(s), elements = partition_portion_elements(s);
    uint8_t *taken = malloc(j->about.samples[split] * elements);
    for (size_t i = 0; taken && i < j->about.samples[split]; i++) {
        partition_take(s, index, j->samples[split].images + i * whole, taken + i * elements);
    }
    return taken;
}

static err write_node(job *j, uint32_t index) {
    const partition *s = &j->about.partition;
    char folder[FILE_PATH_MAX];
    err e = file_path(folder, sizeof folder, "%s/node-%u", j->to, index);
    if (e) {
        return e;
    }
    portion_info info = {.portions = s->portions,
                         .index = index,
                         .samples = {j->about.samples[DATASET_TRAIN], j->about.samples[DATASET_TEST]}};
    snprintf(info.dataset, sizeof info.dataset, "%s", j->set->name);
    snprintf(info.partition, sizeof info.partition, "%s", partition_name(s->kind));
    partition_portion_shape(s, info.shape);
    uint8_t *train = take_part(j, index, DATASET_TRAIN);
    uint8_t *test = take_part(j, index, DATASET_TEST);
    e = train && test ? portion_write(folder, &info, train, test)
                      : err_fail(ERR_MEMORY, "%s: no memory for its samples", folder);
    free(train);
    free(test);
    snprintf(j->about.portion_digests[index], SHA256_HEX, "%s", info.digest);
    return e;
}

/* What a split before has left in the folder. */

static bool is_node(const char *name, uint32_t *index) {
    int end = 0;
    return sscanf(name, "node-%" SCNu32 "%n", index, &end) == 1 && name[end] == '\0' && *index < PARTITION_PORTIONS_MAX;
}

static err check_entry(const job *j, const char *name) {
    uint32_t index;
    return name[0] == '.' || strcmp(name, "server") == 0 || strcmp(name, "lost+found") == 0 || is_node(name, &index)
               ? ERR_OK
               : err_fail(ERR_INPUT, "%s: holds '%s', which no split has made; choose another folder", j->to, name);
}

/* What is not there need not be removed: of a read-only folder, such as an image's, unlink does not say so. */
static err remove_file(const job *j, const char *folder, const char *name) {
    char path[FILE_PATH_MAX];
    err e = file_path(path, sizeof path, "%s/%s/%s", j->to, folder, name);
    bool is_gone = e || access(path, F_OK) != 0 || unlink(path) == 0;
    return e || is_gone ? e : err_system(ERR_IO, "%s: cannot be removed", path);
}

/* A portion of before is none from here on; one that is not made again goes, but for a folder that has to stay. */
static err clear_node(const job *j, const char *name, uint32_t index) {
    char path[FILE_PATH_MAX];
    err e = remove_file(j, name, "portion.json");
    if (e || index < j->about.partition.portions) {
        return e;
    }
    e = remove_file(j, name, "train.idx");
    e = e ? e : remove_file(j, name, "test.idx");
    e = e ? e : file_path(path, sizeof path, "%s/%s", j->to, name);
    if (!e) {
        rmdir(path);
    }
    return e;
}

static err look_through(const job *j, bool clears) {
    DIR *entries = opendir(j->to);
    if (!entries) {
        return errno == ENOENT ? ERR_OK : err_system(ERR_IO, "%s: cannot open", j->to);
    }
    err e = ERR_OK;
    uint32_t index;
    for (struct dirent *entry; !e && (entry = readdir(entries));) {
        if (!clears) {
            e = check_entry(j, entry->d_name);
        } else if (is_node(entry->d_name, &index)) {
            e = clear_node(j, entry->d_name, index);
        }
    }
    closedir(entries);
    return e;
}

/* The labels go first and come last: a folder in which old and new lie side by side has none. */
static err clear_before(const job *j) {
    err e = look_through(j, false);
    e = e ? e : remove_file(j, "server", "labels.json");
    return e ? e : look_through(j, true);
}

static err write_all(job *j) {
    char folder[FILE_PATH_MAX];
    uint32_t portions = j->about.partition.portions;
    snprintf(j->about.dataset, sizeof j->about.dataset, "%s", j->set->name);
    j->about.classes = j->set->classes;
    j->about.portion_digests = calloc(portions, sizeof *j->about.portion_digests);
    if (!j->about.portion_digests) {
        return err_fail(ERR_MEMORY, "no memory for %u portions", portions);
    }
    err e = clear_before(j);
    for (uint32_t i = 0; i < portions && !e; i++) {
        e = interrupt_check();
        e = e ? e : write_node(j, i);
    }
    e = e ? e : file_path(folder, sizeof folder, "%s/server", j->to);
    return e ? e : labels_write(folder, &j->about);
}

static void tell(const job *j) {
    uint32_t shape[3];
    partition_portion_shape(&j->about.partition, shape);
    printf("%s: %u training and %u test samples in %u %s of [%u, %u, %u]\n", j->set->name,
           j->about.samples[DATASET_TRAIN], j->about.samples[DATASET_TEST], j->about.partition.portions,
           partition_name(j->about.partition.kind), shape[0], shape[1], shape[2]);
    printf("%s: node-0 to node-%u hold the pixels, server the labels\n", j->to, j->about.partition.portions - 1);
}

err data_split_main(int argc, char **argv) {
    split_options o = {.kind = PARTITION_SLICES};
    err e = parse(argc, argv, &o);
    if (e) {
        return e;
    }
    job j = {.to = o.to};
    e = plan_split(&o, &j);
    e = e ? e : load(&o, &j, DATASET_TRAIN);
    e = e ? e : load(&o, &j, DATASET_TEST);
    e = e ? e : write_all(&j);
    if (!e) {
        tell(&j);
    }
    free(j.about.portion_digests);
    dataset_samples_free(&j.samples[DATASET_TRAIN]);
    dataset_samples_free(&j.samples[DATASET_TEST]);
    return e;
}
