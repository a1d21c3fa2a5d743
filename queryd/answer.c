/* answer.c - a record's bytes as its type wants them. */
#include "queryd/answer.h"

#include "common/json.h"

#include <string.h>

/* For a literal: its length is known when it is compiled. */
#define ADD(out, literal) ts_text_add((out), (literal), sizeof(literal) - 1)

static void
add_data(struct ts_text *out, const struct shape *shape, const struct ts_record *record)
{
    struct ts_span value = {.at = (const char *)record->data, .bytes = record->bytes};

    switch (shape->type) {
    case TS_TYPE_BINARY:
        ADD(out, "\"");
        ts_text_base64(out, record->data, record->bytes);
        ADD(out, "\"");
        return;
    case TS_TYPE_SCHEMA:
        if (!shape->is_compact && ts_schema_expand(shape->schema, value, out))
            return;
        /* fall through */
    case TS_TYPE_JSON:
        if (ts_json_check((const char *)record->data, record->bytes, &value) == TS_OK) {
            ts_text_add(out, value.at, value.bytes);
            return;
        }
        break;
    case TS_TYPE_TEXT:
        break;
    }
    ts_text_json_string(out, record->data, record->bytes);
}

static void
add_head(struct ts_text *out, int64_t time_ns, uint64_t block_num, uint64_t bytes)
{
    ADD(out, "\"timestamp\":");
    ts_text_i64(out, time_ns);
    ADD(out, ",\"block_num\":");
    ts_text_u64(out, block_num);
    ADD(out, ",\"size\":");
    ts_text_u64(out, bytes);
    ADD(out, ",\"data\":");
}

void
answer_record(struct ts_text *out, const struct shape *shape, const struct ts_record *record,
              bool with_data)
{
    ADD(out, "{");
    add_head(out, record->time_ns, record->block_num, record->bytes);
    if (with_data)
        add_data(out, shape, record);
    else
        ADD(out, "null");
    ADD(out, "}");
}

void
answer_data_message(struct ts_text *out, const struct shape *shape, const struct ts_record *record)
{
    ADD(out, "{\"type\":\"data\",");
    add_head(out, record->time_ns, record->block_num, record->bytes);
    add_data(out, shape, record);
    ADD(out, ",\"record\":");
    ts_text_u64(out, record->no);
    ADD(out, "}");
}

/* ---- windows ---- */

static void
add_window(struct ts_text *out, const struct ts_aggregate_window *window,
           const struct ts_text *data)
{
    add_head(out, window->end_ns, 0, 0);
    ts_text_add(out, data->at, data->bytes);
    if (window->n_dropped > 0) {
        ADD(out, ",\"dropped\":");
        ts_text_u64(out, window->n_dropped);
    }
    out->failed = out->failed || data->failed;
}

void
answer_window(struct ts_text *out, const struct ts_aggregate_window *window,
              const struct ts_text *data)
{
    ADD(out, "{");
    add_window(out, window, data);
    ADD(out, "}");
}

void
answer_window_message(struct ts_text *out, const struct ts_aggregate_window *window,
                      const struct ts_text *data, uint64_t last_no)
{
    ADD(out, "{\"type\":\"data\",");
    add_window(out, window, data);
    ADD(out, ",\"record\":");
    ts_text_u64(out, last_no);
    ADD(out, "}");
}

void
answer_legend(struct ts_text *out, const struct ts_schema *schema)
{
    ADD(out, "{");
    add_head(out, 0, 0, 0);
    ts_schema_render_legend(schema, out);
    ADD(out, "}");
}

/* ---- what is missing ---- */

static void
add_range(struct ts_text *out, const struct ts_gap *gap, const char *error)
{
    ADD(out, "\"from\":");
    ts_text_u64(out, gap->from_no);
    ADD(out, ",\"to\":");
    ts_text_u64(out, gap->to_no);
    ADD(out, ",\"lost\":");
    ts_text_u64(out, gap->lost);
    if (error != NULL) {
        ADD(out, ",\"error\":");
        ts_text_json_string(out, error, strlen(error));
    }
    ADD(out, "}");
}

void
answer_gap_message(struct ts_text *out, const struct ts_gap *gap, const char *error)
{
    ADD(out, "{\"type\":\"gap\",");
    add_range(out, gap, error);
}

void
answer_damage(struct ts_text *out, const struct ts_gap *gap, const char *error)
{
    ADD(out, "{");
    add_range(out, gap, error);
}
