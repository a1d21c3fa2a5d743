/* out_rest.c - health, catalogue, statistics, one record, and what is forwarded. */
#include "queryd/out_rest.h"

#include "common/log.h"
#include "daemon/credential.h"
#include "queryd/answer.h"
#include "queryd/auth.h"
#include "queryd/forward.h"
#include "queryd/list_query.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void
send_json(struct http_request *req)
{
    http_send(req, 200, HTTP_TYPE_JSON);
}

void
out_rest_health(struct http_request *req, void *ctx)
{
    struct ts_text *out = http_out(req);

    (void)ctx;
    ts_text_puts(out, "{\"status\":\"ok\",\"time\":\"");
    ts_text_time(out, (int64_t)time(NULL) * 1000000000);
    ts_text_puts(out, "\"}");
    send_json(req);
}

void
out_rest_stores(struct http_request *req, void *ctx)
{
    const struct queryd *queryd = ctx;
    struct ts_text *out = http_out(req);
    char **names;
    size_t n_names;
    enum ts_err err;

    err = ts_store_list(queryd->data_dir, &names, &n_names);
    if (err != TS_OK) {
        ts_log(TS_LOG_ERROR, "list stores: %s", ts_error_text());
        http_answer_error(req, err);
        return;
    }
    ts_text_puts(out, "{\"stores\":[");
    for (size_t i = 0; i < n_names; i++) {
        if (i > 0)
            ts_text_puts(out, ",");
        ts_text_json_string(out, names[i], strlen(names[i]));
    }
    ts_text_puts(out, "]}");
    free(names);
    send_json(req);
}

/* ---- statistics ---- */

static void
add_number(struct ts_text *out, const char *name, uint64_t number)
{
    ts_text_printf(out, ",\"%s\":", name);
    ts_text_u64(out, number);
}

static void
add_time(struct ts_text *out, const char *name, int64_t time_ns)
{
    ts_text_printf(out, ",\"%s_timestamp\":", name);
    ts_text_i64(out, time_ns);
    ts_text_printf(out, ",\"%s_time\":\"", name);
    ts_text_time(out, time_ns);
    ts_text_puts(out, "\"");
}

static void
add_stats(struct ts_text *out, const struct ts_options *options, const struct ts_stats *stats)
{
    char sync[32];

    ts_sync_name(options->sync_ms, sync, sizeof sync);
    ts_text_puts(out, "{\"num_blocks\":");
    ts_text_u64(out, options->num_blocks);
    add_number(out, "data_block_size", options->data_block_bytes);
    add_number(out, "index_block_size", options->index_block_bytes);
    ts_text_printf(out, ",\"data_type\":\"%s\"", ts_type_name(options->type));
    add_number(out, "head_block", stats->head_block);
    add_number(out, "tail_block", stats->tail_block);
    add_number(out, "write_offset", stats->write_offset);
    add_number(out, "active_blocks", stats->active_blocks);
    if (stats->has_records) {
        add_time(out, "oldest", stats->oldest_time_ns);
        add_time(out, "newest", stats->newest_time_ns);
    }
    ts_text_printf(out, ",\"codec\":\"%s\",\"order\":\"%s\",\"sync\":\"%s\"",
                   ts_codec_name(options->codec), ts_order_name(options->order), sync);
    add_number(out, "generation", stats->state.generation);
    add_number(out, "record_count", stats->n_records);
    add_number(out, "oldest_record", stats->state.oldest_no);
    add_number(out, "next_record", stats->state.next_no);
    add_number(out, "durable_record", stats->durable_no);
    add_number(out, "ring_bytes", stats->ring_bytes);
    add_number(out, "ring_used_bytes", stats->ring_used_bytes);
    add_number(out, "sealed_blocks", stats->n_sealed_blocks);
    add_number(out, "file_bytes", stats->file_bytes);
    ts_text_puts(out, "}");
}

