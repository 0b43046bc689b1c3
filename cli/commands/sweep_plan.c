#include "cli/commands/sweep_plan.h"

#include "experiment/derive.h"
#include "experiment/load.h"
#include "experiment/yaml_document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS_MAX = 16, VALUES_MAX = 64, VARIANTS_MAX = 64, MORE_MAX = 4, TEXT_MAX = 64, FILE_MAX = 1 << 16 };

typedef struct setting {
    char key[TEXT_MAX], value[TEXT_MAX];
} setting;

typedef struct axis {
    char key[TEXT_MAX];
    char values[VALUES_MAX][TEXT_MAX];
    size_t count;
} axis;

typedef struct variant {
    char name[TEXT_MAX];
    setting settings[KEYS_MAX];
    size_t count;
} variant;

struct sweep_plan {
    char path[FILE_PATH_MAX];
    experiment base;
    axis axes[KEYS_MAX];
    variant variants[VARIANTS_MAX];
    size_t axis_count, variant_count;
    setting more[MORE_MAX];
    size_t more_count;
};

typedef struct reader {
    sweep_plan *plan;
    yaml_document_t document;
    char base[FILE_PATH_MAX];
} reader;

static const char seed_key[] = "training.seed";

/* From YAML. */

static err refuse(const reader *r, const yaml_node_t *at, const char *what) {
    return err_fail(ERR_INPUT, "%s:%zu: %s", r->plan->path, at->start_mark.line + 1, what);
}

static err take_text(const reader *r, const yaml_node_t *node, char to[TEXT_MAX]) {
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.length == 0 || node->data.scalar.length >= TEXT_MAX ||
        strlen((const char *)node->data.scalar.value) != node->data.scalar.length) {
        return refuse(r, node, "is no value of 1 to 63 characters");
    }
    memcpy(to, node->data.scalar.value, node->data.scalar.length + 1);
    return ERR_OK;
}

/* A value, or a list of them as an experiment file takes it: "[2,4]". */
static err take_value(reader *r, const yaml_node_t *node, char to[TEXT_MAX]) {
    if (node->type != YAML_SEQUENCE_NODE) {
        return take_text(r, node, to);
    }
    size_t used = 0;
    const yaml_node_item_t *item = node->data.sequence.items.start;
    for (; item < node->data.sequence.items.top; item++) {
        char value[TEXT_MAX];
        err e = take_text(r, yaml_document_get_node(&r->document, *item), value);
        if (e) {
            return e;
        }
        used += (size_t)snprintf(to + used, TEXT_MAX - used, "%s%s", used ? "," : "[", value);
        if (used + 1 >= TEXT_MAX) {
            return refuse(r, node, "is a list of more than 63 characters");
        }
    }
    snprintf(to + used, TEXT_MAX - used, "%s]", used ? "" : "[");
    return ERR_OK;
}

static const char *text_of(const yaml_node_t *key) {
    return (const char *)key->data.scalar.value; /* experiment/yaml_document.h: keys are scalars */
}

/* Calls `take` for each pair of a mapping. */
static err each_pair(reader *r, const yaml_node_t *node, void *into,
                     err (*take)(reader *r, void *into, const yaml_node_t *key, const yaml_node_t *value)) {
    if (node->type != YAML_MAPPING_NODE) {
        return refuse(r, node, "is no mapping");
    }
    err e = ERR_OK;
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top && !e; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&r->document, pair->key);
        bool is_first = yaml_document_pair(&r->document, node, text_of(key)) == pair;
        e = !is_first ? refuse(r, key, "is there twice")
                      : take(r, into, key, yaml_document_get_node(&r->document, pair->value));
    }
    return e;
}

static axis *axis_of(sweep_plan *p, const char *key) {
    for (size_t i = 0; i < p->axis_count; i++) {
        if (strcmp(p->axes[i].key, key) == 0) {
            return &p->axes[i];
        }
    }
    return NULL;
}

