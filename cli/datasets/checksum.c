#include "cli/datasets/checksum.h"

#include "base/interrupt.h"
#include "base/sha256.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { PIECE_BYTES = 1 << 16 };

static int read_file(void *file, void *to, unsigned size) {
    size_t got = fread(to, 1, size, file);
    return ferror((FILE *)file) ? -1 : (int)got;
}

static int read_content(void *file, void *to, unsigned size) {
    int got = gzread(file, to, size), number = 0;
    gzerror(file, &number);
    return number == Z_OK ? got : -1;
}

static err add_all(const char *path, void *file, int (*read)(void *file, void *to, unsigned size),
                   sha256_state *state) {
    uint8_t piece[PIECE_BYTES];
    int got;
    err e = ERR_OK;
    while (!e && (got = read(file, piece, sizeof piece)) != 0) {
        e = got < 0 ? err_fail(ERR_INPUT, "%s: damaged or cut short", path) : sha256_add(state, piece, (size_t)got);
        e = e ? e : interrupt_check();
    }
    return e;
}

static err verify(const char *path, void *file, int (*read)(void *file, void *to, unsigned size), const char *sha256) {
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX];
    sha256_state *state = NULL;
    if (!file) {
        return err_system(errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: cannot open", path);
    }
    err e = sha256_start(&state);
    if (e) {
        return e;
    }
    e = add_all(path, file, read, state);
    err finished = sha256_finish(state, e ? NULL : digest);
    if (e || finished) {
        return e ? e : finished;
    }
    sha256_hex(digest, hex);
    return strcmp(hex, sha256) == 0 ? ERR_OK : err_fail(ERR_INPUT, "%s: its SHA-256 is %s, not %s", path, hex, sha256);
}

err checksum_verify_content(const char *path, const char *sha256) {
    gzFile file = gzopen(path, "rb");
    err e = verify(path, file, read_content, sha256);
    gzclose_r(file);
    return e;
}

err checksum_verify_file(const char *path, const char *sha256) {
    FILE *file = fopen(path, "rbe");
    err e = verify(path, file, read_file, sha256);
    if (file) {
        fclose(file);
    }
    return e;
}
