#include "data/idx.h"

#include "base/byte_reader.h"
#include "base/file.h"
#include "base/interrupt.h"

#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

enum { TYPE_UNSIGNED_BYTE = 0x08, MAGIC_BYTES = 4, SIZE_BYTES = 4, DEFLATE_RATIO_MAX = 1032, GZIP_TRAILER = 8 };
enum { READ_BYTES_MAX = 1 << 22 }; /* then a stop is looked for */

typedef struct idx_file {
    gzFile gz;
    int fd; /* the gzFile's */
    const char *path;
    uint64_t stored; /* bytes on disk */
    uint8_t header[MAGIC_BYTES + IDX_RANK_MAX * SIZE_BYTES];
} idx_file;

static err open_file(idx_file *file, const char *path) {
    *file = (idx_file){.path = path};
    err e = file_open(path, &file->fd, &file->stored);
    if (e) {
        return e;
    }
    file->gz = gzdopen(file->fd, "rb");
    if (!file->gz) {
        close(file->fd);
        return err_fail(ERR_MEMORY, "%s: no memory to read it", path);
    }
    return ERR_OK;
}

static err read_failed(const idx_file *file, const char *what) {
    int number = 0;
    gzerror(file->gz, &number);
    if (number == Z_ERRNO) {
        return err_system(ERR_IO, "%s: cannot read", file->path);
    }
    if (number != Z_OK && number != Z_BUF_ERROR) {
        return err_fail(ERR_INPUT, "%s: damaged gzip stream", file->path);
    }
    return err_fail(ERR_INPUT, "%s: truncated: ends inside %s", file->path, what);
}

static err read_all(const idx_file *file, uint8_t *to, size_t length, const char *what) {
    while (length > 0) {
        unsigned piece = (unsigned)(length < READ_BYTES_MAX ? length : READ_BYTES_MAX);
        int got = gzread(file->gz, to, piece);
        err e = got <= 0 ? read_failed(file, what) : interrupt_check();
        if (e) {
            return e;
        }
        to += got;
        length -= (size_t)got;
    }
    return ERR_OK;
}

/* Reading on to the end makes zlib check the stream's CRC and length too. */
static err expect_end(const idx_file *file) {
    uint8_t extra;
    int got = gzread(file->gz, &extra, 1);
    if (got > 0) {
        return err_fail(ERR_INPUT, "%s: has bytes after its last element", file->path);
    }
    int number = 0;
    gzerror(file->gz, &number);
    return got < 0 || number != Z_OK ? read_failed(file, "the gzip stream") : ERR_OK;
}

/* zlib does not tell what follows the last member of a gzip file: so the file must end as a member does, with the
 * CRC and the length of what it held, which is the end of what was read. (Zeros that pad it do: as an empty one.) */
static err expect_trailer(const idx_file *file, const idx_array *array) {
    uint8_t trailer[GZIP_TRAILER];
    if (gzdirect(file->gz) || array->length > UINT32_MAX - sizeof file->header) {
        return ERR_OK; /* no gzip file; or the trailer's length, of 32 bits, does not tell */
    }
    err e = file_read_at(file->fd, file->path, file->stored - GZIP_TRAILER, trailer, GZIP_TRAILER);
    if (e) {
        return e;
    }
    byte_reader c = byte_reader_over(trailer, GZIP_TRAILER);
    uint32_t sum = byte_reader_u32_le(&c), length = byte_reader_u32_le(&c);
    size_t header = MAGIC_BYTES + array->rank * SIZE_BYTES;
    size_t before = length > array->length ? length - array->length : 0, inside = length - before;
    uLong found = crc32(0, NULL, 0);
    if (before <= header) {
        found = crc32_z(found, file->header + header - before, before);
        found = crc32_z(found, array->bytes + array->length - inside, inside);
    }
    return before <= header && found == sum ? ERR_OK
                                            : err_fail(ERR_INPUT, "%s: has bytes after its gzip stream", file->path);
}

static err read_magic(idx_file *file, idx_array *array) {
    uint8_t *magic = file->header;
    err e = read_all(file, magic, MAGIC_BYTES, "the header");
    if (e) {
        return e;
    }
    if (magic[0] != 0 || magic[1] != 0) {
        return err_fail(ERR_INPUT, "%s: not an IDX file (starts with 0x%02x%02x, not 0x0000)", file->path, magic[0],
                        magic[1]);
    }
    if (magic[2] != TYPE_UNSIGNED_BYTE) {
        return err_fail(ERR_INPUT, "%s: element type is 0x%02x, not 0x08 (unsigned byte)", file->path, magic[2]);
    }
    if (magic[3] < 1 || magic[3] > IDX_RANK_MAX) {
        return err_fail(ERR_INPUT, "%s: rank is %u, not 1 to %d", file->path, magic[3], IDX_RANK_MAX);
    }
    array->rank = magic[3];
    return ERR_OK;
}

static err read_sizes(idx_file *file, size_t cap, idx_array *array) {
    uint8_t *sizes = file->header + MAGIC_BYTES;
    err e = read_all(file, sizes, array->rank * SIZE_BYTES, "the header");
    if (e) {
        return e;
    }
    byte_reader c = byte_reader_over(sizes, array->rank * SIZE_BYTES);
    array->length = 1;
    for (uint32_t i = 0; i < array->rank; i++) {
        array->dims[i] = byte_reader_u32_be(&c);
        if (array->dims[i] == 0) {
            return err_fail(ERR_INPUT, "%s: size %u of the header is 0", file->path, i);
        }
        if (array->dims[i] > cap / array->length) {
            return err_fail(ERR_INPUT, "%s: the header promises more than the %zu elements allowed", file->path, cap);
        }
        array->length *= array->dims[i];
    }
    if (array->length / DEFLATE_RATIO_MAX > file->stored) {
        return err_fail(ERR_INPUT, "%s: truncated: the header promises %zu elements, the file has %llu bytes",
                        file->path, array->length, (unsigned long long)file->stored);
    }
    return ERR_OK;
}

static err read_array(idx_file *file, size_t cap, idx_array *array) {
    err e = read_magic(file, array);
    e = e ? e : read_sizes(file, cap, array);
    if (e) {
        return e;
    }
    array->bytes = malloc(array->length);
    if (!array->bytes) {
        return err_fail(ERR_MEMORY, "%s: no memory for %zu elements", file->path, array->length);
    }
    e = read_all(file, array->bytes, array->length, "the elements");
    e = e ? e : expect_end(file);
    return e ? e : expect_trailer(file, array);
}

err idx_read(const char *path, size_t cap, idx_array *array) {
    *array = (idx_array){0};
    idx_file file;
    err e = open_file(&file, path);
    if (e) {
        return e;
    }
    e = read_array(&file, cap, array);
    gzclose_r(file.gz);
    if (e) {
        idx_free(array);
    }
    return e;
}

void idx_free(idx_array *array) {
    free(array->bytes);
    *array = (idx_array){0};
}
