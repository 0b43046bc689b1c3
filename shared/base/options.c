#include "base/options.h"

#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENVIRONMENT_NAME_MAX = 64 };

static bool is_yes(const char *text) {
    return strcmp(text, "1") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "true") == 0;
}

static void environment_name(const char *option, char name[ENVIRONMENT_NAME_MAX]) {
    int length = snprintf(name, ENVIRONMENT_NAME_MAX, "FEWBIT_%s", option);
    for (int i = 0; i < length && i < ENVIRONMENT_NAME_MAX; i++) {
        name[i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
    }
}

static err take_environment(const struct argp *argp, void *input) {
    for (const struct argp_option *option = argp->options; option && (option->name || option->doc); option++) {
        if (!option->name || option->key == 0) {
            continue;
        }
        char name[ENVIRONMENT_NAME_MAX];
        environment_name(option->name, name);
        char *value = getenv(name);
        if (!value || (!option->arg && !is_yes(value))) {
            continue;
        }
        struct argp_state state = {.root_argp = argp, .input = input, .flags = ARGP_NO_ERRS};
        if (argp->parser(option->key, option->arg ? value : NULL, &state) != 0) {
            return err_prefix(ERR_USAGE, "%s in the environment", name);
        }
    }
    return ERR_OK;
}

err options_parse(const struct argp *argp, int argc, char **argv, unsigned flags, int *next, void *input) {
    err e = take_environment(argp, input);
    if (e) {
        return e;
    }
    err_fail(ERR_OK, "%s", "");
    int failed = argp_parse(argp, argc, argv, flags, next, input);
    if (!failed) {
        return ERR_OK;
    }
    return err_text()[0] ? ERR_USAGE : err_fail(ERR_USAGE, "%s: %s", argv[0], strerror(failed));
}

bool options_take_log(int key, const char *value, err *e) {
    log_level level;
    log_format format;
    if (key == OPTIONS_LOG_LEVEL) {
        *e = log_level_parse(value, &level);
        if (!*e) {
            log_set_level(level);
        }
    } else if (key == OPTIONS_LOG_FORMAT) {
        *e = log_format_parse(value, &format);
        if (!*e) {
            log_set_format(format);
        }
    }
    return key == OPTIONS_LOG_LEVEL || key == OPTIONS_LOG_FORMAT;
}

err options_number(const char *text, const char *what, int64_t low, int64_t high, int64_t *value) {
    errno = 0;
    char *end = NULL;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || number < low || number > high) {
        return err_fail(ERR_USAGE, "%s is '%s', not a whole number from %lld to %lld", what, text, (long long)low,
                        (long long)high);
    }
    *value = number;
    return ERR_OK;
}

err options_address(const char *text, char *host, size_t size, uint16_t *port) {
    const char *colon = strrchr(text, ':');
    if (!colon) {
        return err_fail(ERR_USAGE, "'%s' is not HOST:PORT", text);
    }
    const char *start = text;
    size_t length = (size_t)(colon - text);
    if (length >= 2 && text[0] == '[' && colon[-1] == ']') {
        start++;
        length -= 2;
    } else if (strcspn(text, ":[]") < length) {
        return err_fail(ERR_USAGE, "'%s' is neither HOST:PORT nor [IPV6]:PORT", text);
    }
    if (length >= size) {
        return err_fail(ERR_USAGE, "the host in '%s' is too long", text);
    }
    int64_t number = 0;
    err e = options_number(colon + 1, "the port", 0, 65535, &number);
    if (e) {
        return err_prefix(e, "'%s'", text);
    }
    snprintf(host, size, "%.*s", (int)length, start);
    if (host[0] == '\0') {
        snprintf(host, size, "%s", "0.0.0.0");
    }
    *port = (uint16_t)number;
    return ERR_OK;
}
