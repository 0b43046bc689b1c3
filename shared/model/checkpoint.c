#include "model/checkpoint.h"

#include "base/log.h"
#include "nn/ema.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char format_name[] = "fewbit-1";

enum { STATE_NAME_MAX = 96, INPUT_TENSORS = 2 };

typedef struct entry_list {
    safetensors_entry *entries;
    char (*names)[STATE_NAME_MAX];
    size_t count;
} entry_list;

static const char trained[] = "trained.";

static void trained_name(char to[STATE_NAME_MAX], const char *tensor) {
    snprintf(to, STATE_NAME_MAX, "%s%s", trained, tensor);
}

static void state_name(char to[STATE_NAME_MAX], const char *tensor, const char *state) {
    snprintf(to, STATE_NAME_MAX, "optimiser.%s.%s", tensor, state);
}

static const char input_mean[] = "input.mean", input_std[] = "input.std", input_columns[] = "columns";

static void list_input(entry_list *list, const checkpoint_input *input) {
    if (input && input->is_scaled) {
        list->entries[list->count++] = (safetensors_entry){input_mean, 1, &input->channels, input->mean};
        list->entries[list->count++] = (safetensors_entry){input_std, 1, &input->channels, input->std};
    }
}

static err list_entries(entry_list *list, nn_net *net, const nn_optimiser *o) {
    size_t tensors = nn_net_tensor_count(net), most = tensors * (2 + NN_STATES) + INPUT_TENSORS;
    list->entries = calloc(most, sizeof *list->entries);
    list->names = calloc(most, sizeof *list->names);
    if (!list->entries || !list->names) {
        return err_fail(ERR_MEMORY, "no memory to list %zu tensors", most);
    }
    size_t states = 0;
    const char *const *state_names = o ? nn_optimiser_state_names(o, &states) : NULL;
    for (size_t i = 0; i < tensors; i++) {
        const nn_tensor *t = nn_net_tensor(net, i);
        list->entries[list->count++] = (safetensors_entry){t->name, t->rank, t->shape, t->ema ? t->ema : t->value};
    }
    for (size_t i = 0; i < tensors; i++) {
        const nn_tensor *t = nn_net_tensor(net, i);
        if (t->ema) {
            char *name = list->names[list->count];
            trained_name(name, t->name);
            list->entries[list->count++] = (safetensors_entry){name, t->rank, t->shape, t->value};
        }
    }
    for (size_t i = 0; i < tensors; i++) {
        const nn_tensor *t = nn_net_tensor(net, i);
        for (size_t s = 0; t->is_parameter && s < states; s++) {
            char *name = list->names[list->count];
            state_name(name, t->name, state_names[s]);
            list->entries[list->count++] = (safetensors_entry){name, t->rank, t->shape, t->state[s]};
        }
    }
    return ERR_OK;
}

/* Writes the file, or with `path` NULL only says how large it would be. */
static err put(const char *path, const checkpoint_id *id, nn_net *net, const nn_optimiser *o, uint64_t *bytes,
               uint8_t digest[SHA256_BYTES]) {
    char run[20], step[24];
    snprintf(run, sizeof run, "%016" PRIx64, id->run);
    snprintf(step, sizeof step, "%" PRIu64, id->step);
    const char *columns = id->input ? id->input->columns : NULL;
    const safetensors_pair metadata[] = {
        {"format", format_name}, {"part", id->part}, {"run", run}, {"step", step}, {input_columns, columns}};
    size_t pairs = columns ? 5 : 4;
    entry_list list = {0};
    nn_net_use_ema(net, false);
    err e = list_entries(&list, net, o);
    if (!e) {
        list_input(&list, id->input);
    }
    if (!e && path) {
        e = safetensors_write(path, list.entries, list.count, metadata, pairs, digest);
    } else if (!e) {
        e = safetensors_measure(list.entries, list.count, metadata, pairs, bytes, digest);
    }
    free(list.entries);
    free(list.names);
    return e;
}

err checkpoint_save(const char *path, const checkpoint_id *id, nn_net *net, const nn_optimiser *o,
                    uint8_t digest[SHA256_BYTES]) {
    return put(path, id, net, o, NULL, digest);
}

