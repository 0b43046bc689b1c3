#include "cli/commands/commands.h"

#include "base/json.h"
#include "base/machine.h"
#include "base/options.h"
#include "experiment/derive.h"
#include "experiment/load.h"
#include "nn/net.h"
#include "nn/shape_infer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct describe_options {
    bool json;
    int64_t classes;
} describe_options;

static const options_entry entries[] = {
    {OPTIONS_FLAG(describe_options, json, "json", "print JSON")},
    {OPTIONS_NUMBER(describe_options, classes, "classes", "N", 2, DATASET_CLASSES_MAX,
                    "how many classes there are, where the labels alone say so (default 2)")},
    {0},
};

static const options_command command = {
    .arguments = "EXPERIMENT",
    .least = 1,
    .most = 1,
    .summary =
        "Prints every net of an experiment: its layers, what each puts out, its parameters and multiply-adds for "
        "one sample, and what a node needs of memory for its net.",
    .entries = entries,
};

static const char *kind_of(nn_kind kind) {
    static const char *const names[] = {
        [NN_DENSE] = "dense",
        [NN_RELU] = "relu",
        [NN_BATCH_NORM] = "batch_norm",
        [NN_SIGMOID] = "sigmoid",
        [NN_RESIGMOID] = "resigmoid",
        [NN_TANH] = "tanh",
        [NN_GELU] = "gelu",
        [NN_SILU] = "silu",
        [NN_LAYER_NORM] = "layer_norm",
        [NN_NOISE] = "noise",
        [NN_BINARIZE] = "binarize",
        [NN_IMAGE] = "unflatten",
        [NN_FLATTEN] = "flatten",
        [NN_CONVOLUTION] = "convolution",
        [NN_MAX_POOL] = "max_pool",
        [NN_AVERAGE_POOL] = "average_pool",
        [NN_ADAPTIVE_AVERAGE_POOL] = "adaptive_average_pool",
        [NN_UPSAMPLE] = "upsample",
        [NN_DROPOUT] = "dropout",
        [NN_RESIDUAL] = "residual",
        [NN_SHORTCUT] = "shortcut",
        [NN_JOIN] = "sum",
    };
    return names[kind];
}

static json_t *describe_shape(nn_shape shape) {
    return json_pack("[iii]", (int)shape.channels, (int)shape.height, (int)shape.width);
}

/* Input, layers and sums; the caller owns it. */
static json_t *describe_net(const char *name, nn_shape input, const nn_spec *spec) {
    nn_layer_cost costs[NN_LAYERS_MAX] = {0};
    json_t *layers = json_array();
    json_int_t parameters = 0;
    double macs = 0;
    nn_spec_costs(spec, costs);
    for (size_t i = 0; i < spec->count; i++) {
        const nn_layer_spec *s = &spec->layers[i];
        json_list_add(&layers, json_pack("{ss ss so sI sI}", "name", s->name, "kind", kind_of(s->kind), "output",
                                         describe_shape(costs[i].shape), "parameters", (json_int_t)costs[i].parameters,
                                         "macs", (json_int_t)costs[i].macs));
        parameters += (json_int_t)costs[i].parameters;
        macs += costs[i].macs;
    }
    return json_pack("{ss so so sI sI}", "net", name, "input", describe_shape(input), "layers", layers, "parameters",
                     parameters, "macs", (json_int_t)macs);
}

/* The memory of a node's net, in training or in use; null where it is more than the machine has. */
static json_t *describe_bytes(const experiment *e, const nn_spec *spec, bool trains) {
    nn_net *net;
    nn_net_options options = experiment_encoder_options(e, spec, trains);
    options.max_bytes = machine_memory();
    if (nn_net_new(&net, spec, &options)) {
        return json_null();
    }
    json_t *bytes = json_integer((json_int_t)nn_net_bytes(net));
    nn_net_free(net);
    return bytes;
}

static bool is_same(const experiment *e, uint32_t one, uint32_t other) {
    nn_spec a, b;
    experiment_describe_encoder(e, one, &a);
    experiment_describe_encoder(e, other, &b);
    nn_shape x = experiment_portion_shape(e, one), y = experiment_portion_shape(e, other);
    return memcmp(&x, &y, sizeof x) == 0 && memcmp(&a, &b, sizeof a) == 0;
}

