#include "experiment/yaml_document.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 12 };

/* A byte that is no character is told by its place in the text, everything else by its mark. */
static size_t line_of_problem(const yaml_parser_t *parser, const char *text, size_t length) {
    if (parser->error != YAML_READER_ERROR) {
        return parser->problem_mark.line + 1;
    }
    size_t line = 1;
    for (size_t i = 0; i < length && i < parser->problem_offset; i++) {
        line += text[i] == '\n';
    }
    return line;
}

static err refuse_document(const char *where, const yaml_parser_t *parser, const char *text, size_t length) {
    if (parser->error == YAML_MEMORY_ERROR) {
        return err_fail(ERR_MEMORY, "%s: no memory to read it", where);
    }
    return err_fail(ERR_INPUT, "%s:%zu: %s", where, line_of_problem(parser, text, length),
                    parser->problem ? parser->problem : "is no YAML");
}

/* Where a look over a text's events stands: the keys on the way down to it. */
typedef struct place {
    const char *where;
    size_t documents, depth;
    struct {
        char key[40];
        bool is_mapping, is_at_value;
    } levels[DEPTH_MAX + 1];
} place;

/* "encoder.refinement", for a message; "" at the top. */
static void name_place(const place *p, char *to, size_t size) {
    size_t used = 0;
    to[0] = '\0';
    for (size_t i = 1; i <= p->depth && used < size; i++) {
        if (p->levels[i].is_mapping && p->levels[i].key[0]) {
            used += (size_t)snprintf(to + used, size - used, "%s%s", used ? "." : "key ", p->levels[i].key);
        }
    }
}

static err refuse_event(const place *p, const yaml_event_t *event, const char *what) {
    char name[DEPTH_MAX * 40 + 8];
    name_place(p, name, sizeof name);
    return err_fail(ERR_INPUT, "%s:%zu: %s%s%s", p->where, event->start_mark.line + 1, name, name[0] ? ": " : "", what);
}

static err check_node(const place *p, const yaml_event_t *event, const yaml_char_t *anchor, const yaml_char_t *tag) {
    return anchor ? refuse_event(p, event, "an anchor (&) is not taken")
           : tag  ? refuse_event(p, event, "a tag (!) is not taken")
                  : ERR_OK;
}

/* A node has come: in a mapping, keys and values take turns. */
static err check_scalar(place *p, const yaml_event_t *event) {
    const char *text = (const char *)event->data.scalar.value;
    bool is_key = p->levels[p->depth].is_mapping && !p->levels[p->depth].is_at_value;
    if (is_key) {
        snprintf(p->levels[p->depth].key, sizeof p->levels[p->depth].key, "%s", text);
    }
    if (strlen(text) != event->data.scalar.length) {
        return refuse_event(p, event, "a zero byte in a text is not taken");
    }
    err e = check_node(p, event, event->data.scalar.anchor, event->data.scalar.tag);
    p->levels[p->depth].is_at_value = is_key;
    return e;
}

/* libyaml's time grows with the square of the depth of brackets: what is deeper than any text of ours is refused. */
static err open_level(place *p, const yaml_event_t *event, bool is_mapping) {
    if (p->levels[p->depth].is_mapping && !p->levels[p->depth].is_at_value) {
        return refuse_event(p, event, "a key must be a word");
    }
    p->levels[p->depth].is_at_value = false;
    if (p->depth == DEPTH_MAX) {
        return err_fail(ERR_INPUT, "%s:%zu: nests deeper than %d levels", p->where, event->start_mark.line + 1,
                        DEPTH_MAX);
    }
    p->depth++;
    p->levels[p->depth].is_mapping = is_mapping;
    p->levels[p->depth].is_at_value = false;
    p->levels[p->depth].key[0] = '\0';
    return ERR_OK;
}

static err check_event(place *p, const yaml_event_t *event) {
    err e = ERR_OK;
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (event->data.document_start.tag_directives.start != event->data.document_start.tag_directives.end) {
            return refuse_event(p, event, "a %TAG directive is not taken");
        }
        return p->documents++ == 0 ? ERR_OK : refuse_event(p, event, "a second document is not taken");
    case YAML_ALIAS_EVENT:
        return refuse_event(p, event, "an alias (*) is not taken");
    case YAML_SCALAR_EVENT:
        return check_scalar(p, event);
    case YAML_SEQUENCE_START_EVENT:
        e = check_node(p, event, event->data.sequence_start.anchor, event->data.sequence_start.tag);
        return e ? e : open_level(p, event, false);
    case YAML_MAPPING_START_EVENT:
        e = check_node(p, event, event->data.mapping_start.anchor, event->data.mapping_start.tag);
        return e ? e : open_level(p, event, true);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        p->depth--;
        return ERR_OK;
    default:
        return ERR_OK;
    }
}

