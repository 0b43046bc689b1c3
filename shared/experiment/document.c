#include "experiment/document.h"

#include <stdbool.h>

enum { DEPTH_MAX = 8 };

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

/* libyaml's time grows with the square of the depth of brackets: what is deeper than any text of ours is refused on
 * the way, before a whole document is asked for. */
static err check_depth(const char *where, const char *text, size_t length) {
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        return err_fail(ERR_MEMORY, "%s: no memory to read it", where);
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    err e = ERR_OK;
    int depth = 0;
    for (bool is_over = false; !is_over && !e;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            e = refuse_document(where, &parser, text, length);
            break;
        }
        is_over = event.type == YAML_STREAM_END_EVENT;
        depth += event.type == YAML_MAPPING_START_EVENT || event.type == YAML_SEQUENCE_START_EVENT;
        depth -= event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT;
        if (depth > DEPTH_MAX) {
            e = err_fail(ERR_INPUT, "%s:%zu: nests deeper than %d levels", where, event.start_mark.line + 1, DEPTH_MAX);
        }
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return e;
}

err document_load(const char *where, const char *text, size_t length, yaml_document_t *document) {
    yaml_parser_t parser;
    err e = check_depth(where, text, length);
    if (e) {
        return e;
    }
    if (!yaml_parser_initialize(&parser)) {
        return err_fail(ERR_MEMORY, "%s: no memory to read it", where);
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    if (!yaml_parser_load(&parser, document)) {
        e = refuse_document(where, &parser, text, length);
    }
    yaml_parser_delete(&parser);
    return e;
}