/* The encoders: those that are alike once, with the names of their portions. */
static void describe_encoders(const experiment *e, json_t **nets) {
    bool is_told[EXPERIMENT_PORTIONS_MAX] = {false};
    for (uint32_t k = 0; k < e->portion_count; k++) {
        if (is_told[k]) {
            continue;
        }
        nn_spec spec;
        experiment_describe_encoder(e, k, &spec);
        json_t *net = describe_net("encoder", experiment_portion_shape(e, k), &spec), *portions = json_array();
        for (uint32_t other = k; other < e->portion_count; other++) {
            if (is_same(e, k, other)) {
                json_list_add(&portions, json_string(e->portions[other].name));
                is_told[other] = true;
            }
        }
        json_object_set_new(net, "portions", portions);
        json_object_set_new(net, "bits", json_integer(e->portions[k].encoder.bits));
        json_object_set_new(net, "bytes_to_train", describe_bytes(e, &spec, true));
        json_object_set_new(net, "bytes_to_serve", describe_bytes(e, &spec, false));
        json_list_add(nets, net);
    }
}

static json_t *describe(const experiment *e, uint32_t classes) {
    json_t *nets = json_array();
    bool is_alone = experiment_is_classifier_alone(e);
    nn_spec spec;
    if (!is_alone) {
        describe_encoders(e, &nets);
    }
    experiment_describe_head(e, classes, &spec);
    nn_shape input = is_alone ? experiment_sample_shape(e) : (nn_shape){1, 1, spec.inputs};
    json_list_add(&nets, describe_net("head", input, &spec));
    return json_pack("{ss so sI sI}", "experiment", e->name, "nets", nets, "classes", (json_int_t)classes,
                     "bits_per_sample", (json_int_t)experiment_bits(e));
}

/* As text. */

static const char *shape_text(const json_t *shape, char text[40]) {
    int sides[3];
    for (size_t i = 0; i < 3; i++) {
        sides[i] = (int)json_integer_value(json_array_get(shape, i));
    }
    if (sides[0] == 1 && sides[1] == 1) {
        snprintf(text, 40, "%d", sides[2]);
    } else {
        snprintf(text, 40, "%dx%dx%d", sides[0], sides[1], sides[2]);
    }
    return text;
}

static void print_line(const char *name, const char *kind, const char *output, const json_t *of) {
    printf("  %-32s %-22s %-14s %12" JSON_INTEGER_FORMAT " %14" JSON_INTEGER_FORMAT "\n", name, kind, output,
           json_integer_value(json_object_get(of, "parameters")), json_integer_value(json_object_get(of, "macs")));
}

static void print_memory(const json_t *net, const char *key, const char *what) {
    const json_t *bytes = json_object_get(net, key);
    if (json_is_integer(bytes)) {
        printf("  %.1f MiB %s", (double)json_integer_value(bytes) / (1 << 20), what);
    } else {
        printf("  more memory than there is %s", what);
    }
}

static void print_net(const json_t *net) {
    char text[40];
    size_t i;
    const json_t *entry, *portions = json_object_get(net, "portions");
    printf("%s", json_string_value(json_object_get(net, "net")));
    json_array_foreach(portions, i, entry) {
        printf("%s %s", i ? "," : " of", json_string_value(entry));
    }
    printf(", input %s\n", shape_text(json_object_get(net, "input"), text));
    printf("  %-32s %-22s %-14s %12s %14s\n", "layer", "kind", "output", "parameters", "multiply-adds");
    json_array_foreach(json_object_get(net, "layers"), i, entry) {
        print_line(json_string_value(json_object_get(entry, "name")), json_string_value(json_object_get(entry, "kind")),
                   shape_text(json_object_get(entry, "output"), text), entry);
    }
    print_line("all", "", "", net);
    if (portions) {
        printf("  %" JSON_INTEGER_FORMAT " bits; its net takes", json_integer_value(json_object_get(net, "bits")));
        print_memory(net, "bytes_to_train", "to train,");
        print_memory(net, "bytes_to_serve", "to serve\n");
    }
    printf("\n");
}

static void print_text(const json_t *all) {
    size_t i;
    const json_t *net;
    json_array_foreach(json_object_get(all, "nets"), i, net) {
        print_net(net);
    }
    printf("%" JSON_INTEGER_FORMAT " bits a sample, %" JSON_INTEGER_FORMAT " classes\n",
           json_integer_value(json_object_get(all, "bits_per_sample")),
           json_integer_value(json_object_get(all, "classes")));
}

err describe_main(int argc, char **argv) {
    describe_options o = {.classes = 2};
    options_arguments a;
    experiment experiment;
    partition s;
    uint32_t classes;
    err e = options_parse(&command, argc, argv, &o, &a);
    e = e ? e : experiment_load(a.list[0], &experiment);
    if (e) {
        return e;
    }
    if (experiment_lists_portions(&experiment) || experiment_partition(&experiment, &s, &classes)) {
        classes = (uint32_t)o.classes;
    }
    json_t *all = describe(&experiment, classes);
    char *text = json_text(all, JSON_INDENT(2));
    if (text && o.json) {
        puts(text);
    } else if (text) {
        print_text(all);
    }
    free(text);
    json_decref(all);
    return text ? ERR_OK : err_fail(ERR_MEMORY, "no memory to describe %s", experiment.name);
}
