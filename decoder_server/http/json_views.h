/* What /v1/nodes and /v1/model show, as JSON. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_JSON_VIEWS_H
#define FEWBIT_DECODER_SERVER_HTTP_JSON_VIEWS_H

#include "data/dataset.h"
#include "decoder_server/core/run_dir.h"
#include "decoder_server/core/stats.h"
#include "decoder_server/http/strbuf.h"

void json_views_nodes(strbuf *t, const stats *r);

/* `commit` is the one that is served; NULL while there is none (training). */
void json_views_model(strbuf *t, const run_dir *r, const dataset *set, const partition *shape,
                      const manifest_commit *commit);

#endif
