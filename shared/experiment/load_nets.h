/* Lists of layers out of a YAML text: an experiment's blocks, and the nets of its parts. */
#ifndef FEWBIT_EXPERIMENT_LOAD_NETS_H
#define FEWBIT_EXPERIMENT_LOAD_NETS_H

#include "experiment/loader.h"

/* The blocks of the top-level key `nets`, if it is there, into the empty `lists`. Each may use those before it. */
err load_nets_blocks(loader *l, const yaml_node_t *root, net_lists *lists);

/* `net` of a section, if it is there, into the loader's values: a word, or a list that is added to `lists`. `section`
 * is the section's key, `fields` are its keys, `node` holds them. */
err load_nets_part(loader *l, const loader_key *section, const schema_field *fields, const yaml_node_t *node,
                   net_lists *lists);

#endif