static err take_axis(reader *r, void *into, const yaml_node_t *key, const yaml_node_t *values) {
    sweep_plan *p = into;
    if (p->axis_count == KEYS_MAX) {
        return refuse(r, key, "is one key too many: 16 at most");
    }
    axis a = {.count = 0};
    err e = take_text(r, key, a.key);
    if (e) {
        return e;
    }
    if (values->type != YAML_SEQUENCE_NODE) {
        return refuse(r, values, "is no list of values: [1, 2, 3]");
    }
    const yaml_node_item_t *item = values->data.sequence.items.start;
    for (; item < values->data.sequence.items.top && !e; item++) {
        e = a.count == VALUES_MAX ? refuse(r, values, "has more than 64 values")
                                  : take_value(r, yaml_document_get_node(&r->document, *item), a.values[a.count++]);
    }
    if (!e && a.count == 0) {
        e = refuse(r, values, "lists no value");
    }
    p->axes[p->axis_count++] = a;
    return e;
}

static err take_setting(reader *r, void *into, const yaml_node_t *key, const yaml_node_t *value) {
    variant *v = into;
    if (v->count == KEYS_MAX) {
        return refuse(r, key, "is one key too many: 16 at most");
    }
    setting *s = &v->settings[v->count++];
    err e = take_text(r, key, s->key);
    e = e ? e : take_value(r, value, s->value);
    return !e && axis_of(r->plan, s->key) ? refuse(r, key, "is varied by the grid too") : e;
}

static err take_variant(reader *r, void *into, const yaml_node_t *name, const yaml_node_t *settings) {
    sweep_plan *p = into;
    if (p->variant_count == VARIANTS_MAX) {
        return refuse(r, name, "is one variant too many: 64 at most");
    }
    variant *v = &p->variants[p->variant_count++];
    err e = take_text(r, name, v->name);
    return e ? e : each_pair(r, settings, v, take_setting);
}

static err take_base(reader *r, const yaml_node_t *value) {
    const char *slash = strrchr(r->plan->path, '/');
    if (value->type != YAML_SCALAR_NODE || value->data.scalar.length == 0) {
        return refuse(r, value, "base is no path of an experiment");
    }
    const char *named = (const char *)value->data.scalar.value;
    if (named[0] == '/' || !slash) {
        return file_path(r->base, sizeof r->base, "%s", named);
    }
    return file_path(r->base, sizeof r->base, "%.*s/%s", (int)(slash - r->plan->path), r->plan->path, named);
}

static err take_rest(reader *r, void *into, const yaml_node_t *key, const yaml_node_t *value) {
    const char *name = text_of(key);
    if (strcmp(name, "base") == 0) {
        return take_base(r, value);
    }
    if (strcmp(name, "variants") == 0) {
        return each_pair(r, value, into, take_variant);
    }
    return strcmp(name, "grid") == 0 ? ERR_OK : refuse(r, key, "is none of base, grid and variants");
}

static err read_document(reader *r) {
    const yaml_node_t *root = yaml_document_get_root_node(&r->document);
    if (!root) {
        return err_fail(ERR_INPUT, "%s: is empty", r->plan->path);
    }
    /* The grid comes first, wherever it stands: variants are held against it. */
    const yaml_node_pair_t *grid = yaml_document_pair(&r->document, root, "grid");
    err e = grid ? each_pair(r, yaml_document_get_node(&r->document, grid->value), r->plan, take_axis) : ERR_OK;
    e = e ? e : each_pair(r, root, r->plan, take_rest);
    return !e && !r->base[0] ? err_fail(ERR_INPUT, "%s: key base is missing", r->plan->path) : e;
}

static err read_file(reader *r) {
    uint8_t *text;
    size_t length;
    err e = file_read(r->plan->path, FILE_MAX, &text, &length);
    if (e) {
        return e;
    }
    e = yaml_document_read(r->plan->path, (const char *)text, length, &r->document);
    if (!e) {
        e = read_document(r);
        yaml_document_delete(&r->document);
    }
    free(text);
    return e;
}

