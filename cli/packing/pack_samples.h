/* Samples to be packed: what the readers of files find, and which part of the data each sample is for.
 *
 * A reader adds its file's samples in their order: an id, where the file has classes a class, and the values, which
 * have one shape. What has no id of its own takes it from the list of --ids, or is counted: "0", "1", ...; with a file
 * for the test samples "train-0", ... and "test-0", .... */
#ifndef FEWBIT_CLI_PACKING_PACK_SAMPLES_H
#define FEWBIT_CLI_PACKING_PACK_SAMPLES_H

#include "base/dynbuf.h"
#include "data/portion_shape.h"

typedef enum pack_part { PACK_TRAIN, PACK_VALIDATION, PACK_TEST, PACK_PARTS } pack_part;

typedef struct pack_sample {
    size_t id, class_name; /* where they begin in the texts; a class at PACK_NO_CLASS: none */
    uint32_t line;         /* of the file; 0: it has none */
    bool is_of_test_file;
    pack_part part;
} pack_sample;

#define PACK_NO_CLASS SIZE_MAX

/* What may be packed at once. */
#define PACK_BYTES_MAX ((uint64_t)1 << 32)
enum { PACK_SAMPLES_MAX = 1 << 28 };

typedef struct pack_samples {
    const char *paths[2];   /* the file, and that of the test samples or NULL; borrowed */
    const char *const *ids; /* of --ids; NULL: none. Borrowed */
    uint32_t id_count;
    bool is_of_test_file;        /* what is added now */
    uint32_t count, first_count; /* samples: all, and those of the first file */
    portion_shape shape;         /* rank 0: not known yet */
    dynbuf texts, list, values;
} pack_samples;

void pack_samples_init(pack_samples *s);
void pack_samples_free(pack_samples *s);

/* The file that is read now. */
const char *pack_samples_path(const pack_samples *s);

/* Adds a sample; `id` and `class_name` may be NULL. ERR_INPUT: the id is none, or --ids has too few. */
err pack_samples_add(pack_samples *s, const char *id, const char *class_name, uint32_t line);

/* The shape of the values; ERR_INPUT where it is not that of the samples before. */
err pack_samples_set_shape(pack_samples *s, const portion_shape *shape);

/* Room for the values of one more sample, to be filled; NULL: there is none, which pack_samples_check tells. */
void *pack_samples_values(pack_samples *s);

/* After the last one: ERR_INPUT where there are none, an id is there twice, or --ids has too many. */
err pack_samples_check(const pack_samples *s);

/* Where a name is among names sorted by their bytes, or belongs; false: it is none of them. */
bool pack_samples_find_name(const char *const *names, uint32_t count, const char *name, uint32_t *at);

pack_sample *pack_samples_get(const pack_samples *s, uint32_t index);
const char *pack_samples_id(const pack_samples *s, uint32_t index);

/* NULL: it has none. */
const char *pack_samples_class(const pack_samples *s, uint32_t index);

/* Puts a sample's place, "FILE: line 7" or "FILE", before the error's line. */
err pack_samples_prefix(const pack_samples *s, uint32_t index);

#endif
