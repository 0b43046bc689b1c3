/* Command lines: argp, with every long option also settable as FEWBIT_NAME in the environment. */
#ifndef FEWBIT_BASE_OPTIONS_H
#define FEWBIT_BASE_OPTIONS_H

#include "base/err.h"

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

/* The options of the log, for a table of options; options_take_log takes them. */
enum { OPTIONS_LOG_LEVEL = 0x7f00, OPTIONS_LOG_FORMAT };
#define OPTIONS_LOG                                                                                                    \
    {"log-level", OPTIONS_LOG_LEVEL, "LEVEL", 0, "debug, info, warn, error or none", 0}, {                             \
        "log-format", OPTIONS_LOG_FORMAT, "FORMAT", 0, "text, json, or auto: text on a terminal, else json", 0         \
    }

/* Parses the environment first, then argv, which wins: option --log-level is FEWBIT_LOG_LEVEL; a flag without
 * argument is set by "1", "yes" or "true". `parse` gets each option of `argp` as argp_parser_t does and
 * returns 0, ARGP_ERR_UNKNOWN, or EINVAL after err_fail(). --help and --version print and exit 0; an
 * unknown option or a missing argument prints argp's own line and exits with argp_err_exit_status (main sets it to 2);
 * any other usage error gives ERR_USAGE with its line. `flags` are argp's (ARGP_IN_ORDER for subcommands); `*next`,
 * when not NULL, gets the index of the first argument not consumed. */
err options_parse(const struct argp *argp, int argc, char **argv, unsigned flags, int *next, void *input);

/* Whether `key` is an option of the log; *e says how it went. */
bool options_take_log(int key, const char *value, err *e);

/* Whole decimal number in [low, high]; `what` names it in the error. */
err options_number(const char *text, const char *what, int64_t low, int64_t high, int64_t *value);

/* "HOST:PORT" or "[IPV6]:PORT"; an empty host means every address. `host` holds `size` bytes. */
err options_address(const char *text, char *host, size_t size, uint16_t *port);

#endif
