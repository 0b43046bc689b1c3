#include "encoder_node/checkpoint_store.h"

#include "base/clock.h"
#include "base/json_fields.h"
#include "experiment/load.h"
#include "experiment/serialize.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_HEX = 16, MINUTE_S = 60, TRIES = 5, DEPTH = 4 /* RUN, portion-K, TRAINING, step-N */ };
enum { BLOCK_BYTES = 4096 }; /* what a disk gives a file or a folder at the least */

static const char record_name[] = "run.json";

err checkpoint_store_open(checkpoint_store *s, const checkpoint_store_config *config) {
    *s = (checkpoint_store){.config = *config, .lock = -1};
    err e = file_path(s->run_folder, sizeof s->run_folder, "%s/%016" PRIx64 "/portion-%u", config->state, config->run,
                      config->portion);
    return e ? e : file_path(s->folder, sizeof s->folder, "%s/%016" PRIx64, s->run_folder, config->training);
}

static checkpoint_id id_of(const checkpoint_store *s, uint64_t step) {
    checkpoint_id id = {.run = s->config.run, .step = step, .input = s->config.input};
    snprintf(id.part, sizeof id.part, "encoder.%u", s->config.portion);
    return id;
}

/* What a run's folder is of. */

static err record_path(const checkpoint_store *s, char path[FILE_PATH_MAX]) {
    return file_path(path, FILE_PATH_MAX, "%s/%s", s->run_folder, record_name);
}

static err read_record(const char *path, experiment *described, char digest[SHA256_HEX]) {
    static const char *const fields[] = {"experiment", "portion_digest", NULL};
    json_fields m;
    err e = json_fields_open(&m, path, fields);
    if (e) {
        return e;
    }
    json_fields_digest(&m, "portion_digest", digest);
    const json_t *text = json_object_get(m.root, "experiment");
    if (json_is_string(text) && json_string_length(text) <= EXPERIMENT_TEXT_MAX) {
        e = experiment_parse(path, json_string_value(text), json_string_length(text), described);
    } else {
        json_fields_refuse(&m, "experiment", "is not the text of an experiment");
    }
    err other = json_fields_close(&m);
    return e ? e : other;
}

static err check_record(const checkpoint_store *s) {
    char path[FILE_PATH_MAX], digest[SHA256_HEX] = "";
    experiment here;
    bool is_same = false;
    err e = record_path(s, path);
    if (e || !file_exists(path)) {
        return e;
    }
    e = read_record(path, &here, digest);
    e = e ? e : experiment_compare(&here, s->config.experiment, &is_same);
    if (!e && !is_same) {
        return err_fail(ERR_INPUT, "%s: is of another experiment than the one the server gives run %016" PRIx64, path,
                        s->config.run);
    }
    if (!e && strcmp(digest, s->config.portion_digest) != 0) {
        return err_fail(ERR_INPUT, "%s: is of data with digest %.12s, this node's portion has %.12s", path, digest,
                        s->config.portion_digest);
    }
    return e;
}

static err write_record(const checkpoint_store *s) {
    char path[FILE_PATH_MAX], text[EXPERIMENT_TEXT_MAX];
    size_t length;
    err e = record_path(s, path);
    if (e || file_exists(path)) {
        return e;
    }
    e = experiment_serialize(s->config.experiment, text, &length);
    return e ? e
             : json_fields_write(path, json_pack("{s:s%, s:s}", "experiment", text, length, "portion_digest",
                                                 s->config.portion_digest));
}

/* Folders. Another process may take one away that has just become empty. */
static err make_folders(const char *folder) {
    err e = ERR_OK;
    for (int i = 0; i < TRIES; i++) {
        e = file_make_folders(folder);
        if (!e || errno != ENOENT) {
            break;
        }
    }
    return e;
}

/* Whether the lock is of the folder that is there: who held it before may have taken the folder away. */
static bool is_lock_of(const checkpoint_store *s) {
    struct stat locked, there;
    return fstat(s->lock, &locked) == 0 && stat(s->run_folder, &there) == 0 && locked.st_dev == there.st_dev &&
           locked.st_ino == there.st_ino;
}

static err lock_folder(checkpoint_store *s) {
    err e = ERR_OK;
    for (int i = 0; i < TRIES; i++) {
        e = make_folders(s->run_folder);
        e = e ? e : file_lock(s->run_folder, &s->lock);
        if (e ? errno != ENOENT : is_lock_of(s)) {
            return e;
        }
        if (!e) {
            close(s->lock);
            s->lock = -1;
        }
    }
    return e ? e : err_fail(ERR_IO, "%s: another process keeps removing it", s->run_folder);
}

err checkpoint_store_claim(checkpoint_store *s) {
    err e = lock_folder(s);
    return e ? e : check_record(s);
}

/* Who does not hold the lock leaves the folder, empty or not, to who does. */
void checkpoint_store_close(checkpoint_store *s) {
    if (s->lock >= 0) {
        char above[FILE_PATH_MAX];
        rmdir(s->run_folder);
        if (!file_path(above, sizeof above, "%s/%016" PRIx64, s->config.state, s->config.run)) {
            rmdir(above);
        }
        close(s->lock);
    }
    *s = (checkpoint_store){.lock = -1};
}

/* Room. */

