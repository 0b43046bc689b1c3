/* Errors: one code and one line of text.
 *
 * A function that can fail returns an `err` (ERR_OK is 0) and leaves one line, "what was wrong and where",
 * in a buffer of the calling thread. The caller that handles the error prints err_text(); callers in
 * between only return the code, or put a place in front with err_prefix(). Nothing here allocates.
 *
 * Whoever has errors has bool, size_t and the integers of a given width, too. */
#ifndef FEWBIT_BASE_ERR_H
#define FEWBIT_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum err {
    ERR_OK = 0,
    ERR_USAGE,     /* a flag or an argument is wrong */
    ERR_INPUT,     /* a file, a config, a message or a request is malformed or does not fit */
    ERR_NOT_FOUND, /* something named is not there */
    ERR_IO,        /* the operating system refused: disk, permission, descriptor */
    ERR_NETWORK,   /* a connection failed, was lost or timed out */
    ERR_REFUSED,   /* the other side answered, and said no */
    ERR_FULL,      /* a bounded queue, table or buffer has no room now */
    ERR_MEMORY,    /* an allocation failed */
    ERR_STOPPED,   /* asked to stop (a signal) */
    ERR_INTERNAL,  /* a promise inside the program was broken */
} err;

/* Sets the thread's error line (at most 511 bytes, made printable) and returns `code`. */
err err_fail(err code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As err_fail, and appends ": " and the text of the current errno. */
err err_system(err code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "PREFIX: " before the thread's error line and returns `code`; does nothing for ERR_OK. */
err err_prefix(err code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The line set last on this thread; "" when none was. */
const char *err_text(void);

/* Exit codes, the same for every program:
 *   0 done, 1 failed, 2 usage, 3 bad input, 4 not found, 5 disk or system, 6 network, 7 refused, 130 stopped */
int err_exit_code(err code);

/* The exit codes as a paragraph for --help. */
extern const char err_exit_help[];

#endif
