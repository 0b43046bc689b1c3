#include "cli/packing/npz.h"

#include "base/dynbuf.h"
#include "base/file.h"

#include <minizip/unzip.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { NAME_MAX_BYTES = 256, MEMBERS_MAX = 1024, LISTED_MAX = 300, DEFLATE_RATIO_MAX = 1032, STORED = 0, DEFLATED = 8 };
enum { READ_BYTES_MAX = 1 << 26 };

static err refuse(const char *path, const char *what) {
    return err_fail(ERR_INPUT, "%s: %s", path, what);
}

/* The name of the present member without ".npy"; false: it is no array. */
static bool take_name(unzFile zip, unz_file_info64 *info, char name[NAME_MAX_BYTES]) {
    if (unzGetCurrentFileInfo64(zip, info, name, NAME_MAX_BYTES, NULL, 0, NULL, 0) != UNZ_OK ||
        info->size_filename >= NAME_MAX_BYTES) {
        return false;
    }
    char *end = strrchr(name, '.');
    if (!end || strcmp(end, ".npy") != 0) {
        return false;
    }
    *end = '\0';
    return true;
}

/* Leaves the archive at the wanted member. */
static err find(unzFile zip, const char *path, const char *wanted, unz_file_info64 *info) {
    char list[LISTED_MAX] = "", name[NAME_MAX_BYTES];
    dynbuf names = dynbuf_over(list, sizeof list);
    unz64_file_pos at;
    uint32_t arrays = 0, members = 0;
    for (int more = unzGoToFirstFile(zip); more == UNZ_OK && members < MEMBERS_MAX; more = unzGoToNextFile(zip)) {
        members++;
        if (!take_name(zip, info, name)) {
            continue;
        }
        if (wanted && strcmp(name, wanted) == 0) {
            return ERR_OK;
        }
        if (arrays++ == 0) {
            unzGetFilePos64(zip, &at);
        }
        dynbuf_printf(&names, "%s%s", arrays == 1 ? "" : ", ", name);
    }
    if (arrays == 0) {
        return refuse(path, "holds no NumPy array");
    }
    if (wanted) {
        return err_fail(ERR_NOT_FOUND, "%s: has no array '%s', but %s", path, wanted, list);
    }
    if (arrays > 1) {
        return err_fail(ERR_INPUT, "%s: has several arrays, --array names one of %s", path, list);
    }
    bool is_there = unzGoToFilePos64(zip, &at) == UNZ_OK && take_name(zip, info, name);
    return is_there ? ERR_OK : refuse(path, "is a damaged zip file");
}

static err check_member(const char *path, const unz_file_info64 *info, uint64_t file_bytes, size_t most) {
    if ((info->compression_method != STORED && info->compression_method != DEFLATED) || (info->flag & 1) != 0) {
        return refuse(path, "its array is neither stored nor deflated, or encrypted");
    }
    if (info->uncompressed_size > most) {
        return err_fail(ERR_INPUT, "%s: its array has %llu bytes, more than %zu", path,
                        (unsigned long long)info->uncompressed_size, most);
    }
    uint64_t ratio = info->compression_method == STORED ? 1 : DEFLATE_RATIO_MAX;
    if (info->compressed_size > file_bytes || info->uncompressed_size / ratio > info->compressed_size) {
        return refuse(path, "is a damaged zip file: its array has more bytes than it has room for");
    }
    return ERR_OK;
}

static err read_member(unzFile zip, const char *path, size_t length, uint8_t *to) {
    if (unzOpenCurrentFile(zip) != UNZ_OK) {
        return refuse(path, "is a damaged zip file");
    }
    size_t have = 0;
    while (have < length) {
        size_t left = length - have;
        int got = unzReadCurrentFile(zip, to + have, (unsigned)(left < READ_BYTES_MAX ? left : READ_BYTES_MAX));
        if (got <= 0) {
            break;
        }
        have += (size_t)got;
    }
    bool is_sound = unzCloseCurrentFile(zip) == UNZ_OK; /* its CRC */
    return have == length && is_sound ? ERR_OK : refuse(path, "is a damaged zip file: its array cannot be unpacked");
}

static err read_found(unzFile zip, const char *path, const unz_file_info64 *info, uint8_t **bytes, size_t *length) {
    *length = (size_t)info->uncompressed_size;
    *bytes = malloc(*length + 1);
    if (!*bytes) {
        return err_fail(ERR_MEMORY, "%s: no memory for %zu bytes", path, *length);
    }
    err e = read_member(zip, path, *length, *bytes);
    if (e) {
        free(*bytes);
        *bytes = NULL;
    }
    return e;
}

err npz_read(const char *path, const char *name, size_t most, uint8_t **bytes, size_t *length) {
    int fd;
    uint64_t file_bytes;
    err e = file_open(path, &fd, &file_bytes);
    if (e) {
        return e;
    }
    close(fd);
    unzFile zip = unzOpen64(path);
    if (!zip) {
        return refuse(path, "is no zip file");
    }
    unz_file_info64 info;
    e = find(zip, path, name, &info);
    e = e ? e : check_member(path, &info, file_bytes, most);
    e = e ? e : read_found(zip, path, &info, bytes, length);
    unzClose(zip);
    return e;
}
