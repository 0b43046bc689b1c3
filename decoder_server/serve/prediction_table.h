/* The prediction table: for a codeword of few bits, what the nets say of every codeword there is.
 *
 * A classification is then one read. An entry is a class of one byte and the probabilities of all classes as floats: a
 * streamed sample needs the byte and one of the floats, an answer over HTTP all of them. 16 bits and 10 classes take
 * 2.6 MiB. The classes lie together, so that those of 16 bits fit into a processor's second cache.
 *
 * The table knows no net: who owns one fills it, all of it beforehand or each codeword as it is first seen. Only whole
 * codewords have an entry: a missing portion counts as 0.5, which no bit says. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_PREDICTION_TABLE_H
#define FEWBIT_DECODER_SERVER_SERVE_PREDICTION_TABLE_H

#include "base/err.h"

typedef struct prediction_table prediction_table;

enum { PREDICTION_TABLE_BITS_MAX = 24, PREDICTION_TABLE_UNKNOWN = 255 };

/* Memory of a table; SIZE_MAX where the codewords are too long for any, or the classes too many. */
size_t prediction_table_bytes(uint32_t bits, uint32_t classes);

/* An empty table for codewords of `bits` (see prediction_table_bytes). */
err prediction_table_new(prediction_table **a, uint32_t bits, uint32_t classes);
void prediction_table_free(prediction_table *a);

/* Stores what the nets say of a codeword: probabilities [classes]; `class` is the largest. */
void prediction_table_put(prediction_table *a, uint32_t codeword, uint32_t class, const float *probabilities);

/* The class, or PREDICTION_TABLE_UNKNOWN where nothing is stored. */
uint32_t prediction_table_class(const prediction_table *a, uint32_t codeword);

/* [classes]; the table's, for as long as it lives. */
const float *prediction_table_probabilities(const prediction_table *a, uint32_t codeword);

/* How many codewords there are, and how many are stored. */
uint32_t prediction_table_size(const prediction_table *a);
uint32_t prediction_table_known(const prediction_table *a);

#endif
