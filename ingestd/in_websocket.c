/* in_websocket.c - see in_websocket.h. */
#include "ingestd/in_websocket.h"

#include "daemon/credential.h"

#include <stdlib.h>
#include <string.h>

/* Who writes, and where. */
struct writer {
    struct mutation *mutation; /* borrowed */
    struct control_request request;
    char text[]; /* owned; what the request's spans point to */
};

static uint16_t
answer(void *arg, struct ts_span messages, struct ts_text *out)
{
    struct writer *const writer = arg;

    writer->request.body = messages;
    return mutation_execute(writer->mutation, &writer->request, out);
}

static void
done(void *arg)
{
    struct writer *const writer = arg;

    explicit_bzero(writer->text, writer->request.credential.bytes);
    free(writer);
}

/* A copy that outlives the HTTP request. */
static struct writer *
writer_new(struct mutation *mutation, const struct control_request *request)
{
    const struct ts_span key = request->credential, store = request->store;
    struct writer *writer = malloc(sizeof *writer + key.bytes + store.bytes);

    if (writer == NULL)
        return NULL;
    writer->mutation = mutation;
    writer->request = *request;
    memcpy(writer->text, key.at, key.bytes);
    memcpy(writer->text + key.bytes, store.at, store.bytes);
    writer->request.credential.at = writer->text;
    writer->request.store.at = writer->text + key.bytes;
    return writer;
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
        .done = done,
        .arg = writer_new(mutation, &request),
        .max_message_bytes =
            (size_t)atomic_load_explicit(&mutation->settings->max_line_bytes, memory_order_relaxed),
        .group = group,
    };
    if (options.arg == NULL)
        http_answer_error(req, TS_FAIL_PLAIN(TS_E_NOMEM));
    else
        message_socket_accept(req, &options);
}
