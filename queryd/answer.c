/* answer.c - a record's bytes as its type wants them. */
#include "queryd/answer.h"

#include "common/json.h"

#include <string.h>

/* For a literal: its length is known when it is compiled. */
#define ADD(out, literal) ts_text_add((out), (literal), sizeof(literal) - 1)

/* Data of a schema store comes as it is stored, with decimal keys: still a JSON value. */
static void
add_data(struct ts_text *out, enum ts_type type, const struct ts_record *record)
{
    struct ts_span value;

    switch (type) {
    case TS_TYPE_BINARY:
        ADD(out, "\"");
        ts_text_base64(out, record->data, record->bytes);
        ADD(out, "\"");
        return;
    case TS_TYPE_JSON:
    case TS_TYPE_SCHEMA:
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
add_fields(struct ts_text *out, const struct ts_record *record)
{
    ADD(out, "\"timestamp\":");
    ts_text_i64(out, record->time_ns);
    ADD(out, ",\"block_num\":");
    ts_text_u64(out, record->block_num);
    ADD(out, ",\"size\":");
    ts_text_u64(out, record->bytes);
    ADD(out, ",\"data\":");
}

void
answer_record(struct ts_text *out, enum ts_type type, const struct ts_record *record,
              bool with_data)
{
    ADD(out, "{");
    add_fields(out, record);
    if (with_data)
        add_data(out, type, record);
    else
        ADD(out, "null");
    ADD(out, "}");
}

void
answer_data_message(struct ts_text *out, enum ts_type type, const struct ts_record *record)
{
    ADD(out, "{\"type\":\"data\",");
    add_fields(out, record);
    add_data(out, type, record);
    ADD(out, ",\"record\":");
    ts_text_u64(out, record->no);
    ADD(out, "}");
}

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
