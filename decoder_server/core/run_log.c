#include "decoder_server/core/run_log.h"

#include "base/file.h"
#include "base/line_file.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

void run_log_write(const char *folder, const char *event, json_t *fields) {
    struct timeval now;
    gettimeofday(&now, NULL);
    json_t *line = json_pack("{s:f, s:s}", "time", (double)now.tv_sec + (double)now.tv_usec * 1e-6, "event", event);
    if (fields) {
        json_object_update(line, fields);
        json_decref(fields);
    }
    char path[FILE_PATH_MAX];
    char *text = file_path(path, sizeof path, "%s/log.jsonl", folder) ? NULL : json_dumps(line, JSON_COMPACT);
    char *whole = NULL;
    line_file to;
    if (!text || asprintf(&whole, "%s\n", text) < 0) {
        log_warn("%s: no memory for the event %s", path, event);
    } else if (line_file_open(&to, path)) {
        log_warn("%s", err_text());
    } else {
        line_file_write(&to, whole, strlen(whole));
        line_file_close(&to);
    }
    free(whole);
    free(text);
    json_decref(line);
}
