#include "cli/commands/sweep_table.h"

#include "base/json.h"
#include "experiment/derive.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MEASURES = 4, SPREAD_MAX = 48 };

static const struct measure {
    const char *key, *title;
} measures[MEASURES] = {
    {"soft_accuracy", "soft test"},
    {"rounded_accuracy", "rounded test"},
    {"soft_validation_accuracy", "soft validation"},
    {"validation_accuracy", "rounded validation"},
};

/* Of numbers as they come: Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products", 1962. */
typedef struct spread {
    size_t count;
    double mean, squares, least, largest;
} spread;

typedef struct group {
    char name[SWEEP_NAME_MAX];
    double bits;
    json_t *settings, *seeds;
    spread measures[MEASURES];
} group;

struct sweep_table {
    const sweep_plan *plan;
    group *groups; /* [group_count] */
    size_t group_count;
    json_t *points;
};

err sweep_table_new(sweep_table **out, const sweep_plan *plan) {
    sweep_table *t = calloc(1, sizeof *t);
    if (t) {
        t->plan = plan;
        t->groups = calloc(sweep_plan_points(plan), sizeof *t->groups);
        t->points = json_array();
    }
    if (!t || !t->groups || !t->points) {
        sweep_table_free(t);
        return err_fail(ERR_MEMORY, "no memory for a sweep's table");
    }
    *out = t;
    return ERR_OK;
}

void sweep_table_free(sweep_table *t) {
    if (!t) {
        return;
    }
    for (size_t i = 0; i < t->group_count; i++) {
        json_decref(t->groups[i].settings);
        json_decref(t->groups[i].seeds);
    }
    free(t->groups);
    json_decref(t->points);
    free(t);
}

static void spread_add(spread *s, double value) {
    s->count++;
    double gone = value - s->mean;
    s->mean += gone / (double)s->count;
    s->squares += gone * (value - s->mean);
    s->least = s->count == 1 ? value : fmin(s->least, value);
    s->largest = s->count == 1 ? value : fmax(s->largest, value);
}

/* Of the sample; 0 of one number. */
static double deviation_of(const spread *s) {
    return s->count > 1 ? sqrt(s->squares / (double)(s->count - 1)) : 0;
}

static group *group_of(sweep_table *t, const sweep_point *p) {
    for (size_t i = 0; i < t->group_count; i++) {
        if (strcmp(t->groups[i].name, p->group) == 0) {
            return &t->groups[i];
        }
    }
    group *g = &t->groups[t->group_count++];
    memcpy(g->name, p->group, sizeof g->name);
    g->settings = json_incref(p->settings);
    g->seeds = json_array();
    return g;
}

err sweep_table_add(sweep_table *t, const sweep_point *p, const json_t *result) {
    const experiment *e = &p->experiment;
    const json_t *final = json_object_get(result, "final");
    group *g = group_of(t, p);
    json_int_t seed = (json_int_t)e->training.seed;
    g->bits = experiment_bits(e);
    for (size_t i = 0; i < MEASURES; i++) {
        const json_t *value = json_object_get(final, measures[i].key);
        if (json_is_number(value)) {
            spread_add(&g->measures[i], json_number_value(value));
        }
    }
    json_t *point = json_pack("{s:s, s:s, s:I, s:O, s:f, s:O, s:f}", "name", p->name, "group", p->group, "seed", seed,
                              "settings", p->settings, "bits", g->bits, "final", final, "seconds",
                              json_number_value(json_object_get(result, "seconds")));
    bool good = json_array_append_new(g->seeds, json_integer(seed)) == 0;
    return json_array_append_new(t->points, point) == 0 && good ? ERR_OK
                                                                : err_fail(ERR_MEMORY, "no memory for a sweep's table");
}

/* Text. */

static bool is_measured(const sweep_table *t, size_t measure) {
    for (size_t i = 0; i < t->group_count; i++) {
        if (t->groups[i].measures[measure].count > 0) {
            return true;
        }
    }
    return false;
}

static const char *spread_text(const spread *s, char text[SPREAD_MAX]) {
    if (s->count == 0) {
        return "-";
    }
    snprintf(text, SPREAD_MAX, "%6.2f +- %4.2f (%.2f-%.2f)", s->mean, deviation_of(s), s->least, s->largest);
    return text;
}

void sweep_table_print(const sweep_table *t, FILE *to) {
    size_t widest = 5;
    for (size_t i = 0; i < t->group_count; i++) {
        size_t length = strlen(t->groups[i].name);
        widest = length > widest ? length : widest;
    }
    fprintf(to, "%-*s  bits  seeds", (int)widest, "group");
    for (size_t m = 0; m < MEASURES; m++) {
        if (is_measured(t, m)) {
            fprintf(to, "  %-29s", measures[m].title);
        }
    }
    fputc('\n', to);
    for (size_t i = 0; i < t->group_count; i++) {
        const group *g = &t->groups[i];
        fprintf(to, "%-*s  %4.0f  %5zu", (int)widest, g->name, g->bits, json_array_size(g->seeds));
        for (size_t m = 0; m < MEASURES; m++) {
            char text[SPREAD_MAX];
            if (is_measured(t, m)) {
                fprintf(to, "  %-29s", spread_text(&g->measures[m], text));
            }
        }
        fputc('\n', to);
    }
}

/* JSON. */

static json_t *group_json(const group *g) {
    json_t *j =
        json_pack("{s:s, s:O, s:f, s:O}", "name", g->name, "settings", g->settings, "bits", g->bits, "seeds", g->seeds);
    for (size_t m = 0; m < MEASURES; m++) {
        const spread *s = &g->measures[m];
        if (s->count > 0) {
            json_put(&j, measures[m].key,
                     json_pack("{s:f, s:f, s:f, s:f}", "mean", s->mean, "std", deviation_of(s), "min", s->least, "max",
                               s->largest));
        }
    }
    return j;
}

json_t *sweep_table_json(const sweep_table *t) {
    const experiment *base = sweep_plan_base(t->plan);
    json_t *groups = json_array();
    for (size_t i = 0; i < t->group_count; i++) {
        json_list_add(&groups, group_json(&t->groups[i]));
    }
    return groups ? json_pack("{s:s, s:s, s:O, s:o}", "base", base->name, "dataset", base->dataset.name, "points",
                              t->points, "groups", groups)
                  : NULL;
}
