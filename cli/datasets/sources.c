#include "cli/datasets/sources.h"

#include "base/interrupt.h"
#include "base/sha256.h"
#include "cli/datasets/download.h"
#include "cli/subprocess.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { FILE_BYTES_MAX = 64 << 20, COPY_BYTES_MAX = 160 << 20, ARCHIVE_BYTES_MAX = 256 << 20, PIECE_BYTES = 1 << 16 };

/* Published digests. */

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

static err verify_digest(const char *path, void *file, int (*read)(void *file, void *to, unsigned size),
                         const char *sha256) {
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

/* Of the content: decompressed where the file is gzipped. ERR_INPUT names the file and both digests. */
static err verify_content(const char *path, const char *sha256) {
    gzFile file = gzopen(path, "rb");
    err e = verify_digest(path, file, read_content, sha256);
    gzclose_r(file);
    return e;
}

/* Of the file's own bytes. */
static err verify_file(const char *path, const char *sha256) {
    FILE *file = fopen(path, "rbe");
    err e = verify_digest(path, file, read_file, sha256);
    if (file) {
        fclose(file);
    }
    return e;
}

/* Folders. */

static err check_edition(const dataset *set, const char *folder, size_t index, size_t edition) {
    char path[FILE_PATH_MAX];
    err e = dataset_locate(set, folder, index, path, sizeof path);
    return e ? e : verify_content(path, set->files[index].sha256[edition]);
}

err sources_check(const dataset *set, const char *folder, size_t *edition) {
    size_t found = set->edition_count;
    while (found > 0 && check_edition(set, folder, 0, found - 1) != ERR_OK) {
        found--;
    }
    size_t wanted = found > 0 ? found - 1 : 0; /* none fits: says so about the published one */
    for (size_t i = 0; i < set->file_count; i++) {
        err e = check_edition(set, folder, i, wanted);
        if (e) {
            return e;
        }
    }
    *edition = wanted;
    return ERR_OK;
}

static err install_checked(const sources_request *g, const char *checked, const char *name) {
    char final[FILE_PATH_MAX];
    err e = file_path(final, sizeof final, "%s/%s", g->to, name);
    if (e) {
        return e;
    }
    return rename(checked, final) == 0 ? ERR_OK : err_system(ERR_IO, "%s: cannot rename into place", final);
}

/* Another form of the file (plain beside gzipped) would be found in its place. */
static void remove_plain(const sources_request *g, size_t index, const char *installed) {
    char plain[FILE_PATH_MAX];
    const char *name = g->set->files[index].name;
    if (strcmp(name, installed) != 0 && !file_path(plain, sizeof plain, "%s/%s", g->to, name)) {
        unlink(plain);
    }
}

static err copy_checked(const char *from, const char *to, const char *sha256) {
    uint8_t *bytes = NULL;
    size_t length = 0;
    err e = file_read(from, COPY_BYTES_MAX, &bytes, &length);
    if (e) {
        return e;
    }
    const file_span span = {bytes, length};
    e = file_write_atomic(to, &span, 1);
    free(bytes);
    return e ? e : verify_content(to, sha256);
}

static err copy_file(const sources_request *g, const char *folder, size_t index, size_t edition) {
    char from[FILE_PATH_MAX], copy[FILE_PATH_MAX];
    err e = dataset_locate(g->set, folder, index, from, sizeof from);
    const char *name = basename(from);
    e = e ? e : file_path(copy, sizeof copy, "%s/%s.copy", g->to, name);
    if (e) {
        return e;
    }
    e = copy_checked(from, copy, g->set->files[index].sha256[edition]);
    e = e ? e : install_checked(g, copy, name);
    if (e) {
        unlink(copy);
        return e;
    }
    remove_plain(g, index, name);
    return ERR_OK;
}

static err take_folder(const sources_request *g, const char *folder) {
    size_t edition = 0;
    err e = sources_check(g->set, folder, &edition);
    for (size_t i = 0; i < g->set->file_count && !e; i++) {
        e = copy_file(g, folder, i, edition);
    }
    return e;
}

/* A folder of the set's own in `parent`, or `parent` itself. */
static err take_below(const sources_request *g, const char *parent) {
    char own[FILE_PATH_MAX];
    err e = file_path(own, sizeof own, "%s/%s", parent, g->set->name);
    return e ? e : take_folder(g, file_exists(own) ? own : parent);
}

/* Unpacks an archive in a temporary folder beside the files to be. */
static err take_archive(const sources_request *g, const char *archive) {
    char folder[FILE_PATH_MAX], log[FILE_PATH_MAX];
    err e = subprocess_folder_make(g->to, folder, sizeof folder);
    if (e) {
        return e;
    }
    const char *const argv[] = {"tar", "-xzf", archive, "-C", folder, NULL};
    e = file_path(log, sizeof log, "%s/log", folder);
    e = e ? e : subprocess_run(argv, log);
    e = e ? e : take_folder(g, folder);
    subprocess_folder_remove(folder);
    return e;
}

typedef err verifier(const char *path, const char *sha256);

static err fetch_once(const download *d, verifier *verify, const char *sha256) {
    err e = download_file(d);
    if (!e) {
        e = err_prefix(verify(d->to, sha256), "%s", d->url);
    }
    if (e == ERR_INPUT) {
        unlink(d->to);
    }
    return e;
}

/* Fetches BASE/NAME to the folder's NAME.part and checks it. What an earlier run left there may be of another
 * source or damaged: then it is fetched once more from the start. */
static err fetch_checked(const sources_request *g, const char *base, const char *name, uint64_t cap, const char *sha256,
                         verifier *verify, char part[FILE_PATH_MAX]) {
    char url[FILE_PATH_MAX];
    size_t length = strlen(base);
    const char *slash = length > 0 && base[length - 1] == '/' ? "" : "/";
    err e = file_path(url, sizeof url, "%s%s%s", base, slash, name);
    e = e ? e : file_path(part, FILE_PATH_MAX, "%s/%s.part", g->to, name);
    if (e) {
        return e;
    }
    const download d = {.url = url, .to = part, .name = name, .cap = cap, .allow_http = g->mirror != NULL};
    bool resumed = file_exists(part);
    e = fetch_once(&d, verify, sha256);
    return e == ERR_INPUT && resumed ? fetch_once(&d, verify, sha256) : e;
}

static err fetch_archive(const sources_request *g, const char *base) {
    char part[FILE_PATH_MAX];
    err e = fetch_checked(g, base, g->set->archive, ARCHIVE_BYTES_MAX, g->set->archive_sha256, verify_file, part);
    if (e) {
        return e;
    }
    e = take_archive(g, part);
    if (!e) {
        unlink(part);
    }
    return e;
}

static err fetch_file(const sources_request *g, const char *base, size_t index) {
    char name[128], part[FILE_PATH_MAX];
    const dataset_file *file = &g->set->files[index];
    if (check_edition(g->set, g->to, index, 0) == ERR_OK) {
        return ERR_OK;
    }
    err e = file_path(name, sizeof name, "%s.gz", file->name);
    e = e ? e : fetch_checked(g, base, name, FILE_BYTES_MAX, file->sha256[0], verify_content, part);
    e = e ? e : install_checked(g, part, name);
    if (!e) {
        remove_plain(g, index, name);
    }
    return e;
}

static err take_mirror(const sources_request *g, const char *base) {
    if (g->set->archive) {
        return fetch_archive(g, base);
    }
    err e = ERR_OK;
    for (size_t i = 0; i < g->set->file_count && !e; i++) {
        e = fetch_file(g, base, i);
    }
    return e;
}

typedef struct source {
    const char *set, *where; /* a folder, or a mirror's base URL */
} source;

static const source sources[] = {
    {"fashion-mnist", "/usr/share/datasets/fashion-mnist"}, /* Debian's dataset-fashion-mnist */
    {"mnist", "https://ossci-datasets.s3.amazonaws.com/mnist"},
    {"mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"},
    {"fashion-mnist", "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"},
    {"cifar10", "https://www.cs.toronto.edu/~kriz"},
    {"cifar100", "https://www.cs.toronto.edu/~kriz"},
};

static err ask(const sources_request *g, const char *where, err (*take)(const sources_request *g, const char *where)) {
    err e = take(g, where);
    if (!e) {
        printf("%s: taken from %s\n", g->set->name, where);
    } else if (e != ERR_STOPPED) {
        fprintf(stderr, "fewbit: note: %s did not have it: %s\n", where, err_text());
    }
    return e;
}

static err none_has_it(const sources_request *g, err e, size_t asked) {
    return e == ERR_STOPPED
               ? e
               : err_fail(e == ERR_NETWORK ? e : ERR_NOT_FOUND,
                          "%s: none of the %zu sources asked had it; --from DIR or --mirror URL name another",
                          g->set->name, asked);
}

err sources_take(const sources_request *g) {
    if (g->from || g->mirror) {
        err e = ask(g, g->from ? g->from : g->mirror, g->from ? take_below : take_mirror);
        return e ? none_has_it(g, e, 1) : e;
    }
    size_t asked = 0;
    err worst = ERR_NOT_FOUND;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        const source *s = &sources[i];
        bool is_folder = s->where[0] == '/';
        if (strcmp(s->set, g->set->name) != 0 || (is_folder && !file_exists(s->where))) {
            continue;
        }
        err e = ask(g, s->where, is_folder ? take_folder : take_mirror);
        if (!e || e == ERR_STOPPED) {
            return e;
        }
        asked++;
        worst = e == ERR_NETWORK ? e : worst;
    }
    return none_has_it(g, worst, asked);
}
