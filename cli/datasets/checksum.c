#include "cli/datasets/checksum.h"

#include "base/interrupt.h"
#include "base/sha256.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { PIECE_BYTES = 1 << 16 };

static err compare(const char *path, sha256_state *state, const char *sha256) {
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX];
    err e = sha256_finish(state, digest);
    if (e) {
        return e;
    }
    sha256_hex(digest, hex);
    if (strcmp(hex, sha256) != 0) {
        return err_fail(ERR_INPUT, "%s: its SHA-256 is %s, not %s", path, hex, sha256);
    }
    return ERR_OK;
}

static err add_content(const char *path, gzFile file, sha256_state *state) {
    uint8_t piece[PIECE_BYTES];
    int got;
    while ((got = gzread(file, piece, sizeof piece)) > 0) {
        err e = sha256_add(state, piece, (size_t)got);
        e = e ? e : interrupt_check();
        if (e) {
            return e;
        }
    }
    int number = 0;
    gzerror(file, &number);
    if (got < 0 || number != Z_OK) {
        return err_fail(ERR_INPUT, "%s: damaged or cut short", path);
    }
    return ERR_OK;
}

static err add_bytes(const char *path, FILE *file, sha256_state *state) {
    uint8_t piece[PIECE_BYTES];
    size_t got;
    while ((got = fread(piece, 1, sizeof piece, file)) > 0) {
        err e = sha256_add(state, piece, got);
        e = e ? e : interrupt_check();
        if (e) {
            return e;
        }
    }
    return ferror(file) ? err_system(ERR_IO, "%s: cannot read", path) : ERR_OK;
}

static err cannot_open(const char *path) {
    return err_system(errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: cannot open", path);
}

static err finish(err e, const char *path, sha256_state *state, const char *sha256) {
    if (e) {
        sha256_finish(state, NULL);
        return e;
    }
    return compare(path, state, sha256);
}

err checksum_verify_content(const char *path, const char *sha256) {
    gzFile file = gzopen(path, "rb");
    if (!file) {
        return cannot_open(path);
    }
    sha256_state *state = NULL;
    err e = sha256_start(&state);
    if (!e) {
        e = finish(add_content(path, file, state), path, state, sha256);
    }
    gzclose_r(file);
    return e;
}

err checksum_verify_file(const char *path, const char *sha256) {
    FILE *file = fopen(path, "rbe");
    if (!file) {
        return cannot_open(path);
    }
    sha256_state *state = NULL;
    err e = sha256_start(&state);
    if (!e) {
        e = finish(add_bytes(path, file, state), path, state, sha256);
    }
    fclose(file);
    return e;
}
