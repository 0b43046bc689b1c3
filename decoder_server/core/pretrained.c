#include "decoder_server/core/pretrained.h"

#include "model/checkpoint.h"

#include <string.h>

static const char prefix[] = "classifier.";

enum { PREFIX = sizeof prefix - 1 };

err pretrained_open(pretrained *p, const char *file) {
    safetensors *opened;
    err e = file_path(p->file, sizeof p->file, "%s", file);
    e = e ? e : safetensors_open(&opened, file);
    if (!e) {
        e = safetensors_digest(opened, p->digest);
        safetensors_close(opened);
    }
    return e;
}

static nn_tensor *tensor_of(nn_net *head, size_t index) {
    nn_tensor *t = nn_net_tensor(head, index);
    return strncmp(t->name, prefix, PREFIX) == 0 ? t : NULL;
}

/* Whether a tensor of the classifier lies in the file under its name from byte `from` on. */
static bool holds_any(const safetensors *file, nn_net *head, size_t from) {
    for (size_t i = 0; i < nn_net_tensor_count(head); i++) {
        nn_tensor *t = tensor_of(head, i);
        if (t && safetensors_has(file, t->name + from)) {
            return true;
        }
    }
    return false;
}

static err copy_all(const safetensors *file, nn_net *head, size_t from) {
    for (size_t i = 0; i < nn_net_tensor_count(head); i++) {
        nn_tensor *t = tensor_of(head, i);
        err e = t ? checkpoint_copy(file, t->name + from, t, t->value) : ERR_OK;
        if (e) {
            return e;
        }
    }
    return ERR_OK;
}

err pretrained_load(const pretrained *p, nn_net *head) {
    safetensors *file;
    err e = safetensors_open(&file, p->file);
    if (e) {
        return e;
    }
    uint8_t digest[SHA256_BYTES];
    nn_net_thaw(head);
    e = safetensors_digest(file, digest);
    if (!e && memcmp(p->digest, digest, SHA256_BYTES) != 0) {
        e = err_fail(ERR_INPUT, "%s: was changed since the run began (its SHA-256 is another one)", p->file);
    }
    if (!e) {
        bool is_bare = !holds_any(file, head, 0) && holds_any(file, head, PREFIX);
        e = copy_all(file, head, is_bare ? PREFIX : 0);
    }
    safetensors_close(file);
    return err_prefix(e, "the classifier's weights");
}