void
out_rest_stats(struct http_request *req, void *ctx)
{
    struct ts_stats stats;
    struct ts_view *view;
    struct store *store;
    enum ts_err err;

    if (!auth_view(req, ctx, TS_SCOPE_READ, &store, &view))
        return;
    err = ts_view_stats(view, &stats);
    if (err == TS_OK) {
        add_stats(http_out(req), ts_view_options(view), &stats);
        send_json(req);
    } else {
        ts_log(TS_LOG_ERROR, "store %s: statistics: %s", store_name(store), ts_error_text());
        http_answer_error(req, err);
    }
    store_release(store);
}

/* ---- one record ---- */

static enum ts_err
find_time(struct http_request *req, struct store *store, const struct ts_view *view)
{
    const char *text = http_path_param(req, 1);
    const struct ts_span span = {.at = text, .bytes = strlen(text)};
    const struct ts_range any = {.limit = 1};
    struct ts_cursor *cursor;
    struct ts_record record;
    int64_t time_ns;
    enum ts_err err;

    if (!list_query_i64(&span, &time_ns))
        return TS_FAIL_PLAIN(TS_E_TIME);
    err = store_take_cursor(store, &any, &cursor);
    if (err != TS_OK)
        return err;
    err = ts_cursor_find_time(cursor, time_ns, &record);
    if (err == TS_OK)
        answer_record(http_out(req), ts_view_options(view)->type, &record, true);
    store_give_cursor(store, cursor);
    return err;
}

void
out_rest_find_time(struct http_request *req, void *ctx)
{
    struct ts_view *view;
    struct store *store;
    enum ts_err err;

    if (!auth_view(req, ctx, TS_SCOPE_READ, &store, &view))
        return;
    err = find_time(req, store, view);
    if (err == TS_OK)
        send_json(req);
    else
        http_answer_error(req, err);
    if (err == TS_E_CORRUPT)
        ts_log(TS_LOG_ERROR, "store %s: %s", store_name(store), ts_error_text());
    store_release(store);
}

/* ---- forwarded ---- */

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

/* Whether ingestd is there is asked before the body is read: a client that may send megabytes is
 * told at once. */
static enum ts_err
forward(struct http_request *req, struct queryd *queryd, struct control_request *request)
{
    const char *content_type = http_header(req, "Content-Type");
    struct forward_reply reply;
    enum ts_err err;

    if (!forward_is_connected(queryd->forward))
        return TS_FAIL(TS_E_UNAVAILABLE, "ingestd is not running");
    err = http_body(req, 0, &request->body);
    if (err != TS_OK)
        return err;
    if (content_type != NULL)
        request->content_type = (struct ts_span){.at = content_type, .bytes = strlen(content_type)};
    if (request->content_type.bytes > CONTROL_MAX_CONTENT_TYPE_BYTES)
        return TS_FAIL_PLAIN(TS_E_CONTENT);
    if (request->credential.bytes > CONTROL_MAX_CREDENTIAL_BYTES)
        return request->op == CONTROL_CREATE_STORE ? TS_FAIL_PLAIN(TS_E_ADMIN_INVALID)
                                                   : TS_FAIL_PLAIN(TS_E_KEY_INVALID);
    err = forward_call(queryd->forward, request, &reply);
    if (err != TS_OK)
        return err;
    answer_reply(req, &reply.reply);
    forward_reply_done(&reply);
    return TS_OK;
}

/* The admin key is ingestd's secret: here it is only seen whether there is one. */
void
out_rest_create_store(struct http_request *req, void *ctx)
{
    struct control_request request = {.op = CONTROL_CREATE_STORE};
    enum ts_err err;

    credential_admin_key(req, &request.credential);
    if (request.credential.bytes == 0)
        err = TS_FAIL_PLAIN(TS_E_ADMIN_MISSING);
    else
        err = forward(req, ctx, &request);
    if (err != TS_OK)
        http_answer_error(req, err);
}

void
out_rest_insert(struct http_request *req, void *ctx)
{
    struct control_request request = {.op = CONTROL_INSERT};
    struct store *store;
    enum ts_err err;

    if (!auth_store(req, ctx, TS_SCOPE_WRITE, &store))
        return;
    credential_store_key(req, &request.credential);
    request.store = (struct ts_span){.at = store_name(store), .bytes = strlen(store_name(store))};
    err = forward(req, ctx, &request);
    if (err != TS_OK)
        http_answer_error(req, err);
    store_release(store);
}
