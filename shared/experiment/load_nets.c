#include "experiment/load_nets.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

typedef struct nets {
    loader *l;
    net_lists *lists;
} nets;

static const schema_field layer_field = {.words = schema_layers, .word_count = SCHEMA_LAYER_KINDS};

static const yaml_node_t *value_of(nets *n, const yaml_node_pair_t *pair) {
    return yaml_document_get_node(&n->l->document, pair->value);
}

static const schema_word *word_named(const schema_field *f, const char *name) {
    for (size_t i = 0; i < f->word_count; i++) {
        if (strcmp(f->words[i].name, name) == 0) {
            return &f->words[i];
        }
    }
    return NULL;
}

static const net_list_block *block_named(const net_lists *lists, const char *name) {
    for (uint32_t i = 0; i < lists->block_count; i++) {
        if (strcmp(lists->blocks[i].name, name) == 0) {
            return &lists->blocks[i];
        }
    }
    return NULL;
}

static err take_layers(nets *n, const loader_key *place, const yaml_node_t *node, net_list_range *range);

/* The lists within a layer: of a section of keys. */
static err take_paths(nets *n, const loader_key *place, const yaml_node_t *node, net_list_layer *layer) {
    char section[EXPERIMENT_KEY_MAX];
    loader_section(place, section);
    err failed = ERR_OK;
    for (const yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top && !failed; p++) {
        const loader_key key = {section, loader_key_of(n->l, p), loader_line_of(&n->l->document, p)};
        const schema_field *f = loader_field(schema_layer_keys_of[layer->kind].fields, key.key);
        if (f->type == SCHEMA_LAYERS) {
            failed = take_layers(n, &key, value_of(n, p), (net_list_range *)(void *)((char *)layer + f->offset));
        }
    }
    return failed;
}

/* {residual: [...]}, {residual: {main: [...]}}, {dense: 64} or {dense: {outputs: 64}}. */
static err take_keys(nets *n, const loader_key *key, const yaml_node_t *node, net_list_layer *layer) {
    const schema_layer_keys *keys = &schema_layer_keys_of[layer->kind];
    char *values = n->l->values;
    n->l->values = (char *)layer;
    err failed;
    if (node->type == YAML_MAPPING_NODE) {
        failed = loader_take_mapping(n->l, key, keys->fields, node);
        failed = failed ? failed : take_paths(n, key, node, layer);
    } else if (!keys->alone) {
        failed = loader_refuse(n->l, key, keys->fields->key ? "must be a section of keys" : "takes no value");
    } else {
        const schema_field *f = loader_field(keys->fields, keys->alone);
        failed =
            f->type == SCHEMA_LAYERS ? take_layers(n, key, node, &layer->main) : loader_take_field(n->l, key, f, node);
    }
    n->l->values = values;
    return failed;
}

static bool has_required(net_list_kind kind) {
    bool has = false;
    for (const schema_field *f = schema_layer_keys_of[kind].fields; f->key; f++) {
        has = has || f->is_required;
    }
    return has;
}

/* `relu`, or a block's name. */
static err take_word(nets *n, const loader_key *place, const char *name, net_list_layer *layer) {
    const schema_word *word = word_named(&layer_field, name);
    const net_list_block *block = block_named(n->lists, name);
    if (block) {
        layer->kind = NET_LIST_BLOCK;
        layer->main = block->layers;
        return ERR_OK;
    }
    if (!word) {
        return loader_refuse_word(n->l, place, &layer_field, name);
    }
    layer->kind = (net_list_kind)word->value;
    return has_required(layer->kind) ? loader_refuse(n->l, place, "is a layer without its keys, as in {dense: 64}")
                                     : ERR_OK;
}

static err take_layer(nets *n, const loader_key *place, const yaml_node_t *node, net_list_layer *layer) {
    *layer = schema_layer_default;
    if (node->type == YAML_SCALAR_NODE) {
        return take_word(n, place, (const char *)node->data.scalar.value, layer);
    }
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    if (node->type != YAML_MAPPING_NODE || node->data.mapping.pairs.top != pair + 1) {
        return loader_refuse(n->l, place, "must be one layer, as relu or {dense: 64}");
    }
    char section[EXPERIMENT_KEY_MAX];
    const loader_key key = {loader_section(place, section), loader_key_of(n->l, pair), place->line};
    const schema_word *word = word_named(&layer_field, key.key);
    if (!word) {
        return loader_refuse_word(n->l, place, &layer_field, key.key);
    }
    layer->kind = (net_list_kind)word->value;
    return take_keys(n, &key, value_of(n, pair), layer);
}

