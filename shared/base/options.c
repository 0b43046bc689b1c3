#include "base/options.h"

#include "base/log.h"

#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 64, ENTRIES_MAX = 48, HELP_SIZE = 4096, FIRST_KEY = 256 };

/* What a parser fills. */
typedef struct filling {
    const options_command *command;
    char *options;
    options_arguments arguments;
    uint64_t given; /* bit i: entry i */
} filling;

err options_take_flag(const char *text, void *to, const options_entry *entry) {
    (void)text, (void)entry;
    *(bool *)to = true;
    return ERR_OK;
}

err options_take_text(const char *text, void *to, const options_entry *entry) {
    (void)entry;
    *(const char **)to = text;
    return ERR_OK;
}

err options_take_number(const char *text, void *to, const options_entry *entry) {
    char what[NAME_SIZE];
    snprintf(what, sizeof what, "--%s", entry->name);
    return options_number(text, what, entry->low, entry->high, to);
}

err options_take_log_level(const char *text, void *to, const options_entry *entry) {
    (void)to, (void)entry;
    return log_choose_level(text);
}

err options_take_log_format(const char *text, void *to, const options_entry *entry) {
    (void)to, (void)entry;
    return log_choose_format(text);
}

static err take(filling *f, const options_entry *entry, const char *text) {
    f->given |= (uint64_t)1 << (entry - f->command->entries);
    err e = entry->parse(text, f->options + entry->offset, entry);
    return e && strncmp(err_text(), "--", 2) != 0 ? err_prefix(ERR_USAGE, "--%s", entry->name) : e;
}

static err take_presets(filling *f) {
    err e = ERR_OK;
    for (const options_entry *entry = f->command->entries; entry->name && !e; entry++) {
        e = entry->preset ? take(f, entry, entry->preset) : ERR_OK;
    }
    return e;
}

static void environment_name(const char *option, char name[NAME_SIZE]) {
    int length = snprintf(name, NAME_SIZE, "FEWBIT_%s", option);
    for (int i = 0; i < length && i < NAME_SIZE; i++) {
        name[i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
    }
}

static bool is_yes(const char *text) {
    return strcmp(text, "1") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "true") == 0;
}

static err take_environment(filling *f) {
    for (const options_entry *entry = f->command->entries; entry->name; entry++) {
        char name[NAME_SIZE];
        environment_name(entry->name, name);
        const char *value = getenv(name);
        if (value && (entry->value || is_yes(value)) && take(f, entry, value)) {
            return err_prefix(ERR_USAGE, "%s in the environment", name);
        }
    }
    return ERR_OK;
}

static int take_argument(filling *f, char **at) {
    if (f->arguments.count == f->command->most) {
        err_fail(ERR_USAGE, "'%s' is too much: %s", *at,
                 f->command->most ? "one argument too many" : "there are options only");
        return EINVAL;
    }
    if (f->arguments.count++ == 0) {
        f->arguments.list = at;
    }
    return 0;
}

/* argp's callback. */
static error_t take_key(int key, char *value, struct argp_state *state) {
    filling *f = state->input;
    if (key == ARGP_KEY_ARG) {
        return take_argument(f, &state->argv[state->next - 1]);
    }
    if (key < FIRST_KEY || key >= FIRST_KEY + ENTRIES_MAX) {
        return ARGP_ERR_UNKNOWN;
    }
    return take(f, &f->command->entries[key - FIRST_KEY], value) ? EINVAL : 0;
}

/* The help of each option is `text`'s. */
static void list_entries(const options_command *c, struct argp_option list[ENTRIES_MAX + 1], char *text, size_t size) {
    size_t used = 0;
    for (int i = 0; i < ENTRIES_MAX && c->entries[i].name; i++) {
        const options_entry *entry = &c->entries[i];
        list[i] = (struct argp_option){.name = entry->name,
                                       .key = FIRST_KEY + i,
                                       .arg = entry->value,
                                       .flags = entry->may_lack_value ? OPTION_ARG_OPTIONAL : 0,
                                       .doc = entry->help};
        if (entry->preset && used < size) {
            list[i].doc = text + used;
            used += (size_t)snprintf(text + used, size - used, "%s (default %s)", entry->help, entry->preset) + 1;
        }
    }
}

static err parse_arguments(filling *f, int argc, char **argv) {
    static char help[HELP_SIZE], texts[HELP_SIZE]; /* argp's, which may exit */
    struct argp_option list[ENTRIES_MAX + 1] = {{0}};
    const options_command *c = f->command;
    char first[NAME_SIZE] = "";
    list_entries(c, list, texts, sizeof texts);
    if (c->entries[0].name) {
        environment_name(c->entries[0].name, first);
    }
    snprintf(help, sizeof help, "%s\v%s%s%s%s%s%s%s%s", c->summary, c->notes ? c->notes : "", c->notes ? "\n\n" : "",
             first[0] ? "Every option can stand in the environment: --" : "", first[0] ? c->entries[0].name : "",
             first[0] ? " as " : "", first, first[0] ? ".\n\n" : "", err_exit_help);
    const struct argp argp = {.options = list, .parser = take_key, .args_doc = c->arguments, .doc = help};
    err_fail(ERR_OK, "%s", "");
    int failed = argp_parse(&argp, argc, argv, 0, NULL, f);
    if (!failed) {
        return ERR_OK;
    }
    return err_text()[0] ? ERR_USAGE : err_fail(ERR_USAGE, "%s: %s", argv[0], strerror(failed));
}

