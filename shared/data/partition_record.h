/* A partition in a JSON file: {"kind", "portions", "sample_shape": [c,h,w]}, and "portion" where it is of one of them.
 */
#ifndef FEWBIT_DATA_PARTITION_RECORD_H
#define FEWBIT_DATA_PARTITION_RECORD_H

#include "base/json_fields.h"
#include "data/partition.h"

/* The field "partition"; `index`: which portion, NULL where it says none. */
void partition_record_read(json_fields *m, partition *s, uint32_t *index);

/* NULL where memory ran out. */
json_t *partition_record_pack(const partition *s, const uint32_t *index);

#endif