/* A list takes its place before the lists within its layers do. */
static err take_layers(nets *n, const loader_key *place, const yaml_node_t *node, net_list_range *range) {
    if (node->type != YAML_SEQUENCE_NODE || node->data.sequence.items.start == node->data.sequence.items.top) {
        return loader_refuse(n->l, place, "must be a list of layers, as [{dense: 64}, relu]");
    }
    const yaml_node_item_t *items = node->data.sequence.items.start;
    size_t count = (size_t)(node->data.sequence.items.top - items);
    if (count > NET_LIST_LAYERS_MAX - n->lists->layer_count) {
        return loader_refuse(n->l, place, "has too many layers: all lists together may have 256");
    }
    *range = (net_list_range){n->lists->layer_count, (uint32_t)count};
    n->lists->layer_count += (uint32_t)count;
    char section[EXPERIMENT_KEY_MAX], number[24];
    loader_section(place, section);
    err failed = ERR_OK;
    for (size_t i = 0; i < count && !failed; i++) {
        const yaml_node_t *item = yaml_document_get_node(&n->l->document, items[i]);
        snprintf(number, sizeof number, "%zu", i);
        const loader_key key = {section, number, item->start_mark.line + 1};
        failed = take_layer(n, &key, item, &n->lists->layers[range->first + i]);
    }
    return failed;
}

/* Blocks. */

static bool is_name(const char *name) {
    size_t length = strlen(name);
    bool is = length > 0 && length <= NET_LIST_NAME_MAX && isalpha((unsigned char)name[0]) && yaml_word_is_text(name);
    for (size_t i = 0; i < length; i++) {
        is = is && (isalnum((unsigned char)name[i]) || name[i] == '-' || name[i] == '_');
    }
    return is;
}

/* The name of a layer, or of a net that is known. */
static bool is_taken(const char *name) {
    bool is = word_named(&layer_field, name) != NULL;
    for (const schema_field *f = schema_fields; f->key; f++) {
        const schema_field *net = f->type == SCHEMA_SECTION ? loader_field(f->fields, "net") : NULL;
        is = is || (net && word_named(net, name));
    }
    return is;
}

static err take_block(nets *n, const yaml_node_pair_t *pair) {
    const loader_key key = {"nets", loader_key_of(n->l, pair), loader_line_of(&n->l->document, pair)};
    if (!is_name(key.key)) {
        return loader_refuse(n->l, &key, "is no name: 1 to 31 of A-Z, a-z, 0-9, '-' and '_', first a letter");
    }
    if (is_taken(key.key)) {
        return loader_refuse(n->l, &key, "is the name of a layer, or of a net that is known");
    }
    if (block_named(n->lists, key.key)) {
        return loader_refuse(n->l, &key, "is there twice");
    }
    if (n->lists->block_count == NET_LIST_BLOCKS_MAX) {
        return loader_refuse_count(n->l, &(loader_key){"", "nets", key.line}, NET_LIST_BLOCKS_MAX);
    }
    net_list_range layers;
    err failed = take_layers(n, &key, value_of(n, pair), &layers);
    if (!failed) {
        net_list_block *block = &n->lists->blocks[n->lists->block_count++];
        snprintf(block->name, sizeof block->name, "%s", key.key);
        block->layers = layers;
    }
    return failed;
}

err load_nets_blocks(loader *l, const yaml_node_t *root, net_lists *lists) {
    nets n = {l, lists};
    const yaml_node_pair_t *pair = yaml_document_pair(&l->document, root, "nets");
    if (!pair) {
        return ERR_OK;
    }
    const yaml_node_t *node = value_of(&n, pair);
    if (node->type != YAML_MAPPING_NODE) {
        const loader_key key = {"", "nets", loader_line_of(&l->document, pair)};
        return loader_refuse(l, &key, "must be a section of lists of layers, each with its name");
    }
    err failed = ERR_OK;
    for (const yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top && !failed; p++) {
        failed = take_block(&n, p);
    }
    return failed;
}

/* Nets. */

err load_nets_part(loader *l, const loader_key *section, const schema_field *fields, const yaml_node_t *node,
                   net_lists *lists) {
    nets n = {l, lists};
    char name[EXPERIMENT_KEY_MAX];
    const schema_field *f = loader_field(fields, "net");
    const yaml_node_pair_t *pair = yaml_document_pair(&l->document, node, "net");
    if (!pair) {
        return ERR_OK;
    }
    const loader_key key = {loader_section(section, name), "net", loader_line_of(&l->document, pair)};
    const yaml_node_t *value = value_of(&n, pair);
    uint32_t *net = (uint32_t *)(void *)(l->values + f->offset);
    net_list_range *range = (net_list_range *)(void *)(l->values + f->count_offset);
    *range = (net_list_range){0, 0};
    const net_list_block *block =
        value->type == YAML_SCALAR_NODE ? block_named(lists, (const char *)value->data.scalar.value) : NULL;
    if (value->type == YAML_SCALAR_NODE && !block) {
        return loader_take_scalar(l, &key, f, SCHEMA_WORD, value, net);
    }
    *net = f->listed;
    if (block) {
        *range = block->layers;
        return ERR_OK;
    }
    return value->type == YAML_SEQUENCE_NODE ? take_layers(&n, &key, value, range)
                                             : loader_refuse(l, &key, "must be a word or a list of layers");
}
