#include "decoder_server/core/address_file.h"

#include "base/address.h"
#include "base/json_fields.h"

#include <unistd.h>

static json_t *address_json(const char *host, uint16_t port) {
    char text[ADDRESS_TEXT_MAX];
    return json_string(address_text(text, host, port));
}

err address_file_write(const char *path, const char *host, uint16_t port, const char *http_host, uint16_t http_port) {
    if (!path) {
        return ERR_OK;
    }
    json_t *j = json_pack("{s:o, s:i}", "nodes", address_json(host, port), "pid", (int)getpid());
    if (http_host) {
        json_object_set_new(j, "http", address_json(http_host, http_port));
    }
    return json_fields_write(path, j);
}