/* A point's file lies elsewhere than `file`, which names the classifier's weights: they are named from the root. */
static err root_weights(experiment *e, const char *file) {
    char weights[FILE_PATH_MAX];
    if (!e->classifier.weights[0]) {
        return ERR_OK;
    }
    err failed = experiment_weights_path(e, file, weights, sizeof weights);
    char *found = failed ? NULL : realpath(weights, NULL);
    if (!failed && !found) {
        return err_system(ERR_NOT_FOUND, "%s", weights);
    }
    failed = failed ? failed : file_path(e->classifier.weights, sizeof e->classifier.weights, "%s", found);
    free(found);
    return failed;
}

static err load_base(sweep_plan *p, const char *path) {
    err e = experiment_load(path, &p->base);
    return e ? e : root_weights(&p->base, path);
}

/* Points. */

/* "bits-4" of encoder.bits, or "encoder.net-conv" where another varied key ends alike. */
static const char *short_key(const sweep_plan *p, size_t index) {
    const char *key = p->axes[index].key, *dot = strchr(key, '.');
    for (size_t i = 0; dot && i < p->axis_count; i++) {
        const char *other = strchr(p->axes[i].key, '.');
        if (i != index && other && strcmp(other, dot) == 0) {
            return key;
        }
    }
    return dot ? dot + 1 : key;
}

/* Appends a part to a name; what a file's name should not hold becomes '_', and the list "[2,4]" "2+4". */
static err append(char name[SWEEP_NAME_MAX], const char *part, const char *value) {
    size_t used = strlen(name);
    int length = snprintf(name + used, SWEEP_NAME_MAX - used, "%s%s%s%s", used ? "." : "", part, value ? "-" : "",
                          value ? value : "");
    if ((size_t)length >= SWEEP_NAME_MAX - used) {
        return err_fail(ERR_INPUT, "%s…: the names of a sweep's points have %d characters at most", name,
                        SWEEP_NAME_MAX - 1);
    }
    char *to = name;
    for (const char *c = name; *c; c++) {
        if (*c != '[' && *c != ']') {
            *to++ = strchr("/ \t\"'\\", *c) ? '_' : *c == ',' ? '+' : *c;
        }
    }
    *to = '\0';
    return ERR_OK;
}

typedef struct changes {
    experiment_override list[MORE_MAX + 2 * KEYS_MAX];
    size_t count;
} changes;

static void add_settings(changes *c, const setting *settings, size_t count) {
    for (size_t i = 0; i < count; i++) {
        c->list[c->count++] = (experiment_override){settings[i].key, settings[i].value};
    }
}

static const variant *variant_of(const sweep_plan *p, size_t index) {
    return p->variant_count > 0 ? &p->variants[index / (sweep_plan_points(p) / p->variant_count)] : NULL;
}

/* The value of axis `a` in point `index`: the last axis turns fastest. */
static const char *value_of(const sweep_plan *p, size_t index, size_t a) {
    for (size_t i = p->axis_count; --i > a;) {
        index /= p->axes[i].count;
    }
    return p->axes[a].values[index % p->axes[a].count];
}

static err name_point(const sweep_plan *p, size_t index, sweep_point *point, changes *c) {
    const variant *v = variant_of(p, index);
    err e = v ? append(point->name, v->name, NULL) : ERR_OK;
    e = e || !v ? e : append(point->group, v->name, NULL);
    if (v) {
        add_settings(c, v->settings, v->count);
        json_object_set_new(point->settings, "variant", json_string(v->name));
    }
    for (size_t a = 0; a < p->axis_count && !e; a++) {
        const char *key = p->axes[a].key, *value = value_of(p, index, a);
        c->list[c->count++] = (experiment_override){key, value};
        e = append(point->name, short_key(p, a), value);
        if (!e && strcmp(key, seed_key) != 0) {
            e = append(point->group, short_key(p, a), value);
            json_object_set_new(point->settings, key, json_string(value));
        }
    }
    e = e || point->name[0] ? e : append(point->name, p->base.name, NULL);
    e = e || point->group[0] ? e : append(point->group, p->base.name, NULL);
    if (!e && (point->name[0] == '.' || strcmp(point->name, "points") == 0 || strcmp(point->name, "sweep.json") == 0)) {
        e = err_fail(ERR_INPUT, "%s: a point cannot be called %s", p->path, point->name);
    }
    return e;
}