err checkpoint_measure(const checkpoint_id *id, nn_net *net, const nn_optimiser *o, uint64_t *bytes,
                       uint8_t digest[SHA256_BYTES]) {
    return put(NULL, id, net, o, bytes, digest);
}

bool checkpoint_is(const char *path, const uint8_t digest[SHA256_BYTES]) {
    safetensors *file;
    uint8_t here[SHA256_BYTES];
    if (safetensors_open(&file, path)) {
        return false;
    }
    bool is_same = !safetensors_digest(file, here) && memcmp(digest, here, SHA256_BYTES) == 0;
    safetensors_close(file);
    return is_same;
}

static err check_metadata(const safetensors *file, const char *path, const char *key, const char *wanted) {
    const char *value = safetensors_metadata(file, key);
    if (!value || strcmp(value, wanted) != 0) {
        return err_fail(ERR_INPUT, "%s: its %s is '%s', not '%s'", path, key, value ? value : "missing", wanted);
    }
    return ERR_OK;
}

static err check_identity(const safetensors *file, const char *path, const checkpoint_id *id, const uint8_t *expected) {
    char run[20], step[24];
    snprintf(run, sizeof run, "%016" PRIx64, id->run);
    snprintf(step, sizeof step, "%" PRIu64, id->step);
    err e = check_metadata(file, path, "format", format_name);
    e = e ? e : check_metadata(file, path, "part", id->part);
    e = e ? e : check_metadata(file, path, "run", run);
    e = e ? e : check_metadata(file, path, "step", step);
    uint8_t digest[SHA256_BYTES];
    e = e || !expected ? e : safetensors_digest(file, digest);
    if (!e && expected && memcmp(expected, digest, SHA256_BYTES) != 0) {
        return err_fail(ERR_INPUT, "%s: is not the file that was committed (its SHA-256 differs)", path);
    }
    return e;
}

err checkpoint_copy(const safetensors *file, const char *name, const nn_tensor *t, float *values) {
    err e = safetensors_copy(file, name, t->rank, t->shape, values);
    if (e || !strstr(name, "running_var")) {
        return e;
    }
    for (size_t i = 0; i < t->count; i++) {
        if (values[i] < 0) {
            return err_fail(ERR_INPUT, "%s: value %zu of tensor '%s' is %f, and a variance is not below 0",
                            safetensors_path(file), i, name, (double)values[i]);
        }
    }
    return ERR_OK;
}

static err load_values(const safetensors *file, nn_tensor *t) {
    char name[STATE_NAME_MAX];
    err e = checkpoint_copy(file, t->name, t, t->ema ? t->ema : t->value);
    if (e || !t->ema) {
        return e;
    }
    trained_name(name, t->name);
    return checkpoint_copy(file, name, t, t->value);
}

static err load_states(const safetensors *file, nn_tensor *t, const nn_optimiser *o) {
    size_t states;
    const char *const *names = nn_optimiser_state_names(o, &states);
    err e = ERR_OK;
    for (size_t s = 0; s < states && !e; s++) {
        char name[STATE_NAME_MAX];
        state_name(name, t->name, names[s]);
        e = safetensors_copy(file, name, t->rank, t->shape, t->state[s]);
    }
    return e;
}

/* What a missing cell becomes is the data's own affair: a mean changes with each row that is added. */
static json_t *columns_of_features(const char *text) {
    json_t *columns = json_loads(text, 0, NULL), *column;
    size_t i;
    json_array_foreach(columns, i, column) {
        json_object_del(column, "missing");
    }
    return columns;
}

static bool are_same_columns(const char *a, const char *b) {
    json_t *left = columns_of_features(a), *right = columns_of_features(b);
    bool are_same = left && json_equal(left, right);
    json_decref(left);
    json_decref(right);
    return are_same;
}