static err begin(yaml_parser_t *parser, const char *where, const char *text, size_t length) {
    if (!yaml_parser_initialize(parser)) {
        return err_fail(ERR_MEMORY, "%s: no memory to read it", where);
    }
    yaml_parser_set_input_string(parser, (const unsigned char *)text, length);
    return ERR_OK;
}

/* Refuses on the way, before a whole document is asked for. */
static err check_events(const char *where, const char *text, size_t length) {
    yaml_parser_t parser;
    err e = begin(&parser, where, text, length);
    if (e) {
        return e;
    }
    place p = {.where = where};
    for (bool is_over = false; !is_over && !e;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            e = refuse_document(where, &parser, text, length);
            break;
        }
        is_over = event.type == YAML_STREAM_END_EVENT;
        e = check_event(&p, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return e;
}

err yaml_document_read(const char *where, const char *text, size_t length, yaml_document_t *document) {
    yaml_parser_t parser;
    err e = check_events(where, text, length);
    e = e ? e : begin(&parser, where, text, length);
    if (e) {
        return e;
    }
    if (!yaml_parser_load(&parser, document)) {
        e = refuse_document(where, &parser, text, length);
    }
    yaml_parser_delete(&parser);
    return e;
}

/* Words as the core schema of YAML 1.2 reads them. */

static const char *skip_digits(const char *c) {
    while (isdigit((unsigned char)*c)) {
        c++;
    }
    return c;
}

bool yaml_word_is_whole(const char *text) {
    errno = 0;
    bool good = *text && *skip_digits(text) == '\0' && (text[0] != '0' || text[1] == '\0');
    return good && strtoull(text, NULL, 10) > 0 ? errno == 0 : good;
}

/* Decimal, with or without sign, fraction and exponent. */
static bool is_decimal(const char *text) {
    const char *c = text + (*text == '-' || *text == '+');
    const char *whole = c;
    c = skip_digits(c);
    size_t digits = (size_t)(c - whole);
    if (*c == '.') {
        const char *fraction = ++c;
        c = skip_digits(c);
        digits += (size_t)(c - fraction);
    }
    if (digits > 0 && (*c == 'e' || *c == 'E')) {
        const char *power = c + 1 + (c[1] == '-' || c[1] == '+');
        c = skip_digits(power);
        digits = c > power ? digits : 0;
    }
    return digits > 0 && *c == '\0';
}

bool yaml_word_is_number(const char *text) {
    const char *c = text + (*text == '-' || *text == '+');
    return is_decimal(text) && !(c[0] == '0' && isdigit((unsigned char)c[1])) && isfinite(strtof(text, NULL));
}

bool yaml_word_is_nothing(const char *text) {
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    bool is = false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        is = is || strcmp(text, words[i]) == 0;
    }
    return is;
}

bool yaml_word_is_text(const char *word) {
    static const char *const others[] = {"true",  "True",  "TRUE",  "false", "False", "FALSE", ".inf", ".Inf", ".INF",
                                         "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", ".nan", ".NaN", ".NAN"};
    const char *digits = word + 2;
    bool is_text = !yaml_word_is_nothing(word) && !is_decimal(word);
    if (strncmp(word, "0x", 2) == 0 || strncmp(word, "0o", 2) == 0) {
        is_text = !*digits || digits[strspn(digits, word[1] == 'x' ? "0123456789abcdefABCDEF" : "01234567")];
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        is_text = is_text && strcmp(word, others[i]) != 0;
    }
    return is_text;
}

const yaml_node_pair_t *yaml_document_pair(yaml_document_t *document, const yaml_node_t *node, const char *key) {
    if (!node || node->type != YAML_MAPPING_NODE) {
        return NULL;
    }
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        if (strcmp((const char *)yaml_document_get_node(document, pair->key)->data.scalar.value, key) == 0) {
            return pair;
        }
    }
    return NULL;
}
