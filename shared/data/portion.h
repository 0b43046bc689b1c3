/* A node's own data: one portion of every sample, and nothing else.
 *
 * A portion folder holds
 *   portion.json   {"dataset", "partition", "portions", "portion", "shape": [c,h,w], "train_samples",
 *                   "test_samples", "digest"}
 *   train.idx      bytes [train_samples, c, h, w]     test.idx   bytes [test_samples, c, h, w]
 * The digest is SHA-256 over train.idx's elements, then test.idx's, in hex; it is checked when opened. */
#ifndef FEWBIT_DATA_PORTION_H
#define FEWBIT_DATA_PORTION_H

#include "base/err.h"
#include "base/sha256.h"
#include "data/dataset.h"

#include <stdint.h>

typedef struct portion portion;

typedef struct portion_info {
    char dataset[32];
    char partition[16];
    uint32_t portions, index;
    uint32_t shape[3];   /* channels, height, width */
    uint32_t samples[2]; /* by enum dataset_split */
    char digest[SHA256_HEX];
} portion_info;

/* Opens and checks a folder. Every refusal names the file and what is wrong: files missing, sizes that
 * contradict portion.json, a digest that does not match. The caller ends it with portion_close. */
err portion_open(portion **p, const char *folder);
void portion_close(portion *p);
const portion_info *portion_get_info(const portion *p);

/* The bytes [c, h, w] of one sample; index < samples[split]. Borrowed until portion_close. */
const uint8_t *portion_sample(const portion *p, enum dataset_split split, uint32_t index);

/* Writes a folder (made when missing), each file atomically, portion.json last. train, test:
 * [samples, c, h, w]. Fills info->digest. */
err portion_write(const char *folder, portion_info *info, const uint8_t *train, const uint8_t *test);

#endif
