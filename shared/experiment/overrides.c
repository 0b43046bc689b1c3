#include "experiment/overrides.h"

#include "experiment/load.h"

#include <string.h>

enum { VALUE_MAX = 200 };

/* It goes into a YAML text as it is. */
static err check_value(const char *where, const experiment_override *c) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-/[],";
    size_t length = strlen(c->value);
    if (length == 0 || length > VALUE_MAX || strspn(c->value, plain) != length) {
        return err_fail(ERR_INPUT,
                        "%s: the value of %s is not made of letters, digits and . _ + - / only, or a list of such",
                        where, c->key);
    }
    return ERR_OK;
}

err experiment_apply_overrides(experiment *e, const char *where, const experiment_override *changes, size_t count) {
    char text[EXPERIMENT_TEXT_MAX];
    size_t length;
    for (size_t i = 0; i < count; i++) {
        err failed = check_value(where, &changes[i]);
        if (failed) {
            return failed;
        }
    }
    experiment changed;
    err failed = experiment_serialize_with(e, changes, count, text, &length);
    failed = failed ? err_prefix(failed, "%s", where) : experiment_parse(where, text, length, &changed);
    if (!failed) {
        *e = changed;
    }
    return failed;
}