err sweep_plan_point(const sweep_plan *p, size_t index, sweep_point *point) {
    changes c = {.count = 0};
    *point = (sweep_point){.experiment = p->base, .settings = json_object()};
    add_settings(&c, p->more, p->more_count);
    err e = point->settings ? name_point(p, index, point, &c) : err_fail(ERR_MEMORY, "no memory for a point");
    if (!e) {
        char where[FILE_PATH_MAX + SWEEP_NAME_MAX + 32];
        snprintf(where, sizeof where, "%s, point %s as resolved", p->path, point->name);
        e = experiment_apply_overrides(&point->experiment, where, c.list, c.count);
        e = e ? e : root_weights(&point->experiment, p->path);
    }
    if (e) {
        json_decref(point->settings);
        point->settings = NULL;
    }
    return e;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(a, b);
}

/* Every point makes an experiment, and no two share a folder. */
static err check_points(const sweep_plan *p) {
    size_t count = sweep_plan_points(p);
    if (count > SWEEP_POINTS_MAX) {
        return err_fail(ERR_INPUT, "%s: makes %zu points, more than %d", p->path, count, SWEEP_POINTS_MAX);
    }
    char(*names)[SWEEP_NAME_MAX] = calloc(count, sizeof *names);
    err e = names ? ERR_OK : err_fail(ERR_MEMORY, "no memory for %zu points", count);
    for (size_t i = 0; i < count && !e; i++) {
        sweep_point point;
        e = sweep_plan_point(p, i, &point);
        if (!e) {
            memcpy(names[i], point.name, sizeof point.name);
            json_decref(point.settings);
        }
    }
    if (!e) {
        qsort(names, count, sizeof *names, compare_names);
    }
    for (size_t i = 1; i < count && !e; i++) {
        e = strcmp(names[i - 1], names[i]) == 0 ? err_fail(ERR_INPUT, "%s: two points are called %s", p->path, names[i])
                                                : ERR_OK;
    }
    free(names);
    return e;
}

err sweep_plan_open(sweep_plan **plan, const char *path, const experiment_override *more, size_t count) {
    sweep_plan *p = calloc(1, sizeof *p);
    reader *r = calloc(1, sizeof *r);
    err e = p && r && count <= MORE_MAX ? ERR_OK : err_fail(ERR_MEMORY, "no memory for a sweep");
    if (!e) {
        r->plan = p;
        e = file_path(p->path, sizeof p->path, "%s", path);
    }
    for (size_t i = 0; i < count && !e; i++) {
        snprintf(p->more[i].key, TEXT_MAX, "%s", more[i].key);
        snprintf(p->more[i].value, TEXT_MAX, "%s", more[i].value);
        p->more_count++;
    }
    e = e ? e : read_file(r);
    e = e ? e : load_base(p, r->base);
    e = e ? e : check_points(p);
    free(r);
    if (e) {
        free(p);
        return e;
    }
    *plan = p;
    return ERR_OK;
}

void sweep_plan_free(sweep_plan *p) {
    free(p);
}

const experiment *sweep_plan_base(const sweep_plan *p) {
    return &p->base;
}

size_t sweep_plan_points(const sweep_plan *p) {
    size_t count = p->variant_count > 0 ? p->variant_count : 1;
    for (size_t i = 0; i < p->axis_count && count <= SWEEP_POINTS_MAX; i++) {
        count *= p->axes[i].count;
    }
    return count;
}
