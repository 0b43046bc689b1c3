/* The keys of an experiment file: what each takes, and where in an `experiment` it goes. */
#ifndef FEWBIT_EXPERIMENT_SCHEMA_H
#define FEWBIT_EXPERIMENT_SCHEMA_H

#include "experiment/experiment.h"

typedef enum schema_type {
    SCHEMA_TEXT,
    SCHEMA_WHOLE,  /* uint32_t or uint64_t */
    SCHEMA_NUMBER, /* float */
    SCHEMA_SWITCH, /* bool */
    SCHEMA_WORD,   /* one of `words`: an enum of 32 bits */
    SCHEMA_LIST,   /* of `entry`, with a count of 32 bits */
    SCHEMA_SECTION,
    SCHEMA_PORTIONS, /* a list of sections, each of one portion */
    SCHEMA_NET,      /* one of `words`, the name of a block, or a list of layers: a net_list_range at count_offset */
    SCHEMA_BLOCKS,   /* a section of lists of layers, each with its name */
    SCHEMA_LAYERS,   /* a list of layers within a layer: a net_list_range */
} schema_type;

/* Experiments that have the key: all, or those with or without a list of portions. */
typedef enum schema_form { SCHEMA_ANY, SCHEMA_PARTITIONED, SCHEMA_LISTED } schema_form;

typedef struct schema_word {
    const char *name;
    uint32_t value;
} schema_word;

typedef struct schema_field {
    const char *key; /* NULL after the last one */
    schema_type type;
    bool is_required;
    schema_form form;
    size_t offset,
        size; /* in an experiment, or a portion; of a list: of its first entry. A text's size includes its end
               */
    const schema_word *words;
    size_t word_count;
    schema_type entry;
    size_t count_offset, count_max, count_least;
    bool may_be_one; /* a list of one entry may be that entry alone */
    uint32_t least,
        most;        /* of a whole number, of each in a list; most 0: any. With `words` these may stand in its place */
    uint32_t listed; /* the value of a net that is a list */
    size_t word_offset; /* of a list that has `words`: one of them may stand in its place, and does where it is empty */
    const struct schema_field *fields; /* of a section, or a portion */
} schema_field;

extern const schema_field schema_fields[];

/* Whether an experiment, or each portion of one, has the key. */
static inline bool schema_has(const schema_field *field, bool is_listed) {
    return field->form == SCHEMA_ANY || (field->form == SCHEMA_LISTED) == is_listed;
}

/* The layers that a list may hold. */
enum { SCHEMA_LAYER_KINDS = NET_LIST_BLOCK };
extern const schema_word schema_layers[SCHEMA_LAYER_KINDS];

/* The keys of a kind of layer, in a net_list_layer. */
typedef struct schema_layer_keys {
    const schema_field *fields;
    const char *alone; /* the key whose value may stand for all, as in {dense: 64}; NULL: there is none */
} schema_layer_keys;

extern const schema_layer_keys schema_layer_keys_of[SCHEMA_LAYER_KINDS];

/* What its keys are where they are left out. */
extern const net_list_layer schema_layer_default;

/* The word of a field's value. */
const char *schema_word_of(const schema_field *field, uint32_t value);

#endif
