/* in_websocket.c - see in_websocket.h. */
#include "ingestd/in_websocket.h"

#include "daemon/credential.h"
#include "daemon/held_request.h"

#include <string.h>

static uint16_t
answer(void *arg, struct ts_span messages, struct ts_text *out)
{
    struct held_request *const held = arg;

    held->request.body = messages;
    return mutation_execute(held->ctx, &held->request, out);
}

void
in_websocket_write(struct http_request *req, struct mutation *mutation,
                   struct message_sockets *group)
{
    struct control_request request = {.op = CONTROL_INSERT_MESSAGES};
    struct message_socket_options options;
    struct ts_span format;
    enum ts_err err;

    credential_store_key(req, &request.credential);
    request.store =
        (struct ts_span){.at = http_path_param(req, 0), .bytes = strlen(http_path_param(req, 0))};
    if (http_query(req, "format", &format) && format.bytes > 0 &&
        !http_query_is(req, "format", "full"))
        request.flags = CONTROL_COMPACT;
    err = mutation_authorize(mutation, &request);
    if (err != TS_OK) {
        http_answer_error(req, err);
        return;
    }
    options = (struct message_socket_options){
        .answer = answer,
        .done = held_request_free,
        .arg = held_request_new(&request, mutation),
        .max_message_bytes =
            (size_t)atomic_load_explicit(&mutation->settings->max_line_bytes, memory_order_relaxed),
        .group = group,
    };
    if (options.arg == NULL)
        http_answer_error(req, TS_FAIL_PLAIN(TS_E_NOMEM));
    else
        message_socket_accept(req, &options);
}
