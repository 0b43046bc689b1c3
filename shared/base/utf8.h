/* UTF-8: code points of a text that the other side sent, and which of them may be shown. */
#ifndef FEWBIT_BASE_UTF8_H
#define FEWBIT_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the sequence at `text`, which ends with a zero; 0 where there is none. *point is its code point.
 * Source: RFC 3629, section 4. */
size_t utf8_take(const char *text, uint32_t *point);

/* Whether a code point changes how a terminal or a log shows what is around it: the controls C0, C1 and DEL, the line
 * and paragraph separators, the bidirectional embeddings, overrides and isolates. */
bool utf8_is_control(uint32_t point);

/* Whether a text is UTF-8 without such controls. */
bool utf8_is_plain(const char *text);

/* Makes a text plain: C0 controls and DEL become spaces; what is no UTF-8, and other controls, question marks. It gets
 * no longer. */
void utf8_make_plain(char *text);

/* Bytes of the byte order mark that a text begins with: 3, or 0 where there is none. */
size_t utf8_mark(const char *text, size_t length);

#endif