static err load_input(const safetensors *file, const char *path, checkpoint_input *to) {
    const char *columns = safetensors_metadata(file, input_columns);
    if ((columns != NULL) != (to->columns != NULL) || (columns && !are_same_columns(columns, to->columns))) {
        return err_fail(ERR_INPUT, "%s: was trained on %s columns than the data here has", path,
                        columns && to->columns ? "other"
                        : columns              ? "more"
                                               : "fewer");
    }
    to->is_scaled = safetensors_has(file, input_mean);
    if (!to->is_scaled) {
        return ERR_OK;
    }
    err e = safetensors_copy(file, input_mean, 1, &to->channels, to->mean);
    e = e ? e : safetensors_copy(file, input_std, 1, &to->channels, to->std);
    for (uint32_t c = 0; c < to->channels && !e; c++) {
        e = to->std[c] > 0 ? ERR_OK
                           : err_fail(ERR_INPUT, "%s: value %u of tensor '%s' is not above 0", path, c, input_std);
    }
    return e;
}

err checkpoint_load(const char *path, const checkpoint_id *id, nn_net *net, nn_optimiser *o, const uint8_t *expected) {
    safetensors *file;
    err e = safetensors_open(&file, path);
    if (e) {
        return e;
    }
    e = check_identity(file, path, id, expected);
    e = e || !id->input ? e : load_input(file, path, id->input);
    nn_net_use_ema(net, false);
    nn_net_thaw(net);
    for (size_t i = 0; i < nn_net_tensor_count(net) && !e; i++) {
        nn_tensor *t = nn_net_tensor(net, i);
        e = load_values(file, t);
        if (!e && o && t->is_parameter) {
            e = load_states(file, t, o);
        }
    }
    if (!e && o) {
        o->step = id->step;
    }
    safetensors_close(file);
    return e;
}

err checkpoint_path(const char *folder, uint64_t step, char path[FILE_PATH_MAX]) {
    return file_path(path, FILE_PATH_MAX, "%s/step-%" PRIu64 ".safetensors", folder, step);
}

void checkpoint_commit(const char *folder, const uint64_t *keep, size_t count) {
    char path[FILE_PATH_MAX];
    struct stat status;
    for (size_t i = 0; i < count; i++) {
        if (!checkpoint_path(folder, keep[i], path) && lstat(path, &status) == 0 && S_ISREG(status.st_mode) &&
            chmod(path, status.st_mode & 0555) != 0) {
            log_warn("%s: cannot be made read-only", path);
        }
    }
}

typedef struct pruning {
    const uint64_t *keep;
    size_t count;
    uint64_t newest;      /* of keep */
    uint64_t newest_here; /* of those of keep whose file is there; 0: none is */
    int folder;
} pruning;

static bool is_committed(int folder, const char *name) {
    struct stat status;
    return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && !(status.st_mode & S_IWUSR);
}

static bool is_to_go(const pruning *p, const char *name) {
    uint64_t step;
    int end = 0;
    if (sscanf(name, "step-%" SCNu64 ".safetensors%n", &step, &end) != 1 || end == 0) {
        return false;
    }
    for (size_t i = 0; i < p->count && name[end] == '\0'; i++) {
        if (p->keep[i] == step) {
            return false;
        }
    }
    if (name[end] == '\0') {
        return step < p->newest_here || !is_committed(p->folder, name);
    }
    return strncmp(name + end, FILE_PART_SUFFIX, sizeof FILE_PART_SUFFIX - 1) == 0 && step <= p->newest;
}

static void look_for_newest(pruning *p, const char *folder) {
    char path[FILE_PATH_MAX];
    for (size_t i = 0; i < p->count; i++) {
        p->newest = p->keep[i] > p->newest ? p->keep[i] : p->newest;
        bool is_here = !checkpoint_path(folder, p->keep[i], path) && file_exists(path);
        p->newest_here = is_here && p->keep[i] > p->newest_here ? p->keep[i] : p->newest_here;
    }
}

void checkpoint_prune(const char *folder, const uint64_t *keep, size_t count) {
    DIR *entries = opendir(folder);
    if (!entries) {
        return;
    }
    pruning p = {.keep = keep, .count = count, .folder = dirfd(entries)};
    look_for_newest(&p, folder);
    for (struct dirent *entry; (entry = readdir(entries));) {
        if (is_to_go(&p, entry->d_name) && unlinkat(p.folder, entry->d_name, 0) != 0) {
            log_warn("cannot remove %s/%s", folder, entry->d_name);
        }
    }
    closedir(entries);
}