static err check_required(const filling *f) {
    const options_entry *entries = f->command->entries;
    for (int i = 0; entries[i].name; i++) {
        if (entries[i].is_required && !(f->given >> i & 1)) {
            return err_fail(ERR_USAGE, "--%s is missing (see --help)", entries[i].name);
        }
    }
    return f->arguments.count < f->command->least
               ? err_fail(ERR_USAGE, "%s is missing (see --help)", f->command->arguments)
               : ERR_OK;
}

err options_parse(const options_command *command, int argc, char **argv, void *options, options_arguments *arguments) {
    filling f = {.command = command, .options = options};
    err e = take_presets(&f);
    e = e ? e : take_environment(&f);
    e = e ? e : parse_arguments(&f, argc, argv);
    e = e ? e : check_required(&f);
    if (arguments) {
        *arguments = f.arguments;
    }
    return e;
}

static void print_usage(FILE *to, const char *program, const options_subcommand *list) {
    int widest = 0;
    for (const options_subcommand *s = list; s->words[0]; s++) {
        int length = (int)(strlen(s->words[0]) + (s->words[1] ? 1 + strlen(s->words[1]) : 0));
        widest = length > widest ? length : widest;
    }
    fprintf(to, "Usage: %s COMMAND [OPTION...]\n\n", program);
    for (const options_subcommand *s = list; s->words[0]; s++) {
        int first = (int)strlen(s->words[0]);
        fprintf(to, "  %s %-*s  %s\n", s->words[0], widest - first - 1, s->words[1] ? s->words[1] : "", s->summary);
    }
    fprintf(to, "\nEach has its own --help. %s\n", err_exit_help);
}

/* How many words of argv the command is; 0: argv does not name it. */
static int words_of(const options_subcommand *s, int argc, char **argv) {
    bool is_first = argc > 1 && strcmp(argv[1], s->words[0]) == 0;
    if (!s->words[1]) {
        return is_first ? 1 : 0;
    }
    return is_first && argc > 2 && strcmp(argv[2], s->words[1]) == 0 ? 2 : 0;
}

err options_choose(const char *program, const options_subcommand *list, int *argc, char ***argv,
                   const options_subcommand **chosen) {
    const char *first = *argc > 1 ? (*argv)[1] : "", *second = *argc > 2 ? (*argv)[2] : "";
    if (strcmp(first, "--help") == 0 || strcmp(first, "-?") == 0) {
        print_usage(stdout, program, list);
        exit(0);
    }
    if (strcmp(first, "--version") == 0) {
        puts(argp_program_version);
        exit(0);
    }
    for (const options_subcommand *s = list; s->words[0]; s++) {
        int words = words_of(s, *argc, *argv);
        if (words) {
            static char name[NAME_SIZE]; /* argp's from here on */
            snprintf(name, sizeof name, "%s %s%s%s", program, first, words > 1 ? " " : "", words > 1 ? second : "");
            *argc -= words;
            *argv += words;
            (*argv)[0] = name;
            *chosen = s;
            return ERR_OK;
        }
    }
    print_usage(stderr, program, list);
    return err_fail(ERR_USAGE, "'%s%s%s' is no command", first, second[0] ? " " : "", second);
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

err options_take_address(const char *text, void *to, const options_entry *entry) {
    (void)entry;
    address *a = to;
    const char *colon = strrchr(text, ':'), *start = text;
    if (!colon) {
        return err_fail(ERR_USAGE, "'%s' is not HOST:PORT", text);
    }
    size_t length = (size_t)(colon - text);
    if (length >= 2 && text[0] == '[' && colon[-1] == ']') {
        start++;
        length -= 2;
    } else if (strcspn(text, ":[]") < length) {
        return err_fail(ERR_USAGE, "'%s' is neither HOST:PORT nor [IPV6]:PORT", text);
    }
    if (length >= sizeof a->host) {
        return err_fail(ERR_USAGE, "the host in '%s' is too long", text);
    }
    int64_t port = 0;
    err e = options_number(colon + 1, "the port", 0, 65535, &port);
    if (e) {
        return err_prefix(e, "'%s'", text);
    }
    *a = (address){.port = (uint16_t)port};
    snprintf(a->host, sizeof a->host, "%.*s", length > 0 ? (int)length : 7, length > 0 ? start : "0.0.0.0");
    return ERR_OK;
}
