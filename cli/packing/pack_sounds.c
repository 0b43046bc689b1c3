#include "cli/packing/pack_sounds.h"

#include "base/file.h"
#include "base/interrupt.h"
#include "cli/packing/file_names.h"

#include <math.h>
#include <sndfile.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

typedef struct sounds {
    pack_samples *samples;
    const pack_dimensions *wanted;
    uint32_t length; /* frames of a portion; 0: as the first file */
    bool may_differ; /* in length */
    bool is_mono;
    SF_INFO first; /* of the first file; no channels: not known yet */
} sounds;

bool pack_sounds_are(const char *name) {
    const char *end = strrchr(name, '.');
    return end && strcasecmp(end, ".wav") == 0;
}

/* Channels that are taken of a file. */
static uint32_t taken(const sounds *w, const SF_INFO *info) {
    return w->wanted->count > 0 ? w->wanted->count : (uint32_t)info->channels;
}

static err check(sounds *w, const SF_INFO *info) {
    uint32_t last = w->wanted->count > 0 ? w->wanted->list[w->wanted->count - 1] : 0;
    if (last >= (uint32_t)info->channels) {
        return err_fail(ERR_INPUT, "has the channels 0 to %d, not %u (--dimensions)", info->channels - 1, last);
    }
    if (w->first.channels == 0) {
        w->first = *info;
        w->length = w->length > 0 ? w->length : (uint32_t)info->frames;
        const portion_shape shape = {
            .type = PORTION_F32, .rank = 2, .dims = {w->is_mono ? 1 : taken(w, info), w->length}};
        return pack_samples_set_shape(w->samples, &shape);
    }
    if (info->channels != w->first.channels || info->samplerate != w->first.samplerate) {
        return err_fail(ERR_INPUT, "has %d channels at %d Hz, the first sound %d at %d Hz", info->channels,
                        info->samplerate, w->first.channels, w->first.samplerate);
    }
    if (info->frames != w->length && !w->may_differ) {
        return err_fail(ERR_INPUT, "has %lld values a channel, the first sound %u (--length N makes them all as long)",
                        (long long)info->frames, w->length);
    }
    return ERR_OK;
}

/* From [frames, channels] to [channels, length], or [1, length]. */
static err lay(const sounds *w, const float *frames, uint32_t count, float *to) {
    uint32_t channels = (uint32_t)w->first.channels, count_taken = taken(w, &w->first);
    for (uint32_t i = 0; i < count; i++) {
        float sum = 0;
        for (uint32_t k = 0; k < count_taken; k++) {
            uint32_t channel = w->wanted->count > 0 ? w->wanted->list[k] : k;
            float value = frames[(size_t)i * channels + channel];
            if (!isfinite(value)) {
                return err_fail(ERR_INPUT, "value %u of channel %u is not finite", i, channel);
            }
            sum += value;
            if (!w->is_mono) {
                to[(size_t)k * w->length + i] = value;
            }
        }
        if (w->is_mono) {
            to[i] = sum / (float)count_taken;
        }
    }
    return ERR_OK;
}

static err read_frames(const sounds *w, SNDFILE *sound, const SF_INFO *info) {
    uint32_t count = (uint64_t)info->frames < w->length ? (uint32_t)info->frames : w->length;
    float *to = pack_samples_values(w->samples);
    if (!to) {
        return ERR_OK; /* pack_samples_check tells */
    }
    float *frames = calloc((size_t)count * (uint32_t)info->channels, sizeof *frames);
    if (!frames) {
        return err_fail(ERR_MEMORY, "no memory for its values");
    }
    memset(to, 0, portion_shape_bytes(&w->samples->shape));
    err e = sf_readf_float(sound, frames, count) == count
                ? lay(w, frames, count, to)
                : err_fail(ERR_INPUT, "ends before the values that its header says");
    free(frames);
    return e;
}

static err read_open(sounds *w, int fd) {
    SF_INFO info = {0};
    SNDFILE *sound = sf_open_fd(fd, SFM_READ, &info, SF_FALSE);
    if (!sound) {
        return err_fail(ERR_INPUT, "%s", sf_strerror(NULL));
    }
    bool is_sane = info.channels > 0 && info.frames > 0 && info.frames <= PORTION_ELEMENTS_MAX * (sf_count_t)1024;
    err e = is_sane ? check(w, &info) : err_fail(ERR_INPUT, "has no values, or too many");
    e = e ? e : read_frames(w, sound, &info);
    sf_close(sound);
    return e;
}

/* file_open takes regular files alone: a pipe would be waited for. */
static err read_sound(sounds *w, const char *path) {
    int fd;
    uint64_t length;
    err e = file_open(path, &fd, &length);
    if (e) {
        return e;
    }
    e = read_open(w, fd);
    close(fd);
    return err_prefix(e, "%s", path);
}

static err add_sound(sounds *w, const file_name *file) {
    char path[FILE_PATH_MAX];
    err e = file_names_path(file, pack_samples_path(w->samples), path, sizeof path);
    e = e ? e : interrupt_check();
    return e ? e : read_sound(w, path);
}

err pack_sounds_read(pack_samples *s, const pack_dimensions *d, uint32_t length, bool is_mono, bool labels) {
    sounds w = {.samples = s, .wanted = d, .length = length, .may_differ = length > 0, .is_mono = is_mono};
    file_names files;
    err e = file_names_list(&files, pack_samples_path(s), pack_sounds_are);
    if (e) {
        return e;
    }
    e = file_names_check(&files, pack_samples_path(s));
    for (uint32_t i = 0; i < files.count && !e; i++) {
        e = labels ? ERR_OK : add_sound(&w, &files.list[i]);
        e = e ? e : pack_samples_add(s, files.list[i].id, files.list[i].inside, 0);
    }
    file_names_free(&files);
    return e;
}
