/* The weights of a classifier that was trained before: a safetensors file of ours or of a PyTorch user.
 *
 * Its tensors are those of the head whose names begin with "classifier.". The file holds them under these names, as a
 * run's head does, or all of them without the "classifier."; docs/model.md lists them. What else it holds is ignored.
 */
#ifndef FEWBIT_DECODER_SERVER_CORE_PRETRAINED_H
#define FEWBIT_DECODER_SERVER_CORE_PRETRAINED_H

#include "base/sha256.h"
#include "nn/net.h"

typedef struct pretrained {
    char file[FILE_PATH_MAX]; /* "": none are wanted */
    uint8_t digest[SHA256_BYTES];
} pretrained;

/* Notes the file and its digest. */
err pretrained_open(pretrained *p, const char *file);

/* Loads the head's classifier, from a file that must still have the digest. On failure the head may be half loaded. */
err pretrained_load(const pretrained *p, nn_net *head);

#endif