static uint64_t in_blocks(uint64_t bytes) {
    return (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

/* What lies `depth` levels below a folder takes of a disk; the folder's descriptor is taken over, links are not
 * followed. */
static uint64_t bytes_below(int folder, int depth) {
    DIR *entries = folder >= 0 ? fdopendir(folder) : NULL;
    uint64_t bytes = 0;
    if (!entries) {
        if (folder >= 0) {
            close(folder);
        }
        return 0;
    }
    for (struct dirent *entry; (entry = readdir(entries));) {
        struct stat status;
        if (entry->d_name[0] == '.' || fstatat(dirfd(entries), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        if (S_ISREG(status.st_mode)) {
            bytes += in_blocks((uint64_t)status.st_size);
        } else if (S_ISDIR(status.st_mode) && depth > 1) {
            bytes += BLOCK_BYTES;
            bytes += bytes_below(openat(dirfd(entries), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW),
                                 depth - 1);
        }
    }
    closedir(entries);
    return bytes;
}

/* Whether so many bytes more may be written now. */
static err take_room(const checkpoint_store *s, uint64_t bytes) {
    checkpoint_store_quota *q = s->config.quota;
    uint64_t now_ns = clock_now_ns();
    if (now_ns - q->minute_began_ns >= MINUTE_S * (uint64_t)1000000000) {
        q->minute_began_ns = now_ns;
        q->written = 0;
    }
    uint64_t there = bytes_below(open(s->config.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC), DEPTH);
    if (bytes > q->max_bytes || there > q->max_bytes - bytes) {
        return err_fail(ERR_FULL, "%s: holds %" PRIu64 " MiB, a checkpoint of %" PRIu64 " KiB more is over --max-state",
                        s->config.state, there >> 20, bytes >> 10);
    }
    if (q->written > q->max_bytes - bytes) {
        return err_fail(ERR_FULL, "%s: as much as --max-state allows was written within a minute", s->config.state);
    }
    q->written += bytes;
    return ERR_OK;
}

/* Steps. */

/* Whether the file at `path` is there, and stays: it has these very bytes, or was committed with others. */
static err look_at(const char *path, const uint8_t digest[SHA256_BYTES], bool *is_same) {
    struct stat status;
    *is_same = false;
    if (lstat(path, &status) != 0) {
        return ERR_OK;
    }
    *is_same = checkpoint_is(path, digest);
    return *is_same || (status.st_mode & S_IWUSR)
               ? ERR_OK
               : err_fail(ERR_INPUT, "%s: was committed with other bytes, which stay", path);
}

err checkpoint_store_save(checkpoint_store *s, uint64_t step, nn_net *net, const nn_optimiser *o,
                          uint8_t digest[SHA256_BYTES]) {
    char path[FILE_PATH_MAX];
    checkpoint_id id = id_of(s, step);
    uint64_t bytes = 0;
    bool is_there = false;
    if (s->lock < 0) {
        return err_fail(ERR_INTERNAL, "%s: is open for reading alone", s->run_folder);
    }
    err e = checkpoint_path(s->folder, step, path);
    e = e ? e : checkpoint_measure(&id, net, o, &bytes, digest);
    e = e ? e : look_at(path, digest, &is_there);
    if (e || is_there) {
        return e;
    }
    e = take_room(s, bytes);
    e = e ? e : make_folders(s->folder);
    e = e ? e : write_record(s);
    return e ? e : checkpoint_save(path, &id, net, o, NULL);
}

/* The next folder of a training in which the step lies, its own first: `path` is of its file. False: there is no more.
 */
typedef struct search {
    const checkpoint_store *store;
    uint64_t step;
    bool has_begun;
    DIR *trainings;
} search;

static bool is_training(const char *name) {
    return strlen(name) == NAME_HEX && strspn(name, "0123456789abcdef") == NAME_HEX;
}

static bool find_next(search *at, char path[FILE_PATH_MAX]) {
    char folder[FILE_PATH_MAX];
    if (!at->has_begun) {
        at->has_begun = true;
        at->trainings = opendir(at->store->run_folder);
        if (!checkpoint_path(at->store->folder, at->step, path) && file_exists(path)) {
            return true;
        }
    }
    for (struct dirent *entry; at->trainings && (entry = readdir(at->trainings));) {
        if (is_training(entry->d_name) &&
            !file_path(folder, sizeof folder, "%s/%s", at->store->run_folder, entry->d_name) &&
            !checkpoint_path(folder, at->step, path) && file_exists(path)) {
            return true;
        }
    }
    return false;
}

static void end_search(search *at) {
    if (at->trainings) {
        closedir(at->trainings);
    }
}

bool checkpoint_store_has(const checkpoint_store *s, uint64_t step) {
    char path[FILE_PATH_MAX];
    search at = {.store = s, .step = step};
    bool found = find_next(&at, path);
    end_search(&at);
    return found;
}

err checkpoint_store_load(const checkpoint_store *s, uint64_t step, nn_net *net, nn_optimiser *o,
                          const uint8_t *digest) {
    char path[FILE_PATH_MAX];
    checkpoint_id id = id_of(s, step);
    search at = {.store = s, .step = step};
    err e = err_fail(ERR_NOT_FOUND,
                     "%s/*/step-%" PRIu64 ".safetensors: No such file (was this run trained with another --state?)",
                     s->run_folder, step);
    while (e && find_next(&at, path)) {
        e = checkpoint_load(path, &id, net, o, digest);
    }
    end_search(&at);
    return e;
}

void checkpoint_store_commit(const checkpoint_store *s, const uint64_t *keep, size_t count) {
    checkpoint_commit(s->folder, keep, count);
    checkpoint_prune(s->folder, keep, count);
}
