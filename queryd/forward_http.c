/* forward_http.c - see forward_http.h. */
#include "queryd/forward_http.h"

#include "daemon/credential.h"
#include "daemon/http_bounds.h"
#include "queryd/auth.h"
#include "queryd/forward.h"
#include "queryd/forward_share.h"

#include <string.h>

#define SHARED_BYTES 16384u /* larger ones are worth a message of their own */

static struct ts_span
span_of(const char *text)
{
    return (struct ts_span){.at = text, .bytes = text != NULL ? strlen(text) : 0};
}

static void
answer_reply(struct http_request *req, const struct control_reply *reply)
{
    char content_type[CONTROL_MAX_CONTENT_TYPE_BYTES + 1];
    size_t bytes = reply->content_type.bytes;

    if (bytes >= sizeof content_type)
        bytes = 0;
    if (bytes > 0)
        memcpy(content_type, reply->content_type.at, bytes);
    content_type[bytes] = '\0';
    if (reply->http_status == 503)
        http_add_answer_header(req, "Retry-After", "1");
    http_answer(req, reply->http_status, bytes > 0 ? content_type : HTTP_TYPE_JSON, reply->body.at,
                reply->body.bytes);
}

/* What a message has no room for is told here, in the words that ingestd would use. */
static enum ts_err
check_lengths(const struct control_request *request)
{
    if (request->content_type.bytes > CONTROL_MAX_CONTENT_TYPE_BYTES)
        return TS_FAIL_PLAIN(TS_E_CONTENT);
    if (request->credential.bytes > CONTROL_MAX_CREDENTIAL_BYTES)
        return request->op == CONTROL_CREATE_STORE ? TS_FAIL_PLAIN(TS_E_ADMIN_INVALID)
                                                   : TS_FAIL_PLAIN(TS_E_KEY_INVALID);
    if (request->argument.bytes > CONTROL_MAX_ARGUMENT_BYTES)
        return request->op == CONTROL_DELETE_TIME
                   ? TS_FAIL_PLAIN(TS_E_TIME)
                   : TS_FAIL(TS_E_PARAM, "Idempotency-Key has %zu bytes, at most 128 are allowed",
                             request->argument.bytes);
    return TS_OK;
}

/* Whether ingestd is there is asked before the body is read: a client that may send megabytes is
 * told at once. */
static enum ts_err
forward(struct http_request *req, struct queryd *queryd, struct control_request *request,
        bool is_shared)
{
    struct forward_reply reply;
    enum ts_err err;

    if (!forward_is_connected(queryd->forward))
        return TS_FAIL(TS_E_UNAVAILABLE, "ingestd is not running");
    err = http_body(req, 0, &request->body);
    if (err != TS_OK)
        return err;
    request->content_type = span_of(http_header(req, "Content-Type"));
    err = check_lengths(request);
    if (err == TS_OK && is_shared && request->body.bytes <= SHARED_BYTES)
        err = forward_share_call(queryd->share, request, &reply);
    else if (err == TS_OK)
        err = forward_call(queryd->forward, request, &reply);
    if (err != TS_OK)
        return err;
    if (reply.reply.http_status != 401 || !http_key_failed(req))
        answer_reply(req, &reply.reply);
    forward_reply_done(&reply);
    return TS_OK;
}

/* The admin key is ingestd's secret: here it is only seen whether there is one. */
void
forward_http_create_store(struct http_request *req, void *ctx)
{
    struct control_request request = {.op = CONTROL_CREATE_STORE};
    enum ts_err err;

    credential_admin_key(req, &request.credential);
    if (request.credential.bytes == 0)
        err = TS_FAIL_PLAIN(TS_E_ADMIN_MISSING);
    else
        err = forward(req, ctx, &request, false);
    if (err != TS_OK)
        http_answer_error(req, err);
}

/* True if an insert does not wait for the disk, so that others may ride with it. */
static bool
is_quick(struct store *store)
{
    struct ts_view *view;

    return store_view(store, &view) == TS_OK && ts_view_options(view)->sync_ms != TS_SYNC_EACH;
}

/* A request about the store that the path names; its key has to be good for `scope`. */
static void
forward_of_store(struct http_request *req, struct queryd *queryd, unsigned scope,
                 struct control_request *request)
{
    struct store *store;
    enum ts_err err;

    if (!auth_store(req, queryd, scope, &store))
        return;
    credential_store_key(req, &request->credential);
    request->store = span_of(store_name(store));
    err = forward(req, queryd, request, request->op == CONTROL_INSERT && is_quick(store));
    if (err != TS_OK)
        http_answer_error(req, err);
    store_release(store);
}

void
forward_http_insert(struct http_request *req, void *ctx)
{
    struct control_request request = {.op = CONTROL_INSERT};

    request.argument = span_of(http_header(req, "Idempotency-Key"));
    forward_of_store(req, ctx, TS_SCOPE_WRITE, &request);
}

void
forward_http_insert_batch(struct http_request *req, void *ctx)
{
    struct control_request request = {.op = CONTROL_INSERT_BATCH};

    request.argument = span_of(http_header(req, "Idempotency-Key"));
    if (http_query_is(req, "atomic", "true"))
        request.flags = CONTROL_ATOMIC;
    forward_of_store(req, ctx, TS_SCOPE_WRITE, &request);
}

void
forward_http_delete_time(struct http_request *req, void *ctx)
{
    struct control_request request = {.op = CONTROL_DELETE_TIME};

    request.argument = span_of(http_path_param(req, 1));
    forward_of_store(req, ctx, TS_SCOPE_DELETE, &request);
}

void
forward_http_delete_range(struct http_request *req, void *ctx)
{
    struct control_request request = {.op = CONTROL_DELETE_RANGE};
    char argument[CONTROL_MAX_ARGUMENT_BYTES];

    request.argument = http_bounds(req, argument);
    forward_of_store(req, ctx, TS_SCOPE_DELETE, &request);
}

void
forward_http_drop_store(struct http_request *req, void *ctx)
{
    struct control_request request = {.op = CONTROL_DROP_STORE};

    forward_of_store(req, ctx, TS_SCOPE_DELETE, &request);
}

void
forward_http_reset_store(struct http_request *req, void *ctx)
{
    struct control_request request = {.op = CONTROL_RESET_STORE};

    forward_of_store(req, ctx, TS_SCOPE_DELETE, &request);
}

void
forward_http_put_schema(struct http_request *req, void *ctx)
{
    struct control_request request = {.op = CONTROL_PUT_SCHEMA};

    forward_of_store(req, ctx, TS_SCOPE_WRITE, &request);
}
