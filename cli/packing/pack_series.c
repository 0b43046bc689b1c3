#include "cli/packing/pack_series.h"

#include "base/file.h"
#include "base/options.h"
#include "base/utf8.h"
#include "data/columns.h"

#include <limits.h>
#include <stdlib.h>
#include <strings.h>

/* A file as it is read: the next line is at `at`. */
typedef struct series {
    pack_samples *samples;
    const pack_dimensions *wanted;
    char *at, *end;
    uint32_t line;
    uint32_t dimensions; /* of a sample; 0: not known yet */
    uint32_t length;     /* values of a dimension; 0: not known yet */
    bool may_differ;     /* in length */
    bool has_classes, has_shape, labels;
} series;

err pack_series_parse_dimensions(const char *text, pack_dimensions *d) {
    *d = (pack_dimensions){0};
    for (const char *at = text;; at++) {
        char *end;
        unsigned long first = at[0] >= '0' && at[0] <= '9' ? strtoul(at, &end, 10) : ULONG_MAX, last = first;
        if (first < PACK_SERIES_DIMENSIONS_MAX && end[0] == '-' && end[1] >= '0' && end[1] <= '9') {
            last = strtoul(end + 1, &end, 10);
        }
        bool follows = d->count == 0 || first > d->list[d->count - 1];
        if (last >= PACK_SERIES_DIMENSIONS_MAX || last < first || !follows || (end[0] != ',' && end[0] != '\0')) {
            return err_fail(ERR_USAGE, "'%.40s' is no list of dimensions such as 0-2 or 0,2,5: ascending, below %d",
                            text, PACK_SERIES_DIMENSIONS_MAX);
        }
        for (; first <= last; first++) {
            d->list[d->count++] = (uint32_t)first;
        }
        at = end;
        if (at[0] == '\0') {
            return ERR_OK;
        }
    }
}

/* Puts "FILE: line 7" before the error's line. */
static err here(const series *r) {
    return err_prefix(ERR_INPUT, "%s: line %u", pack_samples_path(r->samples), r->line);
}

/* The next line that says something, without blanks around it; NULL: there is none. */
static char *next_line(series *r) {
    while (r->at < r->end) {
        char *line = r->at, *stop = memchr(line, '\n', (size_t)(r->end - line));
        stop = stop ? stop : r->end;
        r->at = stop + 1;
        r->line++;
        line += strspn(line, " \t");
        while (stop > line && strchr(" \t\r\n", stop[-1])) {
            stop--;
        }
        *stop = '\0';
        if (line < stop && line[0] != '#') {
            return line;
        }
    }
    return NULL;
}

/* The text behind a key of the header, if it is that one. */
static const char *value_of(const char *line, const char *key) {
    size_t length = strlen(key);
    if (strncasecmp(line, key, length) != 0 || (line[length] != '\0' && !strchr(" \t", line[length]))) {
        return NULL;
    }
    return line + length + strspn(line + length, " \t");
}

static err take_key(series *r, const char *line) {
    const char *stamps = value_of(line, "@timeStamps"), *classes = value_of(line, "@classLabel");
    const char *dimensions = value_of(line, "@dimensions"), *one = value_of(line, "@univariate");
    if (stamps && strncasecmp(stamps, "true", 4) == 0) {
        err_fail(ERR_INPUT, "series with time stamps are not taken");
        return here(r);
    }
    if (line[0] != '@') {
        err_fail(ERR_INPUT, "neither @ nor # before @data: this is no .ts file");
        return here(r);
    }
    r->has_classes = classes ? strncasecmp(classes, "true", 4) == 0 : r->has_classes;
    r->dimensions = one && strncasecmp(one, "true", 4) == 0 ? 1 : r->dimensions;
    int64_t count;
    if (dimensions && options_number(dimensions, "@dimensions", 1, PACK_SERIES_DIMENSIONS_MAX, &count)) {
        return here(r);
    }
    r->dimensions = dimensions ? (uint32_t)count : r->dimensions;
    return ERR_OK;
}

static err read_header(series *r) {
    for (const char *line; (line = next_line(r));) {
        if (value_of(line, "@data")) {
            return ERR_OK;
        }
        err e = take_key(r, line);
        if (e) {
            return e;
        }
    }
    return err_fail(ERR_INPUT, "%s: has no @data", pack_samples_path(r->samples));
}

