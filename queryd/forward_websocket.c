/* forward_websocket.c - see forward_websocket.h. */
#include "queryd/forward_websocket.h"

#include "daemon/credential.h"
#include "daemon/held_request.h"
#include "queryd/auth.h"
#include "queryd/forward.h"

#include <string.h>

/* As ingestd words an answer. */
static uint16_t
answer_error(enum ts_err err, struct ts_text *out)
{
    ts_text_puts(out, "{\"error\":");
    ts_text_json_string(out, ts_error_text(), strlen(ts_error_text()));
    ts_text_puts(out, "}");
    return (uint16_t)ts_error_http_status(err);
}

static uint16_t
answer(void *arg, struct ts_span messages, struct ts_text *out)
{
    struct held_request *const held = arg;
    struct forward_reply reply;
    uint16_t status;
    enum ts_err err;

    held->request.body = messages;
    err = forward_call(held->ctx, &held->request, &reply);
    if (err != TS_OK)
        return answer_error(err, out);
    status = reply.reply.http_status;
    ts_text_add(out, reply.reply.body.at, reply.reply.body.bytes);
    forward_reply_done(&reply);
    return status;
}

void
forward_websocket_write(struct http_request *req, void *ctx)
{
    struct control_request request = {.op = CONTROL_INSERT_MESSAGES};
    struct message_socket_options options = {.answer = answer, .done = held_request_free};
    const struct queryd *queryd = ctx;
    struct ts_span format;
    struct store *store;

    if (!auth_store(req, ctx, TS_SCOPE_WRITE, &store))
        return;
    if (!forward_is_connected(queryd->forward)) {
        http_answer_error(req, TS_FAIL(TS_E_UNAVAILABLE, "ingestd is not running"));
        store_release(store);
        return;
    }
    credential_store_key(req, &request.credential);
    request.store = (struct ts_span){.at = store_name(store), .bytes = strlen(store_name(store))};
    if (http_query(req, "format", &format) && format.bytes > 0 &&
        !http_query_is(req, "format", "full"))
        request.flags = CONTROL_COMPACT;
    options.arg = held_request_new(&request, queryd->forward);
    options.max_message_bytes = queryd->max_message_bytes;
    options.group = queryd->writers;
    if (options.arg == NULL)
        http_answer_error(req, TS_FAIL_PLAIN(TS_E_NOMEM));
    else
        message_socket_accept(req, &options);
    store_release(store);
}
