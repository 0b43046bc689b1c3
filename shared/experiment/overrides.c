#include "experiment/overrides.h"

#include "experiment/load.h"
#include "experiment/serialize.h"

#include <stdio.h>
#include <string.h>

enum { VALUE_MAX = 200 };

/* The resolved text: every key has a line of its own, "SECTION:", "  KEY: VALUE", at the top "KEY: VALUE". */
typedef struct resolved {
    char text[2 * EXPERIMENT_TEXT_MAX + 1];
    size_t length;
} resolved;

/* The line that begins with `start`, from `from` on; NULL: none. */
static char *find_line(char *from, const char *start) {
    size_t length = strlen(start);
    while (from && strncmp(from, start, length) != 0) {
        from = strchr(from, '\n');
        from = from ? from + 1 : NULL;
    }
    return from;
}

/* The line of "section.key", whose value begins after ": "; NULL: there is none. */
static char *find_key(resolved *r, const char *key) {
    char start[80];
    const char *dot = strchr(key, '.');
    if (strlen(key) > 64) {
        return NULL;
    }
    if (!dot) {
        snprintf(start, sizeof start, "%s: ", key);
        return find_line(r->text, start);
    }
    snprintf(start, sizeof start, "%.*s:\n", (int)(dot - key), key);
    char *line = find_line(r->text, start);
    line = line ? strchr(line, '\n') + 1 : NULL;
    snprintf(start, sizeof start, "  %s: ", dot + 1);
    while (line && line[0] == ' ' && strncmp(line, start, strlen(start)) != 0) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return line && line[0] == ' ' ? line : NULL;
}

static err change(resolved *r, const char *where, const experiment_override *c) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-/[],";
    size_t length = strlen(c->value);
    if (length == 0 || length > VALUE_MAX || strspn(c->value, plain) != length) {
        return err_fail(ERR_INPUT,
                        "%s: the value of %s is not made of letters, digits and . _ + - / only, or a list of such",
                        where, c->key);
    }
    char *line = find_key(r, c->key);
    if (!line) {
        return err_fail(ERR_INPUT, "%s: key %s is not known", where, c->key);
    }
    char *value = strstr(line, ": ") + 2, *end = strchr(value, '\n');
    size_t behind = r->length - (size_t)(end - r->text);
    if ((size_t)(value - r->text) + length + behind >= sizeof r->text) {
        return err_fail(ERR_INPUT, "%s: is too long", where);
    }
    memmove(value + length, end, behind + 1);
    memcpy(value, c->value, length);
    r->length = (size_t)(value - r->text) + length + behind;
    return ERR_OK;
}

err experiment_apply_overrides(experiment *e, const char *where, const experiment_override *changes, size_t count) {
    resolved r;
    err failed = experiment_serialize(e, r.text, &r.length);
    if (failed) {
        return failed;
    }
    r.text[r.length] = '\0';
    for (size_t i = 0; i < count && !failed; i++) {
        failed = change(&r, where, &changes[i]);
    }
    experiment changed;
    failed = failed ? failed : experiment_parse(where, r.text, r.length, &changed);
    if (!failed) {
        *e = changed;
    }
    return failed;
}