/* Cuts a text at each `mark`; returns how many pieces there are, and puts at most `most` in the list. */
static uint32_t cut(char *text, char mark, char **pieces, uint32_t most) {
    uint32_t count = 0;
    for (char *next = text; next; count++) {
        char *piece = next;
        next = strchr(piece, mark);
        if (next) {
            *next++ = '\0';
        }
        if (count < most) {
            pieces[count] = piece;
        }
    }
    return count;
}

static uint32_t values_in(const char *text) {
    uint32_t count = 1;
    for (; (text = strchr(text, ',')); text++) {
        count++;
    }
    return count;
}

static err take_values(const series *r, char *text, float *to) {
    uint32_t count = 0;
    for (char *next = text; next; count++) {
        char *value = next + strspn(next, " \t");
        next = strchr(value, ',');
        if (next) {
            *next++ = '\0';
        }
        float unused;
        if (columns_parse_number(value, count < r->length ? &to[count] : &unused)) {
            return err_prefix(ERR_INPUT, "value %u", count);
        }
    }
    if (count != r->length && !r->may_differ) {
        return err_fail(ERR_INPUT, "has %u values, those before %u (--length N makes them all as long)", count,
                        r->length);
    }
    for (; count < r->length; count++) {
        to[count] = 0;
    }
    return ERR_OK;
}

/* The shape, from the first sample. */
static err take_shape(series *r, char *const *pieces) {
    const pack_dimensions *d = r->wanted;
    if (d->count > 0 && d->list[d->count - 1] >= r->dimensions) {
        return err_fail(ERR_INPUT, "%s: has the dimensions 0 to %u, not %u", pack_samples_path(r->samples),
                        r->dimensions - 1, d->list[d->count - 1]);
    }
    r->length = r->length > 0 ? r->length : values_in(pieces[d->count > 0 ? d->list[0] : 0]);
    const portion_shape shape = {
        .type = PORTION_F32, .rank = 2, .dims = {d->count > 0 ? d->count : r->dimensions, r->length}};
    return pack_samples_set_shape(r->samples, &shape);
}

static err take_dimensions(series *r, char *const *pieces) {
    err e = r->has_shape ? ERR_OK : take_shape(r, pieces);
    r->has_shape = true;
    float *to = e ? NULL : pack_samples_values(r->samples);
    if (!to) {
        return e;
    }
    for (uint32_t i = 0; i < r->samples->shape.dims[0]; i++) {
        uint32_t dimension = r->wanted->count > 0 ? r->wanted->list[i] : i;
        if (take_values(r, pieces[dimension], to + (size_t)i * r->length)) {
            err_prefix(ERR_INPUT, "dimension %u", dimension);
            return here(r);
        }
    }
    return ERR_OK;
}

static err take_sample(series *r, char *line) {
    char *pieces[PACK_SERIES_DIMENSIONS_MAX + 1];
    uint32_t count = cut(line, ':', pieces, PACK_SERIES_DIMENSIONS_MAX + 1);
    uint32_t dimensions = count - (r->has_classes && count > 0);
    if (dimensions == 0 || dimensions > PACK_SERIES_DIMENSIONS_MAX) {
        err_fail(ERR_INPUT, "has %u dimensions, not 1 to %d", dimensions, PACK_SERIES_DIMENSIONS_MAX);
        return here(r);
    }
    r->dimensions = r->dimensions > 0 ? r->dimensions : dimensions;
    if (dimensions != r->dimensions) {
        err_fail(ERR_INPUT, "has %u dimensions, not %u", dimensions, r->dimensions);
        return here(r);
    }
    const char *class_name = r->has_classes ? pieces[dimensions] + strspn(pieces[dimensions], " \t") : NULL;
    err e = r->labels ? ERR_OK : take_dimensions(r, pieces);
    return e ? e : pack_samples_add(r->samples, NULL, class_name, r->line);
}

err pack_series_read(pack_samples *s, const pack_dimensions *d, uint32_t length, bool labels) {
    uint8_t *bytes;
    size_t size;
    err e = file_read(pack_samples_path(s), PACK_BYTES_MAX, &bytes, &size);
    if (e) {
        return e;
    }
    series r = {.samples = s,
                .wanted = d,
                .at = (char *)bytes + utf8_mark((char *)bytes, size),
                .end = (char *)bytes + size,
                .length = length,
                .may_differ = length > 0,
                .labels = labels};
    e = memchr(bytes, '\0', size) ? err_fail(ERR_INPUT, "%s: has a zero byte: this is no text", pack_samples_path(s))
                                  : read_header(&r);
    for (char *line; !e && (line = next_line(&r));) {
        e = take_sample(&r, line);
    }
    free(bytes);
    return e;
}
