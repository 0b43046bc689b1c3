/* Command lines, from tables of options. Every option can also stand in the environment, --log-level as
 * FEWBIT_LOG_LEVEL; the command line wins. */
#ifndef FEWBIT_BASE_OPTIONS_H
#define FEWBIT_BASE_OPTIONS_H

#include "base/address.h"
#include "base/err.h"

/* One option, and where its value goes in the struct of a command's options:
 *   {OPTIONS_NUMBER(node_options, portion, "portion", "K", 0, 63, "the portion"), .preset = "0"} */
typedef struct options_entry {
    const char *name;  /* without its dashes; NULL ends a table */
    const char *value; /* what its value is called in the help; NULL: a flag */
    const char *help;
    size_t offset;
    err (*parse)(const char *text, void *to, const struct options_entry *entry);
    int64_t low, high;  /* of a number */
    const char *preset; /* the value where none is given, named in the help; NULL: what the struct holds */
    bool is_required, may_lack_value;
} options_entry;

/* `member` is a bool, a const char * or an int64_t of `type`. */
#define OPTIONS_FLAG(type, member, option, text)                                                                       \
    .name = option, .help = text, .offset = OPTIONS_AT(type, member, bool), .parse = options_take_flag
#define OPTIONS_TEXT(type, member, option, called, text)                                                               \
    .name = option, .value = called, .help = text, .offset = OPTIONS_AT(type, member, const char *),                   \
    .parse = options_take_text
#define OPTIONS_NUMBER(type, member, option, called, least, most, text)                                                \
    .name = option, .value = called, .help = text, .offset = OPTIONS_AT(type, member, int64_t),                        \
    .parse = options_take_number, .low = least, .high = most
/* `member` is an address (base/address.h): HOST:PORT or [IPV6]:PORT; an empty host means every address. */
#define OPTIONS_ADDRESS(type, member, option, text)                                                                    \
    .name = option, .value = "HOST:PORT", .help = text, .offset = OPTIONS_AT(type, member, address),                   \
    .parse = options_take_address
/* Read by `parser`, whose error gets the option's name in front. */
#define OPTIONS_PARSED(type, member, option, called, parser, text)                                                     \
    .name = option, .value = called, .help = text, .offset = offsetof(type, member), .parse = parser
/* Does not compile where the member is of another type. */
#define OPTIONS_AT(type, member, of) (offsetof(type, member) + 0 * sizeof(&((type *)0)->member == (of *)0))

err options_take_flag(const char *text, void *to, const options_entry *entry);
err options_take_text(const char *text, void *to, const options_entry *entry);
err options_take_number(const char *text, void *to, const options_entry *entry);
err options_take_address(const char *text, void *to, const options_entry *entry);
err options_take_log_level(const char *text, void *to, const options_entry *entry);
err options_take_log_format(const char *text, void *to, const options_entry *entry);

/* The options of the log, for a table. */
#define OPTIONS_LOG                                                                                                    \
    {.name = "log-level",                                                                                              \
     .value = "LEVEL",                                                                                                 \
     .help = "debug, info, warn, error or none",                                                                       \
     .parse = options_take_log_level},                                                                                 \
    {                                                                                                                  \
        .name = "log-format", .value = "FORMAT", .help = "text, json, or auto: text on a terminal, else json",         \
        .parse = options_take_log_format                                                                               \
    }

/* A command: its table, and how many arguments stand beside its options. */
typedef struct options_command {
    const char *arguments;       /* as in the help: "RUN"; NULL: none */
    int least, most;             /* arguments */
    const char *summary, *notes; /* before and after the options in the help; notes may be NULL */
    const options_entry *entries;
} options_command;

/* In argv, which is put in another order. */
typedef struct options_arguments {
    char **list;
    int count;
} options_arguments;

/* Fills `options`: presets, then the environment, where "1", "yes" or "true" sets a flag, then argv. --help and
 * --version print and exit 0; an unknown option or a missing value prints a line and exits with
 * argp_err_exit_status (process_start sets it to 2); any other usage error is ERR_USAGE. `arguments` may be NULL
 * where there are none. */
err options_parse(const options_command *command, int argc, char **argv, void *options, options_arguments *arguments);

/* A command of a program that has several: "data split" or "train". */
typedef struct options_subcommand {
    const char *words[2]; /* the second may be NULL */
    const char *summary;
    err (*run)(int argc, char **argv); /* the program's to call */
} options_subcommand;

/* The one of `list` (ended by {0}) that argv names; argv then begins with it, as "PROGRAM WORDS". --help and --version
 * print and exit 0. */
err options_choose(const char *program, const options_subcommand *list, int *argc, char ***argv,
                   const options_subcommand **chosen);

/* Whole decimal number in [low, high]; `what` names it in the error. */
err options_number(const char *text, const char *what, int64_t low, int64_t high, int64_t *value);

#endif
