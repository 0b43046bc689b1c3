/* A portion question: a request that hands over one sample by portion, as parts of a multipart body or as JSON, becomes
 * the question that the engine asks its nodes. Pure; the input is not trusted.
 *
 * First it is planned, which reads what is cheap and says how much memory the rest takes; then it is filled. Pictures
 * are left to the caller. Every error names the portion. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_PORTION_QUESTION_H
#define FEWBIT_DECODER_SERVER_HTTP_PORTION_QUESTION_H

#include "decoder_server/core/question.h"
#include "decoder_server/http/multipart.h"
#include "decoder_server/http/portion_input.h"
#include "experiment/experiment.h"

/* The portions that a sample has. Borrowed. */
typedef struct portion_list {
    const experiment_portion *of;
    uint32_t count;
} portion_list;

typedef struct portion_picture {
    uint32_t portion;
    image_type type;
    const uint8_t *bytes;
    size_t length;
} portion_picture;

typedef struct portion_question portion_question;

/* The number of the portion of that name; false: there is none. */
bool portion_list_find(const portion_list *l, span name, uint32_t *portion);

/* Plans the parts of a body, which is borrowed; each part's name is a portion's. ERR_REFUSED: a part is of a kind that
 * its portion cannot be handed over in. ERR_INPUT: an unknown name, a portion twice, or what is in a part. ERR_FULL:
 * more JSON than that. */
err portion_question_from_parts(portion_question **q, const portion_list *l, const uint8_t *body,
                                const multipart_part *parts, uint32_t count);

/* Plans {NAME: [numbers] or {"column": value}}, borrowed until it is filled. */
err portion_question_from_json(portion_question **q, const portion_list *l, const json_t *portions);
void portion_question_free(portion_question *q);

/* Bytes that filling it takes. */
size_t portion_question_bytes(const portion_question *q);

/* Reads everything but the pictures. */
err portion_question_fill(portion_question *q);

/* Pictures, in the order of their portions; and where the values of one go, for the caller to put. */
uint32_t portion_question_pictures(const portion_question *q);
const portion_picture *portion_question_picture(const portion_question *q, uint32_t index);
uint8_t *portion_question_picture_values(const portion_question *q, uint32_t index);

/* Once it is filled and its pictures are there. Borrowed. */
question portion_question_get(const portion_question *q);

#endif
