/* out_rest.c - health, catalogue, statistics, one record. */
#include "queryd/out_rest.h"

#include "common/limits.h"
#include "common/log.h"
#include "queryd/answer.h"
#include "queryd/auth.h"
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
    ts_limits_json(options, out);
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
    struct shape shape;
    int64_t time_ns;
    enum ts_err err;

    if (!list_query_i64(&span, &time_ns))
        return TS_FAIL_PLAIN(TS_E_TIME);
    err = store_take_cursor(store, &any, &cursor);
    if (err != TS_OK)
        return err;
    err = ts_cursor_find_time(cursor, time_ns, &record);
    if (err == TS_OK) {
        shape_init(&shape, store, view, http_query_is(req, "format", "compact"));
        if (!shape.is_compact)
            shape_meet(&shape, record.no);
        answer_record(http_out(req), &shape, &record, true);
        shape_done(&shape);
    }
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

/* ---- the schema ---- */

static enum ts_err
add_schema(struct store *store, const struct ts_view *view, struct ts_text *out)
{
    struct ts_schema *schema;
    enum ts_err err;

    if (ts_view_options(view)->type != TS_TYPE_SCHEMA)
        return TS_FAIL(TS_E_PARAM, "schema endpoint only available for schema-type stores");
    err = store_schema(store, &schema);
    if (err != TS_OK) {
        ts_log(TS_LOG_ERROR, "store %s: schema: %s", store_name(store), ts_error_text());
        return err;
    }
    err = ts_schema_render(schema, out);
    ts_schema_release(schema);
    return err;
}

void
out_rest_schema(struct http_request *req, void *ctx)
{
    struct ts_view *view;
    struct store *store;
    enum ts_err err;

    if (!auth_view(req, ctx, TS_SCOPE_READ, &store, &view))
        return;
    err = add_schema(store, view, http_out(req));
    if (err == TS_OK)
        send_json(req);
    else
        http_answer_error(req, err);
    store_release(store);
}
