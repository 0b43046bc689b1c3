#include "cli/commands/commands.h"

#include "base/interrupt.h"
#include "base/options.h"
#include "data/portion.h"
#include "experiment/derive.h"
#include "experiment/load.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PORTIONS_DEFAULT = 4 };

typedef struct split_options {
    const char *set, *from, *to;
    const char *experiment; /* the file that says set, kind and portions; NULL: the options do */
    partition_kind kind;
    int64_t portions; /* 0: as the kind suggests */
    int64_t limit[2]; /* by enum dataset_split; 0: all */
} split_options;

static err take_kind(const char *text, void *to, const options_entry *entry) {
    (void)entry;
    return partition_parse(text, to);
}

static const options_entry entries[] = {
    {OPTIONS_TEXT(split_options, from, "from", "DIR", "folder of the set's files (fewbit data get makes it)"),
     .is_required = true},
    {OPTIONS_TEXT(split_options, to, "to", "DIR",
                  "folder for node-0, node-1, ... and server; a split that is there is replaced"),
     .is_required = true},
    {OPTIONS_TEXT(split_options, experiment, "experiment", "FILE",
                  "take data set, partition and portions from this experiment")},
    {OPTIONS_TEXT(split_options, set, "dataset", "NAME", "mnist, fashion-mnist, cifar10 or cifar100")},
    {OPTIONS_PARSED(
        split_options, kind, "partition", "KIND", take_kind,
        "slices (even slices of the flattened sample, the default), quadrants, planes (one colour a node)")},
    {OPTIONS_NUMBER(split_options, portions, "portions", "N", 1, PARTITION_PORTIONS_MAX,
                    "how many; 4 where nothing is said, one a colour for planes")},
    {OPTIONS_NUMBER(split_options, limit[DATASET_TRAIN], "train", "N", 1, UINT32_MAX,
                    "only the first N training samples")},
    {OPTIONS_NUMBER(split_options, limit[DATASET_TEST], "test", "N", 1, UINT32_MAX, "only the first N test samples")},
    {0},
};

static const options_command command = {
    .summary =
        "Splits a data set: each node's folder gets its portion of every sample, the server's folder the labels.",
    .entries = entries,
};

typedef struct job {
    const dataset *set;
    const char *to;
    dataset_samples samples[2]; /* by enum dataset_split */
    labels labels;
} job;

static err parse(int argc, char **argv, split_options *o) {
    err e = options_parse(&command, argc, argv, o, NULL);
    if (!e && !o->set && !o->experiment) {
        return err_fail(ERR_USAGE, "--experiment (or --dataset) is missing (see --help)");
    }
    if (!e && o->experiment && (o->set || o->portions || o->kind != PARTITION_SLICES)) {
        return err_fail(ERR_USAGE, "--experiment says what --dataset, --partition and --portions would");
    }
    return e;
}

static err plan_by_experiment(const split_options *o, job *j) {
    experiment wanted;
    uint32_t classes;
    err e = experiment_load(o->experiment, &wanted);
    e = e ? e : dataset_find(wanted.dataset.name, &j->set);
    return e ? e : experiment_partition(&wanted, &j->labels.partition, &classes);
}

static err plan_split(const split_options *o, job *j) {
    if (o->experiment) {
        return plan_by_experiment(o, j);
    }
    partition *s = &j->labels.partition;
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
    j->labels.samples[split] = o->limit[split] > 0 ? (uint32_t)o->limit[split] : samples->count;
    j->labels.values[split] = samples->labels;
    return ERR_OK;
}

static uint8_t *take_part(const job *j, uint32_t index, enum dataset_split split) {
    const partition *s = &j->labels.partition;
    size_t whole = partition_sample_elements(s), elements = partition_portion_elements(s);
    uint8_t *taken = malloc(j->labels.samples[split] * elements);
    for (size_t i = 0; taken && i < j->labels.samples[split]; i++) {
        partition_take(s, index, j->samples[split].images + i * whole, taken + i * elements);
    }
    return taken;
}

static err write_node(job *j, uint32_t index) {
    const partition *s = &j->labels.partition;
    char folder[FILE_PATH_MAX];
    err e = file_path(folder, sizeof folder, "%s/node-%u", j->to, index);
    if (e) {
        return e;
    }
    portion_info info = {.shape = partition_shape_of_portions(s),
                         .samples = {j->labels.samples[DATASET_TRAIN], j->labels.samples[DATASET_TEST]},
                         .has_partition = true,
                         .partition = *s,
                         .index = index};
    snprintf(info.dataset, sizeof info.dataset, "%s", j->set->name);
    snprintf(info.name, sizeof info.name, "%u", index);
    uint8_t *train = take_part(j, index, DATASET_TRAIN);
    uint8_t *test = take_part(j, index, DATASET_TEST);
    const portion_contents contents = {.values = {train, test}};
    e = train && test ? portion_write(folder, &info, &contents)
                      : err_fail(ERR_MEMORY, "%s: no memory for its samples", folder);
    free(train);
    free(test);
    labels_portion *known = &j->labels.portions[index];
    memcpy(known->name, info.name, sizeof known->name);
    memcpy(known->digest, info.digest, sizeof known->digest);
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
    if (e || index < j->labels.partition.portions) {
        return e;
    }
    e = remove_file(j, name, "train.npy");
    e = e ? e : remove_file(j, name, "test.npy");
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
    uint32_t portions = j->labels.partition.portions;
    snprintf(j->labels.dataset, sizeof j->labels.dataset, "%s", j->set->name);
    class_names_of(&j->labels.classes, j->set);
    j->labels.has_partition = true;
    j->labels.portion_count = portions;
    j->labels.portions = calloc(portions, sizeof *j->labels.portions);
    if (!j->labels.portions) {
        return err_fail(ERR_MEMORY, "no memory for %u portions", portions);
    }
    err e = clear_before(j);
    for (uint32_t i = 0; i < portions && !e; i++) {
        e = interrupt_check();
        e = e ? e : write_node(j, i);
    }
    e = e ? e : file_path(folder, sizeof folder, "%s/server", j->to);
    return e ? e : labels_write(folder, &j->labels);
}

static void tell(const job *j) {
    portion_shape shape = partition_shape_of_portions(&j->labels.partition);
    char text[PORTION_SHAPE_TEXT];
    printf("%s: %u training and %u test samples in %u %s of %s\n", j->set->name, j->labels.samples[DATASET_TRAIN],
           j->labels.samples[DATASET_TEST], j->labels.partition.portions, partition_name(j->labels.partition.kind),
           portion_shape_text(&shape, text));
    printf("%s: node-0 to node-%u hold the pixels, server the labels\n", j->to, j->labels.partition.portions - 1);
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
    free(j.labels.portions);
    dataset_samples_free(&j.samples[DATASET_TRAIN]);
    dataset_samples_free(&j.samples[DATASET_TEST]);
    return e;
}
